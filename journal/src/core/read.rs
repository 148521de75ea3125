//! Reading: from a sequence or a time to runs of records.
//!
//! In: shard, place, limits. Out: a page of durable records and the gaps among them.
//! Always: a run's checksum was right, or its range is a gap from now on; no lock is held while the disk is read.
//! Not here: from runs to records (`runs`), where pieces come from (`index`), what is recent (`tail`).

mod buffers;
mod runs;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use self::buffers::Buffers;
use self::runs::{Broken, Budget};
use crate::ShardKey;
use crate::core::index::{Piece, Tables};
use crate::core::scan::{Start, scan};
use crate::core::{Core, lock};
use crate::error::ReadError;
use crate::format::footer::{PIECE_BYTES, RUN_BYTES, RunRef, TableRef};
use crate::format::index;
use crate::limits::READ_BYTES_MAX;
use crate::page::{LostRange, Page, ReadLimits};
use crate::storage::{Storage, StorageFile};
use crate::types::{FIRST_SEQUENCE, Lost};

/// Runs of an unsealed segment that are copied out at once.
const RUNS_PER_STEP: usize = 1024;

/// One piece to read from.
struct Source<F> {
    slot: u32,
    number: u64,
    file: Arc<F>,
    last: u64,
    runs: Listing,
}

/// Where a piece's runs are listed.
enum Listing {
    /// Those from the wanted sequence on.
    Here(Vec<RunRef>),
    /// In the footer at this offset.
    Footer { offset: u64, table: TableRef },
}

impl<S: Storage> Core<S> {
    /// Reads durable records of `shard` from sequence `from` on. A `from` below what is kept starts at the oldest record.
    ///
    /// # Errors
    /// When the first run cannot be read: [`ReadError::KeyUnknown`] or [`ReadError::KeyWrong`] when it is sealed,
    /// [`ReadError::Unsupported`] when a newer program wrote it, [`ReadError::Unread`] while the disk does not give it back. Damage is no error: it is in [`Page::gaps`].
    pub fn read(&self, shard: ShardKey, from: u64, limits: ReadLimits) -> Result<Page, ReadError> {
        let mut page = Page { next: from, ..Page::default() };
        let mut budget = Budget::of(limits);
        while let Some(source) = self.next_source(shard, &mut page) {
            let number = source.number;
            let runs = match source.runs {
                Listing::Here(runs) => runs.into(),
                Listing::Footer { offset, table } => match self.table(number, &source.file, offset, table) {
                    Some(runs) => runs,
                    None => {
                        self.rescan((shard, page.next), number)?;
                        continue;
                    }
                },
            };
            let start = runs.partition_point(|run| run.last() < page.next);
            let until = runs.get(start).map_or(source.last + 1, |run| run.first.min(source.last + 1));
            if page.next < until {
                // The piece claims what its segment does not have: a hole from now on.
                self.lose(shard, source.slot, number, &Broken { first: page.next, last: until - 1 });
                continue;
            }
            let source = Source { runs: Listing::Here(Vec::new()), ..source };
            match self.read_runs(shard, &source, &runs[start..], &mut page, &mut budget)? {
                Some(broken) => self.lose(shard, source.slot, number, &broken),
                None if budget.records == 0 || budget.bytes == 0 => break,
                None => {}
            }
        }
        Ok(page)
    }

    /// The sequence of the first record of `shard` with a time of `time_ms` or later; `end` when there is none.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn seek_time(&self, shard: ShardKey, time_ms: u64) -> Result<u64, ReadError> {
        let Some(mut from) = self.seek_run(shard, time_ms) else {
            return Ok(self.bounds(shard).map_or(FIRST_SEQUENCE, |bounds| bounds.end));
        };
        loop {
            let page = self.read(shard, from, ReadLimits { records: 10_000, bytes: READ_BYTES_MAX })?;
            if let Some(record) = page.records().find(|record| record.time_ms >= time_ms) {
                return Ok(record.sequence);
            }
            if page.next >= page.end {
                return Ok(page.end);
            }
            from = page.next;
        }
    }

    /// First sequence of the last run that begins before `time_ms`, in the first piece that reaches it.
    fn seek_run(&self, shard: ShardKey, time_ms: u64) -> Option<u64> {
        let (first, source) = {
            let index = self.index();
            let shard_index = index.shard(shard)?;
            let (&first, _) = shard_index.pieces.iter().find(|(_, piece)| piece.newest_ms >= time_ms)?;
            drop(index);
            let mut page = Page { next: first, ..Page::default() };
            (first, self.source(shard, &mut page, usize::MAX)?)
        };
        let runs: Arc<[RunRef]> = match source.runs {
            Listing::Here(runs) => runs.into(),
            // A bad table: begin at the piece; reading it will find the damage.
            Listing::Footer { offset, table } => match self.table(source.number, &source.file, offset, table)
            {
                Some(runs) => runs,
                None => return Some(first),
            },
        };
        let after = runs.partition_point(|run| run.base_ms < time_ms);
        Some(runs.get(after.saturating_sub(1)).map_or(first, |run| run.first.max(first)))
    }

    fn next_source(&self, shard: ShardKey, page: &mut Page) -> Option<Source<S::File>> {
        self.source(shard, page, RUNS_PER_STEP)
    }

    /// The piece that `page.next` is in, after entering the gap before it; `None` at the end.
    fn source(&self, shard: ShardKey, page: &mut Page, runs_max: usize) -> Option<Source<S::File>> {
        let index = self.index();
        let Some(slot) = index.slot_of(shard) else {
            page.next = page.next.max(FIRST_SEQUENCE);
            page.end = FIRST_SEQUENCE;
            return None;
        };
        let state = index.at(slot);
        (page.end, page.newest_ms) = (state.end, state.newest_ms);
        page.next = page.next.max(state.floor);
        if page.next >= state.end {
            return None;
        }
        let found = state.piece_at(page.next);
        let first = found.as_ref().map_or(state.end, |(first, _)| *first);
        if first > page.next {
            page.gaps.push(LostRange { first: page.next, last: first - 1 });
            page.next = first;
        }
        let (_, piece) = found?;
        let segment = &index.segments[&piece.segment];
        let runs = match &segment.tables {
            Tables::Memory(tables) => {
                let table = tables.get(&slot).map(Vec::as_slice).unwrap_or_default();
                let start = table.partition_point(|run| run.last() < page.next);
                let after = table.partition_point(|run| run.first <= piece.last);
                let end = after.max(start).min(start.saturating_add(runs_max));
                Listing::Here(table[start..end].to_vec())
            }
            Tables::Footer { at, pieces } => {
                let table = piece.table.unwrap_or(TableRef { start: 0, runs: 0, crc: 1 });
                let offset = u64::from(*at) + u64::from(*pieces) * PIECE_BYTES as u64;
                Listing::Footer { offset, table }
            }
        };
        let file = Arc::clone(&segment.file);
        Some(Source { slot, number: piece.segment, file, last: piece.last, runs })
    }

    /// The runs of a piece, from the cache or from the footer whose run table begins at `offset`.
    pub(super) fn table(
        &self,
        number: u64,
        file: &S::File,
        offset: u64,
        table: TableRef,
    ) -> Option<Arc<[RunRef]>> {
        let key = (number, table.start);
        if let Some(runs) = lock(&self.tables).get(key) {
            return Some(runs);
        }
        let mut bytes = vec![0; index(table.runs).checked_mul(RUN_BYTES)?];
        file.read_at(&mut bytes, offset + u64::from(table.start) * RUN_BYTES as u64).ok()?;
        let runs: Arc<[RunRef]> = RunRef::decode_all(&bytes, table.crc)?.into();
        lock(&self.tables).put(key, &runs);
        Some(runs)
    }

    /// Reads a segment whole whose footer is bad: the footer is derived, the groups are the truth.
    ///
    /// # Errors
    /// The disk does not give back some of it, and may later.
    fn rescan(&self, wanted: (ShardKey, u64), number: u64) -> Result<(), ReadError> {
        let Some((file, file_bytes, start)) = self.index().segments.get(&number).map(|segment| {
            let start =
                Start { salt: Some(segment.salt), next: segment.first_group, chain: None, followed_by: None };
            (Arc::clone(&segment.file), segment.file_bytes, start)
        }) else {
            return Ok(());
        };
        tracing::warn!(segment = number, "footer is damaged, reading the segment whole");
        let mut found = scan(&*file, file_bytes, start).unwrap_or_default();
        if let Some((offset, error)) = found.unread.take() {
            self.meet_unread(wanted, (number, offset), &error)?;
        }
        let groups = found.groups;
        let mut index = self.index_mut();
        let mut tables = BTreeMap::<u32, Vec<RunRef>>::new();
        for group in &groups {
            for (header, newest_ms) in &group.runs {
                if let Some(slot) = index.slot_of(header.shard) {
                    tables.entry(slot).or_default().push(RunRef::of(header, group.at, *newest_ms));
                }
            }
        }
        for runs in tables.values_mut() {
            runs.sort_by_key(|run| run.first);
        }
        if let Some(segment) = index.segments.get_mut(&number) {
            segment.tables = Tables::Memory(tables);
        }
        Ok(())
    }

    /// A range turned out to be lost: forget where it was, remember that it is gone. Nothing when the segment was let go meanwhile.
    fn lose(&self, shard: ShardKey, slot: u32, number: u64, broken: &Broken) {
        let mut index = self.index_mut();
        let still_there = index
            .at(slot)
            .piece_at(broken.first)
            .is_some_and(|(_, piece): (u64, Piece)| piece.segment == number);
        if !still_there || index.slot_of(shard) != Some(slot) {
            return;
        }
        let range = LostRange { first: broken.first, last: broken.last };
        index.cut(slot, range.first, range.last);
        index.add_lost(slot, range);
        if let Some(segment) = index.segments.get_mut(&number) {
            segment.damaged = true;
        }
        drop(index);
        let (stream, shard_id) = (shard.stream, shard.shard);
        tracing::error!(
            stream,
            shard = shard_id,
            first = range.first,
            last = range.last,
            "records lost to damage"
        );
        self.found_lost(Lost { shard, range });
    }
}
