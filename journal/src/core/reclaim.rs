//! Room: segment files made ahead, and old segments freed by copying what is still wanted in them.
//!
//! In: how many files there are and may be. Out: files ready for the append path, or the knowledge that the journal is full.
//! Invariants: records never take the last `RESERVE_SEGMENTS`; copying starts only when no file can be had otherwise, and moves
//! at most `COPY_BYTES_STEP` a step.
//! Not here: letting segments go that nobody wants (`upkeep`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::ShardKey;
use crate::bytes::crc32c;
use crate::core::index::Tables;
use crate::core::stage::Refusal;
use crate::core::upkeep::is_full;
use crate::core::{Core, lock};
use crate::error::{AppendError, Failed};
use crate::format::footer::{PIECE_BYTES, RUN_BYTES, RunRef};
use crate::format::group::RunHeader;
use crate::format::index;
use crate::format::segment::FileName;
use crate::limits::{COPY_BYTES_STEP, COPY_LIVE_PERCENT, RESERVE_SEGMENTS};
use crate::storage::{Storage, StorageFile};

impl<S: Storage> Core<S> {
    /// Makes sure that an append that needs a segment file gets one; slow, because it writes the file.
    ///
    /// # Errors
    /// [`AppendError::Full`] when no more files may be made.
    pub(super) fn make_room(&self, reserved: bool) -> Result<(), AppendError> {
        let _making = lock(&self.making);
        let (spare, withheld) =
            (self.queue.look(|staged| staged.spare()), self.withheld(lock(&self.files).total));
        if spare > if reserved { 0 } else { withheld } {
            return Ok(());
        }
        if self.make_file(reserved) {
            self.totals.late_segments.add(1);
            return Ok(());
        }
        Err(self.refuse_full())
    }

    /// Says that a thread keeps house from now on, which appends may wait for; makes the first file, so that the first one need not.
    pub(crate) fn attend(&self) {
        let making = lock(&self.making);
        if self.queue.look(|staged| staged.spare()) == 0 {
            self.make_file(false);
        }
        drop(making);
        self.attended.store(true, Ordering::Relaxed);
    }

    /// What an append is told that needs a file: that upkeep makes one, or that there will be none.
    pub(super) fn ask_for_room(&self) -> AppendError {
        let may_make = self.may_make(false);
        let withheld = self.withheld(lock(&self.files).total);
        let (full, spare, staged_bytes) =
            self.queue.look(|staged| (staged.full, staged.spare(), staged.bytes_waiting()));
        self.late.store(true, Ordering::Relaxed);
        // A spare file came up meanwhile; `full` is what upkeep found when it tried.
        if spare > withheld || (may_make && !full) {
            self.totals.refused_busy.add(1);
            self.upkeep_due.store(true, Ordering::Relaxed);
            return AppendError::Busy { staged_bytes, limit_bytes: self.config.staged_bytes_max };
        }
        self.refuse_full()
    }

    fn refuse_full(&self) -> AppendError {
        self.totals.refused_full.add(1);
        self.queue.look(|staged| staged.full = true);
        self.upkeep_due.store(true, Ordering::Relaxed);
        AppendError::Full
    }

    /// Renames the next segment's file into place and keeps the pool filled. Whether something was done.
    pub(super) fn prepare(&self) -> Result<bool, Failed> {
        let next = self.next_number.load(Ordering::Acquire);
        let busy = {
            let index = self.index();
            // More than one segment was filled in this life: it is worth having files lying about.
            let before = index.open.and_then(|open| index.segments.range(..open).next_back());
            before.is_some_and(|(_, segment)| matches!(segment.tables, Tables::Memory(_)))
        };
        let wanted = if busy { u64::from(self.config.pool_segments).max(1) } else { 1 };
        {
            let mut files = lock(&self.files);
            let stale = self.next_number.load(Ordering::Acquire) != next;
            if !stale && !files.is_prepared(next) && files.ready() > 0 {
                let name = FileName::Segment(next);
                return files
                    .prepare(&self.storage, next)
                    .map_err(|error| Failed::new(format!("{name}: preparing it failed: {error}")));
            }
            // Files that are ready may all be planned for by groups that wait: an append that was turned away needs one more.
            let late = self.late.load(Ordering::Relaxed) && self.queue.look(|staged| staged.spare()) == 0;
            if files.ready() >= wanted && !late {
                return Ok(false);
            }
        }
        let _making = lock(&self.making);
        let late = self.late.swap(false, Ordering::Relaxed);
        let made = self.make_file(false);
        if late && made {
            self.totals.late_segments.add(1);
        } else if late {
            self.queue.look(|staged| staged.full = true);
        }
        Ok(made)
    }

    /// Writes one new file of zeros into the pool, when one more is allowed.
    pub(super) fn make_file(&self, reserved: bool) -> bool {
        if !self.may_make(reserved) {
            return false;
        }
        let segment_bytes = self.config.segment_bytes;
        let number = lock(&self.files).pool_name();
        let name = FileName::Pool(number).to_string();
        let made = self.storage.create(&name, segment_bytes).and_then(|file| {
            self.storage.sync_dir()?;
            Ok(file)
        });
        match made {
            Ok(file) => {
                self.totals.bytes_written.add(segment_bytes);
                self.totals.bytes_zeroed.add(segment_bytes);
                self.totals.flushes.add(1);
                let mut files = lock(&self.files);
                files.add(number, Arc::new(file));
                files.total += 1;
                let withheld = self.withheld(files.total);
                drop(files);
                self.queue.look(|staged| staged.spare_added(1, withheld));
                true
            }
            Err(error) => {
                if !is_full(&error) {
                    tracing::warn!(file = name, %error, "cannot make a segment file");
                }
                // What was half made would count against the disk for ever. Its absence is as good as its removal.
                let _ = self.storage.remove(&name);
                false
            }
        }
    }

    fn may_make(&self, reserved: bool) -> bool {
        let total = lock(&self.files).total;
        let cap = self.files_max() - if reserved { 0 } else { RESERVE_SEGMENTS };
        let keep = if reserved { 0 } else { self.config.reserve_bytes };
        let free = self.storage.free_bytes().unwrap_or(0);
        total < cap && free >= self.config.segment_bytes.saturating_add(keep)
    }

    fn files_max(&self) -> u64 {
        self.config.size_bytes_max / self.config.segment_bytes
    }

    /// Files that records may not take, out of `total`.
    pub(super) fn withheld(&self, total: u64) -> u64 {
        (total + RESERVE_SEGMENTS).saturating_sub(self.files_max()).min(RESERVE_SEGMENTS)
    }

    /// Whether records can get no further file.
    pub(super) fn is_pressed(&self) -> bool {
        let withheld = self.withheld(lock(&self.files).total);
        self.queue.look(|staged| staged.spare()) <= withheld && !self.may_make(false)
    }

    /// Copies some live runs out of the emptiest old segment, when records can get no further file. Whether something was done.
    pub(super) fn reclaim(&self, now_ms: u64) -> Result<bool, Failed> {
        if !self.is_pressed() {
            return Ok(false);
        }
        let Some((number, file, runs)) = self.to_copy() else { return Ok(false) };
        let mut copied = 0;
        for (shard, run) in runs {
            let mut body = vec![0; index(run.stored)];
            let whole = file.read_at(&mut body, u64::from(run.offset)).is_ok() && crc32c(&body) == run.crc;
            if !whole {
                // The reader that meets it names the loss; a damaged run is not spread.
                tracing::error!(segment = number, offset = run.offset, "a run to be copied is damaged");
                self.index_mut().segments.entry(number).and_modify(|segment| segment.damaged = true);
                break;
            }
            match self.copy(run.header(shard), &body, now_ms)? {
                true => copied += body.len(),
                false => break,
            }
            if copied >= COPY_BYTES_STEP {
                break;
            }
        }
        self.totals.bytes_copied.add(copied as u64);
        // The pieces move when the copies are durable; only then may the next step look again.
        self.commit()?;
        Ok(copied > 0)
    }

    fn copy(&self, header: RunHeader, body: &[u8], now_ms: u64) -> Result<bool, Failed> {
        loop {
            match self.queue.stage(|staged| staged.append_copy(header, body, now_ms))? {
                Ok(()) => return Ok(true),
                Err(Refusal::NeedSegment) if self.make_room(true).is_ok() => {}
                Err(_) => return Ok(false),
            }
        }
    }

    /// The full segment with the fewest wanted bytes, if few enough, and its wanted runs.
    #[expect(clippy::type_complexity, reason = "taken apart by its only caller")]
    fn to_copy(&self) -> Option<(u64, Arc<S::File>, Vec<(ShardKey, RunRef)>)> {
        let index = self.index();
        let worth = index.segments.iter().filter(|(number, segment)| {
            let few = segment.live_bytes * 100 < segment.file_bytes * COPY_LIVE_PERCENT;
            index.open != Some(**number) && segment.pieces > 0 && !segment.damaged && few
        });
        let (&number, segment) = worth.min_by_key(|(_, segment)| segment.live_bytes)?;
        let file = Arc::clone(&segment.file);
        let mut runs = Vec::new();
        for (key, slot) in index.keys() {
            for (&first, piece) in index.at(slot).pieces.iter().filter(|(_, piece)| piece.segment == number) {
                let listed = match (&segment.tables, piece.table) {
                    (Tables::Memory(tables), _) => tables.get(&slot).cloned().unwrap_or_default(),
                    (Tables::Footer { at, pieces }, Some(table)) => {
                        let start = u64::from(*at) + u64::from(*pieces) * PIECE_BYTES as u64;
                        let mut bytes = vec![0; self::index(table.runs) * RUN_BYTES];
                        file.read_at(&mut bytes, start + u64::from(table.start) * RUN_BYTES as u64).ok()?;
                        RunRef::decode_all(&bytes, table.crc)?
                    }
                    _ => Vec::new(),
                };
                let wanted = listed.into_iter().filter(|run| run.last() >= first && run.first <= piece.last);
                runs.extend(wanted.map(|run| (key, run)));
            }
        }
        Some((number, file, runs))
    }
}
