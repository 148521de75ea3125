//! What is in the directory: which segments live, what they hold, what of them is damaged.
//!
//! In: files that may hold anything, and the newest snapshot. Out: an index, and the damage by name.
//! Rules: a footer whose checksums are right is trusted, any other segment is read whole; a file whose header is of no use is a segment
//! all the same when trailer or groups say so; a file that shows no group of this lane is blank.
//! Invariant: whatever may have been acknowledged is in the index or in the damage.
//! Not here: metadata and known losses (`recover`), reading one segment (`scan`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use crate::ShardKey;
use crate::blocks::Blocks;
use crate::bytes::splitmix;
use crate::config::Config;
use crate::core::files::Files;
use crate::core::index::{Index, Piece, Segment, Tables, Written};
use crate::core::scan::{Damage, Found, Start, scan};
use crate::core::stage::{META_SLOT, Staged};
use crate::error::OpenError;
use crate::format::footer::{PIECE_BYTES, PieceEntry, RunRef};
use crate::format::group::GroupHead;
use crate::format::segment::{FileName, HEADER_BYTES, HeaderError, SegmentHeader, TRAILER_BYTES, Trailer};
use crate::format::snapshot::Snapshot;
use crate::format::{FORMAT_VERSION, index};
use crate::storage::{Storage, StorageFile};
use crate::types::{FIRST_SEQUENCE, Recovery};

/// Fewest bytes a record takes: three varints. Bounds how many records unknown bytes can have held.
const RECORD_BYTES_MIN: u64 = 3;

/// A file with the name of a segment.
pub(super) struct Candidate<F> {
    pub(super) number: u64,
    pub(super) file: Arc<F>,
    pub(super) file_bytes: u64,
    pub(super) header: Result<SegmentHeader, HeaderError>,
    pub(super) blank: bool,
}

/// What is put together while segments are looked at.
pub(super) struct Survey<F> {
    pub(super) lane: u128,
    pub(super) staged: Staged,
    pub(super) index: Index<F>,
    pub(super) files: Files<F>,
    pub(super) recovery: Recovery,
    /// Last group of every shard, to know what damage it may have lost records to.
    pub(super) seen: BTreeMap<u32, u64>,
    pub(super) unknown: Vec<Damage>,
    /// Last group found and its checksum.
    pub(super) last: (u64, Option<u32>),
    /// Segment that the last group is in.
    pub(super) last_number: u64,
    pub(super) newest_number: u64,
    pub(super) next_number: u64,
    /// Place of the last group, unless a footer says that it is durable.
    pub(super) tail: Option<(Arc<F>, u64, u32, u32)>,
    /// Files without wanted content, by their present name.
    pub(super) blank: Vec<(FileName, Arc<F>, u64)>,
}

impl<F: StorageFile> Survey<F> {
    pub(super) fn new(config: &Config, lane: u128, recovery: Recovery) -> Self {
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

    pub(super) fn segments(&mut self, candidates: &[Candidate<F>]) -> Result<(), OpenError> {
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
                if !candidate.blank {
                    // Neither zeros nor an earlier life's header: something stood here that is not read any more.
                    self.recovery.torn_bytes += u64::from(HEADER_BYTES);
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
    pub(super) fn renew_tail(&mut self) -> Result<(), OpenError> {
        let Some((file, number, at, end)) = self.tail.take() else { return Ok(()) };
        let mut blocks = Blocks::zeroed(index(end - at));
        let mut renew = || {
            file.read_at(blocks.as_mut_slice(), u64::from(at))?;
            if at == 0 {
                self.mend_header(number, blocks.as_mut_slice());
            }
            file.write_at(&blocks, u64::from(at))?;
            file.sync()
        };
        let doing = format!("writing the last group of {} again", FileName::Segment(number));
        renew().map_err(|source| OpenError::Io { doing, source })
    }

    /// Puts a header before the first and only group of a segment that has none: a cut kept the group's sectors of their common
    /// write and not the header's. Without it the group's number would look like a loss once the segments before it are let go.
    fn mend_header(&mut self, number: u64, bytes: &mut [u8]) {
        let (block, group) = bytes.split_at_mut(index(HEADER_BYTES));
        let (Err(_), Some(head)) = (SegmentHeader::decode(block), GroupHead::peek(group)) else { return };
        let segment = self.index.segments.get_mut(&number);
        let Some(segment) = segment.filter(|segment| segment.last_group == head.number) else { return };
        let header = SegmentHeader {
            lane_id: 0,
            lane: self.lane,
            number,
            salt: head.salt,
            first_group: head.number,
            wall_ms: head.wall_ms,
            previous_crc: head.previous_crc,
        };
        let mut mended = Blocks::new();
        header.encode(&mut mended);
        block.copy_from_slice(mended.as_slice());
        segment.damaged = false;
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
    pub(super) fn snapshot(&mut self, snapshot: &Snapshot, blind: bool) {
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
    pub(super) fn blank_files<S: Storage<File = F>>(
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
}

pub(super) fn candidates<S: Storage>(
    storage: &S,
    names: &[String],
    recovery: &mut Recovery,
) -> Vec<Candidate<S::File>> {
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

pub(super) fn unreadable_numbers(recovery: &Recovery) -> impl Iterator<Item = u64> {
    recovery.unreadable.iter().filter_map(|name| match FileName::parse(name) {
        Some(FileName::Segment(number)) => Some(number),
        _ => None,
    })
}

pub(super) fn lane<F>(snapshot: Option<&Snapshot>, candidates: &[Candidate<F>], seed: u64) -> u128 {
    // A header under another number is of an earlier life of its file, perhaps in a lane that ended before its first group.
    let own = |candidate: &&Candidate<F>| {
        candidate.header.as_ref().is_ok_and(|header| header.number == candidate.number)
    };
    let newest = candidates.iter().rev().filter(own).filter_map(|candidate| candidate.header.as_ref().ok());
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
