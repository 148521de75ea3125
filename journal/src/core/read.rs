//! Reading: from a sequence or a time to runs of records.
//!
//! In: shard, place, limits. Out: a page of durable records and the gaps among them.
//! Always: a run's checksum was right, or its range is a gap from now on; neighbours' runs are read along only where that is cheaper
//! than another request; no lock is held while the disk is read.
//! Not here: where pieces come from (`index`), what is recent (`tail`).

use std::io;
use std::sync::{Arc, Mutex};

use crate::ShardKey;
use crate::blocks::Blocks;
use crate::bytes::crc32c;
use crate::core::index::{Piece, Tables};
use crate::core::scan::{Start, scan};
use crate::core::{Core, lock};
use crate::error::ReadError;
use crate::format::footer::{PIECE_BYTES, RUN_BYTES, RunRef, TableRef};
use crate::format::index;
use crate::limits::{READ_BYTES_MAX, READ_HOLE_BYTES};
use crate::page::{LostRange, Page, ReadLimits, Records, Run};
use crate::storage::{Storage, StorageFile};
use crate::types::{FIRST_SEQUENCE, Lost};

/// Runs of an unsealed segment that are copied out at once.
const RUNS_PER_STEP: usize = 1024;

/// Read buffers kept for reuse, and the largest that is.
const BUFFERS_KEPT: usize = 4;
const BUFFER_KEPT_BYTES: usize = 2 * READ_BYTES_MAX;

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

/// What a page still may take.
struct Budget {
    records: usize,
    bytes: usize,
}

/// A run that is not what its header says, or cannot be read.
struct Broken {
    first: u64,
    last: u64,
}

impl<S: Storage> Core<S> {
    /// Reads durable records of `shard` from sequence `from` on. A `from` below what is kept starts at the oldest record.
    ///
    /// # Errors
    /// [`ReadError::Unsupported`] when the first run was written by a newer program. Damage is no error: it is in [`Page::gaps`].
    pub fn read(&self, shard: ShardKey, from: u64, limits: ReadLimits) -> Result<Page, ReadError> {
        let mut page = Page { next: from, ..Page::default() };
        let mut budget = Budget { records: limits.records.max(1), bytes: limits.bytes.max(1) };
        while let Some(source) = self.next_source(shard, &mut page) {
            let number = source.number;
            let runs = match source.runs {
                Listing::Here(runs) => runs.into(),
                Listing::Footer { offset, table } => match self.table(number, &source.file, offset, table) {
                    Some(runs) => runs,
                    None => {
                        self.rescan(number);
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
    fn table(&self, number: u64, file: &S::File, offset: u64, table: TableRef) -> Option<Arc<[RunRef]>> {
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
    fn rescan(&self, number: u64) {
        let Some((file, file_bytes, start)) = self.index().segments.get(&number).map(|segment| {
            let start =
                Start { salt: Some(segment.salt), next: segment.first_group, chain: None, followed_by: None };
            (Arc::clone(&segment.file), segment.file_bytes, start)
        }) else {
            return;
        };
        tracing::warn!(segment = number, "footer is damaged, reading the segment whole");
        let groups = scan(&*file, file_bytes, start).map(|found| found.groups).unwrap_or_default();
        let mut index = self.index_mut();
        let mut tables = std::collections::BTreeMap::<u32, Vec<RunRef>>::new();
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

    /// Enters records of `runs` into the page until a limit; the first run holds `page.next`.
    fn read_runs(
        &self,
        shard: ShardKey,
        source: &Source<S::File>,
        runs: &[RunRef],
        page: &mut Page,
        budget: &mut Budget,
    ) -> Result<Option<Broken>, ReadError> {
        let mut rest = runs;
        while let Some(run) = rest.first() {
            // A run that does not continue the page is behind a hole: the caller looks the next piece up.
            if budget.records == 0 || budget.bytes == 0 || run.first > page.next || run.first > source.last {
                break;
            }
            if run.flags != 0 || run.key_id != 0 {
                if page.runs.is_empty() {
                    let (first, flags, key_id) = (run.first, run.flags, run.key_id);
                    return Err(ReadError::Unsupported { shard, first, flags, key_id });
                }
                budget.records = 0;
                break;
            }
            let recent = lock(&self.tail).find(source.number, run.offset);
            if let Some((buffer, start)) = recent {
                take(run, source.last, &buffer, start, page, budget);
                rest = &rest[1..];
                continue;
            }
            let together = merge(rest, budget);
            let start = run.offset;
            let len = index(together[together.len() - 1].end() - start);
            let (batch, buffer) = match self.read_buffer(&source.file, start, len) {
                Ok(buffer) => (together, buffer),
                // One bad sector must not take the neighbours along.
                Err(_) => match self.read_buffer(&source.file, start, index(run.stored)) {
                    Ok(buffer) => (&together[..1], buffer),
                    Err(error) => {
                        tracing::warn!(segment = source.number, offset = start, %error, "cannot read a run");
                        return Ok(Some(Broken { first: run.first, last: run.last() }));
                    }
                },
            };
            for run in batch {
                let at = index(run.offset - start);
                if crc32c(&buffer.as_slice()[at..at + index(run.stored)]) != run.crc {
                    return Ok(Some(Broken { first: run.first, last: run.last() }));
                }
                if run.first > page.next || budget.records == 0 || budget.bytes == 0 {
                    return Ok(None);
                }
                take(run, source.last, &buffer, start, page, budget);
            }
            rest = &rest[batch.len()..];
        }
        Ok(None)
    }

    fn read_buffer(&self, file: &S::File, offset: u32, len: usize) -> io::Result<Arc<Blocks>> {
        let mut buffer = self.buffers.take();
        let blocks = Arc::get_mut(&mut buffer).expect("take gives a buffer nobody else has");
        blocks.set_len(len);
        file.read_at(blocks.as_mut_slice(), u64::from(offset))?;
        self.buffers.keep(&buffer);
        Ok(buffer)
    }
}

/// Buffers that reads filled, used again when their page is gone.
#[derive(Default)]
pub(super) struct Buffers(Mutex<Vec<Arc<Blocks>>>);

impl Buffers {
    fn take(&self) -> Arc<Blocks> {
        let mut kept = lock(&self.0);
        let free = kept.iter().position(|buffer| Arc::strong_count(buffer) == 1);
        // `get_mut` needs the only handle, so the buffer leaves the list.
        free.map(|at| kept.swap_remove(at))
            .filter(|buffer| Arc::strong_count(buffer) == 1)
            .unwrap_or_default()
    }

    fn keep(&self, buffer: &Arc<Blocks>) {
        let mut kept = lock(&self.0);
        if kept.len() < BUFFERS_KEPT && buffer.capacity() <= BUFFER_KEPT_BYTES {
            kept.push(Arc::clone(buffer));
        }
    }
}

/// The runs from the first of `runs` on that are worth one read.
fn merge<'a>(runs: &'a [RunRef], budget: &Budget) -> &'a [RunRef] {
    let start = index(runs[0].offset);
    let (mut count, mut end, mut bytes, mut next) =
        (1, index(runs[0].end()), index(runs[0].stored), runs[0].last() + 1);
    for run in &runs[1..] {
        let near = index(run.offset) >= end && index(run.offset) - end <= READ_HOLE_BYTES;
        if !near
            || index(run.end()) - start > READ_BYTES_MAX
            || bytes >= budget.bytes
            || run.first != next
            || run.flags != 0
        {
            break;
        }
        count += 1;
        end = index(run.end());
        bytes += index(run.stored);
        next = run.last() + 1;
    }
    &runs[..count]
}

/// Enters what fits of a run whose body begins at `run.offset - start` of `buffer`.
fn take(run: &RunRef, last: u64, buffer: &Arc<Blocks>, start: u32, page: &mut Page, budget: &mut Budget) {
    let at = index(run.offset - start);
    let (mut from, end) = (at, at + index(run.stored));
    let bytes = buffer.as_slice();
    let (mut first, mut base_ms, mut count) = (run.first, run.base_ms, index(run.count));
    if page.next > run.first {
        let skip = usize::try_from(page.next - run.first).unwrap_or(usize::MAX);
        let mut records = Records::over(&bytes[from..end], first, base_ms, count);
        records.by_ref().take(skip).for_each(drop);
        (from, first, base_ms) = (end - records.rest().len(), page.next, records.time_ms());
        count = count.saturating_sub(skip);
    }
    let wanted = usize::try_from(last.saturating_sub(first) + 1).unwrap_or(usize::MAX);
    count = count.min(wanted).min(budget.records);
    if end - from > budget.bytes {
        count = fitting(
            Records::over(&bytes[from..end], first, base_ms, count),
            budget.bytes,
            page.runs.is_empty(),
        );
        budget.bytes = 0;
    } else {
        budget.bytes -= end - from;
    }
    if count == 0 {
        budget.records = 0;
        return;
    }
    budget.records -= count;
    page.next = first + count as u64;
    page.runs.push(Run { buffer: Arc::clone(buffer), range: from..end, first, base_ms, count });
}

/// How many records fit into `bytes`; at least one when `one` is set.
fn fitting(records: Records<'_>, mut bytes: usize, one: bool) -> usize {
    let mut count = 0;
    for record in records {
        let size = record.key.len() + record.data.len();
        if size > bytes && !(one && count == 0) {
            break;
        }
        bytes = bytes.saturating_sub(size);
        count += 1;
    }
    count
}
