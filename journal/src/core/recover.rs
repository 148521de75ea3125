//! Opening: from a directory of files that may hold anything to a journal that accepts appends.
//!
//! In: a storage, settings, time and seed. Out: a core, and what was found.
//! Steps: newer valid snapshot; segments by number; footers trusted when their checksums are right, else the segment is read whole;
//! metadata replayed after the snapshot; what no piece holds between floor and end is lost and named; nothing found is written to
//! again, the first append opens a new segment.
//! Invariant: no damage stops an open, and no acknowledged loss goes unnamed.
//! Not here: reading one segment (`scan`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};

use crate::ShardKey;
use crate::blocks::Blocks;
use crate::bytes::splitmix;
use crate::config::Config;
use crate::core::files::Files;
use crate::core::index::{Index, Piece, Segment, Tables, Written};
use crate::core::meta::own;
use crate::core::read::Buffers;
use crate::core::scan::{Damage, Found, Start, scan};
use crate::core::snapshot::Slots;
use crate::core::stage::{META_SLOT, Staged};
use crate::core::tables::TableCache;
use crate::core::tail::Tail;
use crate::core::totals::Totals;
use crate::core::upkeep::Upkeep;
use crate::core::writer::Writer;
use crate::core::{Core, Listeners, lock};
use crate::error::OpenError;
use crate::format::footer::{PIECE_BYTES, PieceEntry, RunRef};
use crate::format::group::GroupHead;
use crate::format::segment::{FileName, HEADER_BYTES, HeaderError, SegmentHeader, TRAILER_BYTES, Trailer};
use crate::format::snapshot::Snapshot;
use crate::format::{FORMAT_VERSION, index};
use crate::page::{LostRange, ReadLimits};
use crate::queue::Queue;
use crate::set::AppendSet;
use crate::storage::{Storage, StorageFile};
use crate::types::{FIRST_SEQUENCE, Lost, Recovery};

/// Fewest bytes a record takes: three varints. Bounds how many records unknown bytes can have held.
const RECORD_BYTES_MIN: u64 = 3;

/// Lost ranges written into metadata per group.
const LOST_KEYS_PER_SET: usize = 64;

/// A file with the name of a segment.
struct Candidate<F> {
    number: u64,
    file: Arc<F>,
    file_bytes: u64,
    header: Result<SegmentHeader, HeaderError>,
    blank: bool,
}

/// What is put together while segments are looked at.
struct Survey<F> {
    lane: u128,
    staged: Staged,
    index: Index<F>,
    files: Files<F>,
    recovery: Recovery,
    /// Last group of every shard, to know what damage it may have lost records to.
    seen: BTreeMap<u32, u64>,
    unknown: Vec<Damage>,
    /// Last group found and its checksum.
    last: (u64, Option<u32>),
    /// Segment that the last group is in.
    last_number: u64,
    newest_number: u64,
    next_number: u64,
    /// Place of the last group, unless a footer says that it is durable.
    tail: Option<(Arc<F>, u64, u32, u32)>,
    /// Files without wanted content, by their present name.
    blank: Vec<(FileName, Arc<F>, u64)>,
}

impl<S: Storage> Core<S> {
    /// Opens the lane in `storage` without threads. `seed` gives salts and identities: another one at each opening of real files.
    ///
    /// # Errors
    /// [`OpenError`]: a setting out of range, a storage that cannot list, create or rename, files of a newer format.
    pub fn open_on(
        storage: S,
        config: Config,
        now_ms: u64,
        seed: u64,
    ) -> Result<(Self, Recovery), OpenError> {
        config.check()?;
        let names =
            storage.list().map_err(|source| OpenError::Io { doing: "listing the journal".into(), source })?;
        let opened = Slots::open(&storage, &names);
        if let Some((file, found)) = opened.version {
            return Err(OpenError::Version { file, found, expected: FORMAT_VERSION });
        }
        let mut recovery = Recovery::default();
        let candidates = candidates(&storage, &names, &mut recovery);
        let lane = lane(opened.newest.as_ref(), &candidates, seed);
        let mut survey = Survey::new(&config, lane, recovery);
        survey.newest_number = unreadable_numbers(&survey.recovery).max().unwrap_or(0);
        survey.files.total = survey.recovery.unreadable.len() as u64;
        survey.segments(&candidates)?;
        // Without a snapshot only a log from its very first group on tells everything.
        let oldest = survey.index.segments.values().next();
        let blind = opened.newest.is_none() && oldest.is_some_and(|segment| segment.first_group > 1);
        if let Some(newest) = &opened.newest {
            let doing = "writing the snapshot again".into();
            opened.slots.renew(newest).map_err(|source| OpenError::Io { doing, source })?;
        }
        survey.renew_tail()?;
        let snapshot = opened.newest.unwrap_or_default();
        survey.snapshot(&snapshot, blind);
        survey.blank_files(&storage, &config, &names)?;
        survey.recovery.segments = survey.index.segments.len() as u64;
        survey.recovery.metadata_lost |= blind;
        let mut core = survey.into_core(storage, config, now_ms, seed, opened.slots);
        let recovery = core.finish_recovery(now_ms);
        Ok((core, recovery))
    }

    /// What needs a core that can read: metadata, and the losses it does not know of yet.
    fn finish_recovery(&mut self, now_ms: u64) -> Recovery {
        let mut recovery = lock(&self.upkeep).take_recovery();
        recovery.metadata_lost |= self.replay_metadata();
        let (dropped, holds, known, retained) = self.queue.look(|staged| {
            let meta = &staged.meta;
            (
                own::dropped_streams(meta),
                own::holds(meta),
                own::lost_ranges(meta),
                own::retentions(meta).len(),
            )
        });
        let mut index = self.index_mut();
        for stream in dropped {
            index.drop_stream(stream);
            self.queue.look(|staged| staged.forget(stream));
        }
        for (shard, from) in holds {
            if let Some(slot) = index.slot_of(shard) {
                index.shard_mut(slot, shard).hold = Some(from);
            }
        }
        let known_by_shard = by_shard(known);
        for (shard, slot) in index.keys() {
            let known = known_by_shard.get(&shard).map(Vec::as_slice).unwrap_or_default();
            let holes = index.at(slot).holes();
            for &range in &holes {
                index.add_lost(slot, range);
            }
            if shard != ShardKey::META {
                let fresh = holes.into_iter().flat_map(|hole| without(hole, known));
                recovery.lost.extend(fresh.map(|range| Lost { shard, range }));
            }
        }
        drop(index);
        self.record_lost(&recovery.lost, now_ms);
        for lost in &recovery.lost {
            let (stream, shard) = (lost.shard.stream, lost.shard.shard);
            tracing::error!(
                stream,
                shard,
                first = lost.range.first,
                last = lost.range.last,
                "records lost to damage"
            );
        }
        tracing::debug!(
            segments = recovery.segments,
            last_group = recovery.last_group,
            retained,
            "journal recovered"
        );
        recovery
    }

    /// Applies stream 0 from the snapshot on; whether part of it is missing.
    fn replay_metadata(&self) -> bool {
        let (mut from, mut missing) =
            (self.index().shard(ShardKey::META).map_or(FIRST_SEQUENCE, |meta| meta.floor), false);
        let limits = ReadLimits { records: 10_000, bytes: 1 << 20 };
        loop {
            let page = match self.read(ShardKey::META, from, limits) {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(%error, "cannot read metadata");
                    return true;
                }
            };
            missing |= !page.gaps.is_empty();
            self.queue.look(|staged| page.records().for_each(|record| staged.meta.replay(&record)));
            if page.next >= page.end {
                return missing;
            }
            from = page.next;
        }
    }

    /// Stages losses as metadata, so that the next opening knows them.
    pub(super) fn record_lost(&self, lost: &[Lost], now_ms: u64) {
        for lost in lost.chunks(LOST_KEYS_PER_SET) {
            let mut set = AppendSet::new();
            for lost in lost {
                set.put(&own::lost(lost.shard, lost.range.first), &lost.range.last.to_le_bytes(), None);
            }
            self.append_own(&set, now_ms);
        }
    }
}

impl<F: StorageFile> Survey<F> {
    fn new(config: &Config, lane: u128, recovery: Recovery) -> Self {
        let mut index = Index::new();
        // Metadata can be lost before a single change of it was read.
        index.shard_mut(META_SLOT, ShardKey::META);
        Self {
            lane,
            staged: Staged::new(config),
            index,
            files: Files::new(),
            recovery,
            seen: BTreeMap::new(),
            unknown: Vec::new(),
            last: (0, None),
            last_number: 0,
            newest_number: 0,
            next_number: 1,
            tail: None,
            blank: Vec::new(),
        }
    }

    fn segments(&mut self, candidates: &[Candidate<F>]) -> Result<(), OpenError> {
        for (at, candidate) in candidates.iter().enumerate() {
            // Only the very next segment proves anything: others in between may have been let go.
            let followed_by = candidates.get(at + 1).and_then(|next| match &next.header {
                Ok(header) if header.number == next.number && next.number == candidate.number + 1 => {
                    (header.lane == self.lane).then_some(header.first_group)
                }
                _ => None,
            });
            match candidate.header {
                Err(HeaderError::Version(found)) => {
                    let file = FileName::Segment(candidate.number).to_string();
                    return Err(OpenError::Version { file, found, expected: FORMAT_VERSION });
                }
                Ok(header) if header.number == candidate.number && header.lane == self.lane => {
                    self.live(candidate, &header, followed_by);
                }
                // Another life of the file, or another lane's.
                Ok(_) => self.blank(candidate),
                Err(_) => self.suspect(candidate, followed_by),
            }
        }
        Ok(())
    }

    fn live(&mut self, candidate: &Candidate<F>, header: &SegmentHeader, followed_by: Option<u64>) {
        let adjacent = self.last_number + 1 == candidate.number && self.last_number > 0;
        if adjacent && header.first_group > self.last.0 + 1 {
            self.recovery.groups_lost += header.first_group - self.last.0 - 1;
        }
        // The header vouches for every group before its first.
        self.last.0 = self.last.0.max(header.first_group.saturating_sub(1));
        if let Some((trailer, pieces)) = sealed(candidate, Some(header.salt)) {
            return self.sealed(candidate, &trailer, &pieces, false);
        }
        let (salt, chain) = (Some(header.salt), Some(header.previous_crc));
        let start = Start { salt, next: header.first_group, chain, followed_by };
        match scan(&*candidate.file, candidate.file_bytes, start) {
            Ok(found) => self.scanned(candidate, found, header.first_group),
            Err(error) => self.unreadable(candidate, &error, followed_by),
        }
    }

    /// A file whose header is of no use: a segment all the same when trailer or groups say so.
    fn suspect(&mut self, candidate: &Candidate<F>, followed_by: Option<u64>) {
        if let Some((trailer, pieces)) = sealed(candidate, None) {
            return self.sealed(candidate, &trailer, &pieces, true);
        }
        if candidate.blank && !begins_with_group(&*candidate.file) {
            return self.blank(candidate);
        }
        let next = self.last.0 + 1;
        let start = Start { salt: None, next, chain: None, followed_by };
        match scan(&*candidate.file, candidate.file_bytes, start) {
            Ok(found) if found.groups.is_empty() && followed_by.is_none_or(|first| first <= next) => {
                if claims_its_name(candidate) {
                    let error =
                        io::Error::new(io::ErrorKind::InvalidData, "header and first group are damaged");
                    return self.unreadable(candidate, &error, followed_by);
                }
                self.blank(candidate);
            }
            Ok(found) => {
                if found.groups.is_empty() {
                    self.recovery.unreadable.push(FileName::Segment(candidate.number).to_string());
                }
                self.recovery.segments_scanned += 1;
                self.scanned(candidate, found, next);
                if let Some(segment) = self.index.segments.get_mut(&candidate.number) {
                    segment.damaged = true;
                }
            }
            Err(error) => self.unreadable(candidate, &error, followed_by),
        }
    }

    fn sealed(&mut self, candidate: &Candidate<F>, trailer: &Trailer, pieces: &[PieceEntry], damaged: bool) {
        let tables = Tables::Footer { at: trailer.footer_at, pieces: trailer.pieces };
        self.enter(candidate, trailer.salt, trailer.first_group, tables, damaged);
        if let Some(segment) = self.index.segments.get_mut(&candidate.number) {
            (segment.last_group, segment.last_crc) = (trailer.last_group, trailer.last_crc);
            segment.data_end = trailer.data_end;
        }
        for entry in pieces {
            let slot = self.staged.slot(entry.shard);
            let shard = self.index.shard_mut(slot, entry.shard);
            shard.end = shard.end.max(entry.last + 1);
            shard.newest_ms = shard.newest_ms.max(entry.newest_ms);
            let piece = Piece {
                last: entry.last,
                segment: candidate.number,
                oldest_ms: entry.oldest_ms,
                newest_ms: entry.newest_ms,
                bytes: u64::from(entry.bytes),
                table: Some(entry.table),
            };
            self.index.add_piece(slot, entry.first, piece);
            self.seen.insert(slot, trailer.last_group);
        }
        self.last = (trailer.last_group, Some(trailer.last_crc));
        self.tail = None;
    }

    fn scanned(&mut self, candidate: &Candidate<F>, found: Found, first_group: u64) {
        self.recovery.segments_scanned += 1;
        let tables = Tables::Memory(BTreeMap::new());
        self.enter(candidate, found.salt.unwrap_or(0), first_group, tables, !found.damage.is_empty());
        for group in &found.groups {
            let written = |(header, newest_ms): &(_, u64)| {
                let header: &crate::format::group::RunHeader = header;
                let slot = self.staged.slot(header.shard);
                self.seen.insert(slot, group.number);
                Written { slot, shard: header.shard, run: RunRef::of(header, group.at, *newest_ms) }
            };
            let runs: Vec<Written> = group.runs.iter().map(written).collect();
            self.index.install(candidate.number, &runs);
        }
        let last = found.groups.last().map(|group| (group.number, group.crc));
        if let (Some(segment), Some((number, crc))) = (self.index.segments.get_mut(&candidate.number), last) {
            (segment.last_group, segment.last_crc, segment.data_end) = (number, crc, found.data_end);
        }
        if let (Some((number, crc)), Some(group)) = (last, found.groups.last()) {
            self.last = (number, Some(crc));
            // Header and first group go out together, so they are renewed together.
            let at = if found.groups.len() == 1 { 0 } else { group.at };
            self.tail = Some((Arc::clone(&candidate.file), candidate.number, at, found.data_end));
        }
        self.recovery.torn_bytes += found.torn_bytes;
        for damage in found.damage {
            self.damage(damage);
        }
    }

    /// Writes the last group again as it was read. It may be the one that was in flight when the process was killed: seen, and yet not
    /// durable. A sync alone would not do: after a failed one, bytes that only memory holds count as clean.
    fn renew_tail(&mut self) -> Result<(), OpenError> {
        let Some((file, number, at, end)) = self.tail.take() else { return Ok(()) };
        let mut blocks = Blocks::zeroed(index(end - at));
        let mut renew = || {
            file.read_at(blocks.as_mut_slice(), u64::from(at))?;
            file.write_at(&blocks, u64::from(at))?;
            file.sync()
        };
        let doing = format!("writing the last group of {} again", FileName::Segment(number));
        renew().map_err(|source| OpenError::Io { doing, source })
    }

    fn damage(&mut self, damage: Damage) {
        tracing::error!(first_group = damage.first_group, last_group = damage.last_group, "groups damaged");
        self.recovery.groups_lost += damage.last_group - damage.first_group + 1;
        for run in &damage.runs {
            // The header is whole: exactly these are lost, and their sequences must not be given again.
            let slot = self.staged.slot(run.shard);
            let shard = self.index.shard_mut(slot, run.shard);
            shard.end = shard.end.max(run.last() + 1);
        }
        self.last = (self.last.0.max(damage.last_group), self.last.1);
        if damage.unknown_bytes > 0 {
            self.unknown.push(damage);
        }
    }

    fn unreadable(&mut self, candidate: &Candidate<F>, error: &io::Error, followed_by: Option<u64>) {
        let name = FileName::Segment(candidate.number).to_string();
        tracing::error!(file = name, %error, "cannot read a segment");
        self.recovery.unreadable.push(name);
        self.enter(candidate, 0, self.last.0 + 1, Tables::Memory(BTreeMap::new()), true);
        let first_group = self.last.0 + 1;
        let last_group = followed_by.map_or(first_group, |first| first.saturating_sub(1).max(first_group));
        self.damage(Damage {
            first_group,
            last_group,
            unknown_bytes: candidate.file_bytes,
            runs: Vec::new(),
        });
    }

    fn enter(
        &mut self,
        candidate: &Candidate<F>,
        salt: u64,
        first_group: u64,
        tables: Tables,
        damaged: bool,
    ) {
        let segment = Segment {
            file: Arc::clone(&candidate.file),
            file_bytes: candidate.file_bytes,
            salt,
            first_group,
            last_group: first_group.saturating_sub(1),
            last_crc: 0,
            data_end: HEADER_BYTES,
            tables,
            pieces: 0,
            live_bytes: 0,
            damaged,
            released: 0,
        };
        self.index.segments.insert(candidate.number, segment);
        self.files.total += 1;
        self.last_number = candidate.number;
        self.newest_number = self.newest_number.max(candidate.number);
    }

    fn blank(&mut self, candidate: &Candidate<F>) {
        self.blank.push((
            FileName::Segment(candidate.number),
            Arc::clone(&candidate.file),
            candidate.file_bytes,
        ));
    }

    /// Adds what only the snapshot knows: floors, and how far shards came whose segments are gone or damaged.
    fn snapshot(&mut self, snapshot: &Snapshot, blind: bool) {
        for state in &snapshot.shards {
            let slot = self.staged.slot(state.shard);
            let shard = self.index.shard_mut(slot, state.shard);
            shard.end = shard.end.max(state.next);
            shard.newest_ms = shard.newest_ms.max(state.newest_ms);
        }
        for damage in std::mem::take(&mut self.unknown) {
            // Up to its group the snapshot knows every shard's next sequence, and the loss shows as a hole.
            if damage.last_group > snapshot.group {
                self.skip(&damage);
            }
        }
        for (key, slot) in self.index.keys() {
            let state = snapshot.shards.iter().find(|state| state.shard == key);
            let floor = match state {
                // What the snapshot holds of stream 0 need not be read again.
                Some(state) if key == ShardKey::META => state.next,
                Some(state) => state.floor,
                // Without a snapshot nobody knows what was let go on purpose.
                None if blind => {
                    self.index.at(slot).pieces.first_key_value().map_or(FIRST_SEQUENCE, |(&first, _)| first)
                }
                None => FIRST_SEQUENCE,
            };
            self.index.raise_floor(slot, floor);
            let shard = self.index.at(slot);
            self.staged.restore(key, shard.end, shard.newest_ms);
        }
        self.next_number = snapshot.next_segment;
        self.staged.meta.load(snapshot.keys.clone());
        self.recovery.last_group = self.last.0.max(snapshot.group);
        self.staged.resume(self.recovery.last_group);
    }

    /// Moves the end of every shard that may have had records in `damage` past as many as can have been there, so that no sequence
    /// is given twice and the possible loss is named.
    fn skip(&mut self, damage: &Damage) {
        let records = damage.unknown_bytes.div_ceil(RECORD_BYTES_MIN);
        for (key, slot) in self.index.keys() {
            if self.seen.get(&slot).is_none_or(|&group| group <= damage.last_group) {
                self.index.shard_mut(slot, key).end += records;
            }
        }
    }

    /// Puts files without content into the pool; those of another size are removed.
    fn blank_files<S: Storage<File = F>>(
        &mut self,
        storage: &S,
        config: &Config,
        names: &[String],
    ) -> Result<(), OpenError> {
        let failed =
            |doing: &str, name: FileName, source| OpenError::Io { doing: format!("{doing} {name}"), source };
        for name in names {
            if let Some(FileName::Pool(number)) = FileName::parse(name) {
                self.files.saw_pool_name(number);
                // One that cannot be opened stays where it is: it costs space and nothing else.
                if let Ok(file) = storage.open(name)
                    && let Ok(file_bytes) = file.len()
                {
                    self.blank.push((FileName::Pool(number), Arc::new(file), file_bytes));
                }
            }
        }
        for (name, file, file_bytes) in std::mem::take(&mut self.blank) {
            if file_bytes != config.segment_bytes {
                storage.remove(&name.to_string()).map_err(|source| failed("removing", name, source))?;
                continue;
            }
            let number = match name {
                FileName::Pool(number) => number,
                _ => {
                    let number = self.files.pool_name();
                    let pooled = FileName::Pool(number).to_string();
                    storage
                        .rename(&name.to_string(), &pooled)
                        .map_err(|source| failed("renaming", name, source))?;
                    number
                }
            };
            self.files.add(number, file);
            self.files.total += 1;
        }
        Ok(())
    }

    fn into_core<S: Storage<File = F>>(
        mut self,
        storage: S,
        config: Config,
        now_ms: u64,
        seed: u64,
        mut slots: Slots<F>,
    ) -> Core<S> {
        if let Err(error) = slots.ensure(&storage) {
            tracing::warn!(%error, "cannot make the snapshot files");
        }
        let last = self.recovery.last_group;
        let next_number = self.next_number.max(self.newest_number + 1);
        self.staged.spare_added(self.files.ready(), 0);
        Core {
            lane_id: 0,
            lane: self.lane,
            seed,
            queue: Queue::new(self.staged, last),
            writer: Mutex::new(Writer::new(next_number, self.last.1.unwrap_or(0))),
            files: Mutex::new(self.files),
            index: RwLock::new(self.index),
            tail: Mutex::new(Tail::new(config.tail_cache_bytes)),
            tables: Mutex::new(TableCache::default()),
            upkeep: Mutex::new(Upkeep::new(slots, self.recovery)),
            listeners: Mutex::new(Listeners::default()),
            buffers: Buffers::default(),
            found: Mutex::new(Vec::new()),
            making: Mutex::new(()),
            totals: Totals::default(),
            next_number: AtomicU64::new(next_number),
            upkeep_due: AtomicBool::new(true),
            newest_ms: AtomicU64::new(now_ms),
            storage,
            config,
        }
    }
}

fn candidates<S: Storage>(storage: &S, names: &[String], recovery: &mut Recovery) -> Vec<Candidate<S::File>> {
    let mut candidates = Vec::new();
    let numbers: BTreeSet<u64> = names
        .iter()
        .filter_map(|name| match FileName::parse(name) {
            Some(FileName::Segment(number)) => Some(number),
            _ => None,
        })
        .collect();
    for number in numbers {
        let name = FileName::Segment(number).to_string();
        let opened = storage.open(&name).and_then(|file| {
            let file_bytes = file.len()?;
            Ok((file, file_bytes))
        });
        match opened {
            Ok((file, file_bytes)) => {
                let mut block = vec![0; index(HEADER_BYTES)];
                // A header that cannot be read is like a damaged one: trailer or groups may still speak for the segment.
                let read = file.read_at(&mut block, 0);
                let blank = read.is_ok() && block.iter().all(|&byte| byte == 0);
                let header =
                    read.map_err(|_| HeaderError::Damaged(None)).and_then(|()| SegmentHeader::decode(&block));
                candidates.push(Candidate { number, file: Arc::new(file), file_bytes, header, blank });
            }
            Err(error) => {
                tracing::error!(file = name, %error, "cannot open a segment");
                recovery.unreadable.push(name);
            }
        }
    }
    candidates
}

fn unreadable_numbers(recovery: &Recovery) -> impl Iterator<Item = u64> {
    recovery.unreadable.iter().filter_map(|name| match FileName::parse(name) {
        Some(FileName::Segment(number)) => Some(number),
        _ => None,
    })
}

fn lane<F>(snapshot: Option<&Snapshot>, candidates: &[Candidate<F>], seed: u64) -> u128 {
    let newest = candidates.iter().rev().filter_map(|candidate| candidate.header.as_ref().ok());
    let of_segment = newest.map(|header| header.lane).next();
    snapshot.map(|snapshot| snapshot.lane).or(of_segment).unwrap_or_else(|| {
        let mut chance = seed;
        u128::from(splitmix(&mut chance)) << 64 | u128::from(splitmix(&mut chance))
    })
}

/// Trailer and pieces of a segment, when both check out.
fn sealed<F: StorageFile>(candidate: &Candidate<F>, salt: Option<u64>) -> Option<(Trailer, Vec<PieceEntry>)> {
    let trailer_at = candidate.file_bytes.checked_sub(u64::from(TRAILER_BYTES))?;
    let mut block = vec![0; index(TRAILER_BYTES)];
    candidate.file.read_at(&mut block, trailer_at).ok()?;
    let trailer = Trailer::decode(&block)?;
    if trailer.number != candidate.number || salt.is_some_and(|salt| salt != trailer.salt) {
        return None;
    }
    let bytes = u64::from(trailer.pieces) * PIECE_BYTES as u64;
    if u64::from(trailer.footer_at) + bytes > trailer_at {
        return None;
    }
    let mut table = vec![0; usize::try_from(bytes).ok()?];
    candidate.file.read_at(&mut table, u64::from(trailer.footer_at)).ok()?;
    let pieces = PieceEntry::decode_all(&table, trailer.pieces, trailer.pieces_crc)?;
    Some((trailer, pieces))
}

/// Whether a damaged header still says that this is the segment of its name. A header is less than a sector, so it is never torn:
/// this is damage, and groups may have been acknowledged behind it. One flipped bit in the number itself is allowed for.
fn claims_its_name<F>(candidate: &Candidate<F>) -> bool {
    match candidate.header {
        Err(HeaderError::Damaged(Some(claimed))) => (claimed ^ candidate.number).count_ones() <= 1,
        _ => false,
    }
}

fn begins_with_group<F: StorageFile>(file: &F) -> bool {
    let mut block = [0; 64];
    file.read_at(&mut block, u64::from(HEADER_BYTES)).is_ok() && GroupHead::peek(&block).is_some()
}

fn by_shard(known: Vec<(ShardKey, LostRange)>) -> BTreeMap<ShardKey, Vec<LostRange>> {
    let mut map: BTreeMap<ShardKey, Vec<LostRange>> = BTreeMap::new();
    for (shard, range) in known {
        map.entry(shard).or_default().push(range);
    }
    map
}

/// The parts of `range` that none of `known` covers.
fn without(range: LostRange, known: &[LostRange]) -> Vec<LostRange> {
    let mut rest = vec![range];
    for known in known {
        rest = rest
            .into_iter()
            .flat_map(|range| {
                let before =
                    LostRange { first: range.first, last: range.last.min(known.first.wrapping_sub(1)) };
                let after =
                    LostRange { first: range.first.max(known.last.saturating_add(1)), last: range.last };
                if known.last < range.first || known.first > range.last {
                    vec![range]
                } else {
                    [before, after]
                        .into_iter()
                        .filter(|part| part.first <= part.last && known.first > 0)
                        .collect()
                }
            })
            .collect();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_known_yet_is_a_new_loss() {
        let range = |first, last| LostRange { first, last };
        assert_eq!(without(range(10, 20), &[]), [range(10, 20)]);
        assert_eq!(without(range(10, 20), &[range(10, 20)]), []);
        assert_eq!(without(range(10, 20), &[range(12, 14), range(18, 30)]), [range(10, 11), range(15, 17)]);
        assert_eq!(without(range(10, 20), &[range(1, 9), range(21, 25)]), [range(10, 20)]);
    }
}
