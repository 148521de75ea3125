//! Everything that is done beside the append path: footers, snapshots, segments made ready, data let go.
//!
//! In: the time. Out: one small step per call, until nothing is left to do.
//! Invariants: a segment goes only when no piece points at it and both snapshot slots know what it knew (metadata, floors, how far
//! its shards came); nothing is written when nothing changed.
//! Not here: copying live runs out of old segments (`reclaim`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::ShardKey;
use crate::blocks::{BLOCK_BYTES, Blocks};
use crate::bytes::crc32c;
use crate::core::index::{Segment, Tables};
use crate::core::meta::own;
use crate::core::snapshot::Slots;
use crate::core::stage::Refusal;
use crate::core::{Core, lock};
use crate::error::Failed;
use crate::format::footer::{PIECE_BYTES, PieceEntry, RUN_BYTES, RunRef};
use crate::format::segment::{FileName, TRAILER_BYTES, Trailer};
use crate::format::{index, u32_of};
use crate::set::AppendSet;
use crate::storage::{Storage, StorageFile};
use crate::types::{Lost, Recovery};

/// State of whoever keeps house.
pub(super) struct Upkeep<F> {
    pub(super) slots: Slots<F>,
    /// Segments whose footer does not fit: read whole at every opening.
    unsealable: std::collections::BTreeSet<u64>,
    recovery: Recovery,
}

impl<F> Upkeep<F> {
    pub(super) fn new(slots: Slots<F>, recovery: Recovery) -> Self {
        Self { slots, unsealable: std::collections::BTreeSet::new(), recovery }
    }

    pub(super) fn take_recovery(&mut self) -> Recovery {
        std::mem::take(&mut self.recovery)
    }
}

impl<S: Storage> Core<S> {
    /// Does one step of housekeeping and returns whether more may be waiting: seals full segments, prepares the next, lets go
    /// what is too old or trimmed, writes snapshots. `now_ms` is the time in ms since 1970. Writes nothing when nothing changed.
    pub fn maintain(&self, now_ms: u64) -> bool {
        self.newest_ms.fetch_max(now_ms, Ordering::Relaxed);
        if self.queue.failed().is_some() {
            return false;
        }
        let mut upkeep = lock(&self.upkeep);
        self.upkeep_due.store(false, Ordering::Relaxed);
        match self.step(&mut upkeep, now_ms) {
            Ok(more) => more,
            Err(failed) => {
                tracing::error!(reason = %failed.reason, "journal stopped");
                self.stop(failed);
                false
            }
        }
    }

    fn step(&self, upkeep: &mut Upkeep<S::File>, now_ms: u64) -> Result<bool, Failed> {
        self.sync_interval(now_ms, false)?;
        self.expire(now_ms);
        self.note_lost(now_ms);
        // Ready files first: that is what appends wait for.
        Ok(self.prepare()?
            || self.seal_one(upkeep)?
            || self.snapshot_if_wanted(upkeep)?
            || self.retire_one(upkeep)?
            || self.reclaim(now_ms)?)
    }

    /// Stops the journal and tells everybody.
    pub(super) fn stop(&self, failed: Failed) {
        self.queue.fail(failed.clone());
        self.tell(Err(failed));
    }

    /// Flushes what is staged, writes footers and a snapshot, and refuses everything from then on.
    pub fn close(&self, now_ms: u64) {
        let written = self.commit().and_then(|_| self.sync_interval(now_ms, true));
        if written.is_err() || self.queue.failed().is_some() {
            return;
        }
        self.queue.fail(Failed::new("it was closed"));
        let mut upkeep = lock(&self.upkeep);
        self.index_mut().open = None;
        let closed = loop {
            match self.seal_one(&mut upkeep) {
                Ok(true) => {}
                Ok(false) => break self.snapshot_if_behind(&mut upkeep),
                Err(failed) => break Err(failed),
            }
        };
        if let Err(failed) = closed {
            // All data is durable; the next opening reads a segment more.
            tracing::warn!(reason = %failed.reason, "journal closed without footer or snapshot");
        }
    }

    fn snapshot_if_behind(&self, upkeep: &mut Upkeep<S::File>) -> Result<(), Failed> {
        if upkeep.slots.newest().0 < self.queue.durable() {
            self.queue.look(|staged| staged.want_cut());
            self.write_snapshot(upkeep)?;
        }
        Ok(())
    }

    /// Keeps records of `stream` for `max_age_ms` at least; without an age for ever. Kept in metadata, so it is durable with the
    /// next commit. Whole segments are let go, so records live somewhat longer.
    pub fn retain(&self, stream: u32, max_age_ms: Option<u64>) {
        let (key, now_ms) = (own::retention(stream), self.newest_ms.load(Ordering::Relaxed));
        let present = self.queue.look(|staged| staged.meta.get(&key).map(|meta| meta.value.clone()));
        let wanted = max_age_ms.map(|age| age.to_le_bytes().to_vec());
        if present == wanted {
            return;
        }
        let mut set = AppendSet::new();
        match wanted {
            Some(age) => set.put(&key, &age, None),
            None => set.delete(&key, None),
        }
        self.append_own(&set, now_ms);
    }

    /// Nothing of `shard` before sequence `before` is needed any more: not readable from now on, unless a [`hold`](Self::hold) keeps
    /// it. Durable some time later, with the next snapshot; a crash may bring trimmed records back.
    pub fn trim(&self, shard: ShardKey, before: u64) {
        let mut index = self.index_mut();
        if let Some(slot) = index.slot_of(shard) {
            let state = index.shard_mut(slot, shard);
            state.trimmed = state.trimmed.max(before);
            let floor = state.trimmed.min(state.hold.unwrap_or(u64::MAX));
            if index.raise_floor(slot, floor) {
                self.upkeep_due.store(true, Ordering::Relaxed);
            }
        }
    }

    /// A required reader of `shard` has come to sequence `from`: neither retention nor trim passes it. One hold per shard; a later
    /// call moves it. Setting it or moving it back is kept in metadata; moving it on is only remembered until the journal is closed,
    /// so after a restart it is where it was first set until the reader says again.
    pub fn hold(&self, shard: ShardKey, from: u64) {
        let now_ms = self.newest_ms.load(Ordering::Relaxed);
        let slot = self.queue.look(|staged| staged.slot(shard));
        let before = self.index_mut().shard_mut(slot, shard).hold.replace(from);
        if before.is_none_or(|before| from < before) {
            let mut set = AppendSet::new();
            set.put(&own::hold(shard), &from.to_le_bytes(), None);
            self.append_own(&set, now_ms);
        }
        self.trim(shard, 0);
    }

    /// Ends the hold on `shard`.
    pub fn release(&self, shard: ShardKey) {
        let mut index = self.index_mut();
        let held = index.slot_of(shard).and_then(|slot| index.shard_mut(slot, shard).hold.take());
        drop(index);
        if held.is_some() {
            let mut set = AppendSet::new();
            set.delete(&own::hold(shard), None);
            self.append_own(&set, self.newest_ms.load(Ordering::Relaxed));
            self.trim(shard, 0);
        }
    }

    /// Forgets all shards of `stream`; its number is never used again. Durable with the next commit.
    pub fn drop_stream(&self, stream: u32) {
        let mut set = AppendSet::new();
        for key in self.queue.look(|staged| own::of_stream(&staged.meta, stream)) {
            set.delete(&key, None);
        }
        set.put(&own::dropped(stream), &[], None);
        self.append_own(&set, self.newest_ms.load(Ordering::Relaxed));
        self.queue.look(|staged| staged.forget(stream));
        self.index_mut().drop_stream(stream);
        self.upkeep_due.store(true, Ordering::Relaxed);
    }

    /// Stages the journal's own metadata. When even the reserve is used up it is dropped: all of it is repeated or found again.
    pub(super) fn append_own(&self, set: &AppendSet, now_ms: u64) {
        loop {
            match self.queue.stage(|staged| staged.append_own(set, now_ms)) {
                Ok(Err(Refusal::NeedSegment)) if self.make_room(true).is_ok() => {}
                Ok(Ok(())) | Err(_) => return,
                Ok(Err(_)) => return tracing::warn!("no room for the journal's own metadata"),
            }
        }
    }

    pub(super) fn found_lost(&self, lost: Lost) {
        lock(&self.found).push(lost);
        self.upkeep_due.store(true, Ordering::Relaxed);
    }

    fn note_lost(&self, now_ms: u64) {
        let found = std::mem::take(&mut *lock(&self.found));
        self.record_lost(&found, now_ms);
        let known = self.queue.look(|staged| own::lost_ranges(&staged.meta));
        let mut set = AppendSet::new();
        let index = self.index();
        for (shard, range) in known {
            if index.shard(shard).is_some_and(|state| state.floor > range.last) {
                set.delete(&own::lost(shard, range.first), None);
            }
        }
        drop(index);
        if !set.is_empty() {
            self.append_own(&set, now_ms);
        }
    }

    /// Raises floors past what is too old. Only segments that are full count, so that an idle journal stays as it is.
    fn expire(&self, now_ms: u64) {
        let retentions = self.queue.look(|staged| own::retentions(&staged.meta));
        for (stream, age_ms) in retentions {
            let cutoff = now_ms.saturating_sub(age_ms);
            let mut index = self.index_mut();
            let open = index.open;
            for (key, slot) in index.keys().into_iter().filter(|(key, _)| key.stream == stream) {
                let state = index.at(slot);
                let old = state
                    .pieces
                    .values()
                    .take_while(|piece| piece.newest_ms < cutoff && Some(piece.segment) != open);
                let Some(floor) = old.last().map(|piece| piece.last + 1) else { continue };
                let floor = floor.min(state.hold.unwrap_or(u64::MAX));
                if index.raise_floor(slot, floor) {
                    tracing::debug!(stream, shard = key.shard, floor, "records expired");
                }
            }
        }
    }

    /// Writes the footer of one full segment.
    fn seal_one(&self, upkeep: &mut Upkeep<S::File>) -> Result<bool, Failed> {
        let Some((number, file, file_bytes, trailer, mut pieces, runs)) = self.to_seal(upkeep) else {
            return Ok(false);
        };
        let mut table = Vec::with_capacity(runs.len() * RUN_BYTES);
        for piece in &mut pieces {
            let start = table.len();
            let (from, count) = (index(piece.table.start), index(piece.table.runs));
            runs[from..from + count].iter().for_each(|run| run.encode(&mut table));
            piece.table.crc = crc32c(&table[start..]);
        }
        let mut bytes = Vec::with_capacity(pieces.len() * PIECE_BYTES + table.len());
        pieces.iter().for_each(|piece| piece.encode(&mut bytes));
        let pieces_crc = crc32c(&bytes);
        bytes.extend_from_slice(&table);
        let room = index(TRAILER_BYTES) + bytes.len().next_multiple_of(BLOCK_BYTES);
        let at = usize::try_from(file_bytes).unwrap_or(0).checked_sub(room);
        let Some(at) = at.filter(|&at| at >= index(trailer.data_end)) else {
            tracing::warn!(segment = number, "no room for a footer");
            upkeep.unsealable.insert(number);
            return Ok(true);
        };
        let (footer_at, count) = (u32_of(at), u32_of(pieces.len()));
        let trailer = Trailer { footer_at, pieces: count, runs: u32_of(runs.len()), pieces_crc, ..trailer };
        let mut out = Blocks::from(&bytes[..]);
        out.pad();
        trailer.encode(&mut out);
        let written = file.write_at(&out, u64::from(footer_at)).and_then(|()| file.sync());
        written
            .map_err(|error| Failed::new(format!("{}: footer failed: {error}", FileName::Segment(number))))?;
        self.totals.bytes_written.add(out.len() as u64);
        self.totals.device_writes.add(1);
        self.totals.flushes.add(1);
        self.sealed(number, footer_at, &pieces);
        Ok(true)
    }

    #[expect(clippy::type_complexity, reason = "taken apart by its only caller")]
    fn to_seal(
        &self,
        upkeep: &Upkeep<S::File>,
    ) -> Option<(u64, Arc<S::File>, u64, Trailer, Vec<PieceEntry>, Vec<RunRef>)> {
        let index = self.index();
        let (&number, segment) = index.segments.iter().find(|(number, segment)| {
            let unsealed =
                matches!(segment.tables, Tables::Memory(_)) && !segment.damaged && segment.pieces > 0;
            unsealed && index.open != Some(**number) && !upkeep.unsealable.contains(*number)
        })?;
        let Tables::Memory(tables) = &segment.tables else { return None };
        let (mut pieces, mut all) = (Vec::new(), Vec::new());
        let mut slots: Vec<u32> = tables.keys().copied().filter(|&slot| !index.at(slot).dropped).collect();
        slots.sort_by_key(|&slot| index.at(slot).key);
        for slot in slots {
            let shard = index.at(slot);
            let start = u32_of(all.len());
            pieces.extend(Segment::<S::File>::pieces_of(shard.key, &tables[&slot], start));
            all.extend_from_slice(&tables[&slot]);
        }
        let trailer = Trailer {
            number,
            salt: segment.salt,
            first_group: segment.first_group,
            last_group: segment.last_group,
            last_crc: segment.last_crc,
            data_end: segment.data_end,
            footer_at: 0,
            pieces: 0,
            runs: 0,
            pieces_crc: 0,
        };
        Some((number, Arc::clone(&segment.file), segment.file_bytes, trailer, pieces, all))
    }

    /// Forgets the run tables of a segment that has a footer now.
    fn sealed(&self, number: u64, at: u32, entries: &[PieceEntry]) {
        let mut index = self.index_mut();
        for entry in entries {
            if let Some(slot) = index.slot_of(entry.shard) {
                let shard = index.shard_mut(slot, entry.shard);
                let start =
                    shard.piece_at(entry.first).map_or(entry.first, |(first, _)| first.min(entry.first));
                for piece in shard.pieces.range_mut(start..=entry.last).map(|(_, piece)| piece) {
                    if piece.segment == number {
                        piece.table = Some(entry.table);
                    }
                }
            }
        }
        if let Some(segment) = index.segments.get_mut(&number) {
            segment.tables = Tables::Footer { at, pieces: u32_of(entries.len()) };
        }
    }

    /// Writes a snapshot when a full segment is not covered by one yet, or one could go if both slots covered it.
    fn snapshot_if_wanted(&self, upkeep: &mut Upkeep<S::File>) -> Result<bool, Failed> {
        let (newest, _) = upkeep.slots.newest();
        let covered = upkeep.slots.covered();
        let wanted = {
            let index = self.index();
            index.segments.iter().any(|(number, segment)| {
                let behind = segment.last_group > newest;
                let blocked = segment.pieces == 0 && !covers(covered, segment);
                Some(*number) != index.open && (behind || blocked)
            })
        };
        if wanted {
            self.queue.look(|staged| staged.want_cut());
        }
        self.write_snapshot(upkeep)
    }

    /// Writes the snapshot whose state was copied, when its group is durable by now.
    fn write_snapshot(&self, upkeep: &mut Upkeep<S::File>) -> Result<bool, Failed> {
        let durable = self.queue.durable();
        let Some(mut snapshot) = self.queue.look(|staged| staged.take_cut(durable)) else { return Ok(false) };
        snapshot.lane = self.lane;
        snapshot.next_segment = self.next_number.load(Ordering::Acquire);
        let index = self.index();
        let epoch = index.epoch;
        for state in &mut snapshot.shards {
            state.floor = index.shard(state.shard).map_or(crate::types::FIRST_SEQUENCE, |shard| shard.floor);
        }
        drop(index);
        let meta_next =
            snapshot.shards.iter().find(|state| state.shard == ShardKey::META).map(|state| state.next);
        match upkeep.slots.write(&self.storage, snapshot, epoch) {
            Ok(bytes) => self.totals.bytes_written.add(bytes),
            // No room for a larger slot: the other slot is whole, segments stay until there is room.
            Err(error) if is_full(&error) => {
                tracing::warn!(%error, "no room for a snapshot");
                return Ok(false);
            }
            Err(error) => return Err(Failed::new(format!("snapshot failed: {error}"))),
        }
        self.totals.device_writes.add(1);
        self.totals.flushes.add(1);
        let mut index = self.index_mut();
        if let (Some(slot), Some(next)) = (index.slot_of(ShardKey::META), meta_next) {
            index.raise_floor(slot, next);
        }
        Ok(true)
    }

    /// Gives the file of one segment that nobody wants back to the pool.
    fn retire_one(&self, upkeep: &mut Upkeep<S::File>) -> Result<bool, Failed> {
        let (covered, pressed) = (upkeep.slots.covered(), self.is_pressed());
        let mut index = self.index_mut();
        let open = index.open;
        let gone = index.segments.iter().find(|(number, segment)| {
            // Damage is kept for a person to look at, as long as the space is not needed.
            Some(**number) != open
                && segment.pieces == 0
                && covers(covered, segment)
                && (!segment.damaged || pressed)
        });
        let Some((&number, _)) = gone else { return Ok(false) };
        let segment = index.segments.remove(&number).expect("found just now");
        drop(index);
        lock(&self.tables).remove_segment(number);
        upkeep.unsealable.remove(&number);
        let name = FileName::Segment(number);
        self.retire(number, segment)
            .map_err(|error| Failed::new(format!("{name}: retiring it failed: {error}")))?;
        tracing::debug!(segment = number, "segment retired");
        Ok(true)
    }

    fn retire(&self, number: u64, segment: Segment<S::File>) -> io::Result<()> {
        let name = FileName::Segment(number).to_string();
        let mut files = lock(&self.files);
        let keep = segment.file_bytes == self.config.segment_bytes
            && files.ready() <= u64::from(self.config.pool_segments);
        if keep {
            let pool_name = files.pool_name();
            self.storage.rename(&name, &FileName::Pool(pool_name).to_string())?;
            // Before the file is written again, its old name must be gone for good.
            self.storage.sync_dir()?;
            files.add(pool_name, segment.file);
            let withheld = self.withheld(files.total);
            drop(files);
            self.queue.look(|staged| staged.spare_added(1, withheld));
        } else {
            self.storage.remove(&name)?;
            self.storage.sync_dir()?;
            files.total -= 1;
        }
        Ok(())
    }
}

/// Whether both snapshot slots know all that `segment` knew.
fn covers<F>((group, epoch): (u64, u64), segment: &Segment<F>) -> bool {
    segment.last_group <= group && segment.released <= epoch
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
