//! What is in the directory: which segments live, what they hold, what of them is damaged.
//!
//! In: files that may hold anything, and the newest snapshot. Out: an index, and the damage by name.
//! Rules: a footer whose checksums are right is trusted, any other segment is read whole; a file whose header is of no use is a segment
//! all the same when trailer or groups say so; a file that shows no group of this lane is blank.
//! Invariant: whatever may have been acknowledged is in the index or in the damage.
//! Not here: metadata and known losses (`recover`), reading one segment (`scan`), what one file says of itself (`candidate`).

mod candidate;
mod renew;
mod settle;
mod unread;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

pub(super) use self::candidate::{Candidate, candidates, lane, unreadable_numbers};
pub(super) use self::unread::Place;
use crate::ShardKey;
use crate::config::{Compression, Config};
use crate::core::files::Files;
use crate::core::index::{Index, Piece, Segment, Tables, Written};
use crate::core::scan::{Damage, Found, Start};
use crate::core::stage::{META_SLOT, Staged};
use crate::error::OpenError;
use crate::format::FORMAT_VERSION;
use crate::format::body::Form;
use crate::format::footer::{PieceEntry, RunRef};
use crate::format::segment::{FileName, HEADER_BYTES, HeaderError, SegmentHeader, Trailer};
use crate::storage::{Storage, StorageFile};
use crate::types::Recovery;

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
    /// Whether there may be compressed runs: unknown bytes can hold more records then.
    pub(super) compressed: bool,
    /// Files without wanted content, by their present name.
    pub(super) blank: Vec<(FileName, Arc<F>, u64)>,
    /// The first place that the disk did not give back, and acknowledged records may be behind.
    pub(super) unread: Option<Place>,
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
            compressed: config.compression != Compression::None,
            blank: Vec::new(),
            unread: None,
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
        if let Some((trailer, pieces)) = candidate.sealed(Some(header.salt)) {
            return self.sealed(candidate, &trailer, &pieces, false);
        }
        let (salt, chain) = (Some(header.salt), Some(header.previous_crc));
        let start = Start { salt, next: header.first_group, chain, followed_by };
        match self.scan(candidate, start) {
            Ok(found) => self.scanned(candidate, found, header.first_group),
            Err(error) => self.unreadable(candidate, &error, followed_by),
        }
    }

    /// A file whose header is of no use: a segment all the same when trailer or groups say so.
    fn suspect(&mut self, candidate: &Candidate<F>, followed_by: Option<u64>) {
        if let Some((trailer, pieces)) = candidate.sealed(None) {
            return self.sealed(candidate, &trailer, &pieces, true);
        }
        if candidate.blank && !candidate.begins_with_group() {
            self.note_looked(candidate);
            return self.blank(candidate);
        }
        let mut next = self.last.0 + 1;
        if self.last_number + 1 != candidate.number || self.last_number == 0 {
            // Segments before it were let go: like the header, its first group vouches for every group before.
            next = next.max(candidate.first_group().unwrap_or(next));
        }
        let start = Start { salt: None, next, chain: None, followed_by };
        match self.scan(candidate, start) {
            Ok(found) if found.groups.is_empty() && followed_by.is_none_or(|first| first <= next) => {
                if candidate.claims_its_name() {
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
        if self.is_newest(trailer.last_group) {
            self.last = (trailer.last_group, Some(trailer.last_crc));
            self.tail = None;
        }
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
                self.compressed |= Form::of(header.flags, header.key_id).is_none_or(|form| form.lz4);
                Written { slot, shard: header.shard, run: RunRef::of(header, group.at, *newest_ms) }
            };
            let runs: Vec<Written> = group.runs.iter().map(written).collect();
            self.index.install(candidate.number, &runs);
        }
        let last = found.groups.last().map(|group| (group.number, group.crc));
        if let (Some(segment), Some((number, crc))) = (self.index.segments.get_mut(&candidate.number), last) {
            (segment.last_group, segment.last_crc, segment.data_end) = (number, crc, found.data_end);
        }
        if let (Some((number, crc)), Some(group)) = (last, found.groups.last())
            && self.is_newest(number)
        {
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

    /// Whether the log goes on behind this group. A file under a wrong name may be looked at before those that it follows: counting on
    /// from the last file's groups then would give its numbers again, and no snapshot would ever cover it.
    fn is_newest(&self, group: u64) -> bool {
        group >= self.last.0
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
            at: 0,
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
            opened_ms: self.opened_ms(candidate),
        };
        self.index.segments.insert(candidate.number, segment);
        self.files.total += 1;
        self.last_number = candidate.number;
        self.newest_number = self.newest_number.max(candidate.number);
    }

    fn opened_ms(&self, candidate: &Candidate<F>) -> Option<u64> {
        let own = |header: &&SegmentHeader| header.number == candidate.number && header.lane == self.lane;
        candidate.header.as_ref().ok().filter(own).map(|header| header.kept_ms)
    }

    fn blank(&mut self, candidate: &Candidate<F>) {
        self.blank.push((
            FileName::Segment(candidate.number),
            Arc::clone(&candidate.file),
            candidate.file_bytes,
        ));
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
