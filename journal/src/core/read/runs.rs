//! From the runs of one piece to the records of a page.
//!
//! In: runs in order, a page, what it may still take. Out: the page with what fits, or the first run that is broken.
//! Always: bytes that come from the disk are checked against the run's checksum before a record is looked at; neighbours' runs are
//! read along only where that is cheaper than another request.
//! Not here: which piece comes next, what is done about a broken run (`read`).

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::Source;
use crate::ShardKey;
use crate::blocks::Blocks;
use crate::bytes::crc32c;
use crate::core::coder::Stored;
use crate::core::{Core, lock};
use crate::error::ReadError;
use crate::format::body::Form;
use crate::format::footer::RunRef;
use crate::format::index;
use crate::limits::{READ_BYTES_MAX, READ_HOLE_BYTES};
use crate::page::{Page, ReadLimits, Records, Run};
use crate::storage::{Storage, StorageFile};

/// What a page still may take.
pub(super) struct Budget {
    pub(super) records: usize,
    pub(super) bytes: usize,
    /// Bytes of keys and payloads that the whole page may have.
    limit_bytes: usize,
    /// Whether `bytes` counts keys and payloads only. Until a run may not fit it also counts what stands between them, which is
    /// known without looking at the records.
    exact: bool,
}

impl Budget {
    pub(super) fn of(limits: ReadLimits) -> Self {
        let bytes = limits.bytes.max(1);
        Self { records: limits.records.max(1), bytes, limit_bytes: bytes, exact: false }
    }
}

/// A run that is not what its header says, or cannot be read.
pub(super) struct Broken {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// What became of a run.
enum Entered {
    Records,
    /// The page ends before it.
    NoMore,
    Broken(Broken),
}

impl<S: Storage> Core<S> {
    /// Enters records of `runs` into the page until a limit; the first run holds `page.next`.
    pub(super) fn read_runs(
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
            let recent = lock(&self.tail).find(source.number, run.offset);
            if let Some((buffer, start)) = recent {
                match self.enter(shard, source, run, (&buffer, start), page, budget)? {
                    Entered::Records => rest = &rest[1..],
                    Entered::NoMore => break,
                    Entered::Broken(broken) => return Ok(Some(broken)),
                }
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
                    // What was read so far first; the next read says it.
                    Err(_) if !page.runs.is_empty() => {
                        budget.records = 0;
                        return Ok(None);
                    }
                    Err(error) => {
                        let place = (source.number, u64::from(start));
                        self.meet_unread((shard, page.next), place, &error)?;
                        tracing::warn!(segment = source.number, offset = start, %error, "cannot read a run");
                        return Ok(Some(Broken { first: run.first, last: run.last() }));
                    }
                },
            };
            self.was_read(source.number, u64::from(start)..u64::from(start) + buffer.len() as u64);
            for run in batch {
                let at = index(run.offset - start);
                if crc32c(&buffer.as_slice()[at..at + index(run.stored)]) != run.crc {
                    return Ok(Some(Broken { first: run.first, last: run.last() }));
                }
                if run.first > page.next || budget.records == 0 || budget.bytes == 0 {
                    return Ok(None);
                }
                match self.enter(shard, source, run, (&buffer, start), page, budget)? {
                    Entered::Records => {}
                    Entered::NoMore => return Ok(None),
                    Entered::Broken(broken) => return Ok(Some(broken)),
                }
            }
            rest = &rest[batch.len()..];
        }
        Ok(None)
    }

    /// Enters what fits of a run whose body stands at `run.offset - start` of `buffer` and has the right checksum.
    fn enter(
        &self,
        shard: ShardKey,
        source: &Source<S::File>,
        run: &RunRef,
        (buffer, start): (&Arc<Blocks>, u32),
        page: &mut Page,
        budget: &mut Budget,
    ) -> Result<Entered, ReadError> {
        let at = index(run.offset - start);
        let body = at..at + index(run.stored);
        if is_plain(run) {
            take(run, source.last, buffer, body, page, budget);
            return Ok(Entered::Records);
        }
        match self.open_run(shard, run, &buffer.as_slice()[body]) {
            Ok(Some(records)) => {
                let range = 0..records.len();
                take(run, source.last, &records, range, page, budget);
                Ok(Entered::Records)
            }
            Ok(None) => {
                let (stream, shard, offset) = (shard.stream, shard.shard, run.offset);
                tracing::error!(stream, shard, segment = source.number, offset, "a run does not open");
                Ok(Entered::Broken(Broken { first: run.first, last: run.last() }))
            }
            Err(error) if page.runs.is_empty() => Err(error),
            // What was read so far first; the next read says it.
            Err(_) => {
                budget.records = 0;
                Ok(Entered::NoMore)
            }
        }
    }

    /// The records of a stored body that is compressed or sealed; `None` when it is damaged.
    fn open_run(&self, shard: ShardKey, run: &RunRef, body: &[u8]) -> Result<Option<Arc<Blocks>>, ReadError> {
        let (first, key_id) = (run.first, run.key_id);
        let Some(form) = Form::of(run.flags, key_id) else {
            return Err(ReadError::Unsupported { shard, first, flags: run.flags, key_id });
        };
        let Some(stored) = Stored::of(form, body) else { return Ok(None) };
        let key = match (form.cipher, &stored.front.seal) {
            (Some(cipher), Some((origin, check))) => {
                let key = self.ring.to_open(shard.stream, key_id, origin, cipher);
                let key = key.ok_or(ReadError::KeyUnknown { shard, first, key_id })?;
                if key.check != *check {
                    return Err(ReadError::KeyWrong { shard, first, key_id });
                }
                Some(key)
            }
            _ => None,
        };
        let mut buffer = self.buffers.take();
        let records = Arc::get_mut(&mut buffer).expect("take gives a buffer nobody else has");
        let opened = stored.open(&run.header(shard), key.as_deref(), records);
        self.buffers.keep(&buffer);
        Ok(opened.map(|()| buffer))
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

/// Whether the run's body is its records: neither compressed nor encrypted, or whatever a newer program does.
fn is_plain(run: &RunRef) -> bool {
    run.flags == 0 && run.key_id == 0
}

/// The runs from the first of `runs` on that are worth one read.
fn merge<'a>(runs: &'a [RunRef], budget: &Budget) -> &'a [RunRef] {
    let start = index(runs[0].offset);
    let (mut count, mut end, mut bytes, mut next) =
        (1, index(runs[0].end()), weight(&runs[0]), runs[0].last() + 1);
    for run in &runs[1..] {
        let near = index(run.offset) >= end && index(run.offset) - end <= READ_HOLE_BYTES;
        if !near || index(run.end()) - start > READ_BYTES_MAX || bytes >= budget.bytes || run.first != next {
            break;
        }
        count += 1;
        end = index(run.end());
        bytes += weight(run);
        next = run.last() + 1;
    }
    &runs[..count]
}

/// Bytes of records to expect in a run: what is compressed holds about four times what it takes.
fn weight(run: &RunRef) -> usize {
    let lz4 = Form::of(run.flags, run.key_id).is_some_and(|form| form.lz4);
    index(run.stored) * if lz4 { 4 } else { 1 }
}

/// Enters what fits of a run whose records are `range` of `buffer`.
fn take(
    run: &RunRef,
    last: u64,
    buffer: &Arc<Blocks>,
    range: Range<usize>,
    page: &mut Page,
    budget: &mut Budget,
) {
    let (mut from, end) = (range.start, range.end);
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
    if !budget.exact && end - from >= budget.bytes {
        let taken: usize = page.records().map(|record| record.key.len() + record.data.len()).sum();
        (budget.bytes, budget.exact) = (budget.limit_bytes.saturating_sub(taken), true);
    }
    if budget.exact {
        let records = Records::over(&bytes[from..end], first, base_ms, count);
        let (fit, fit_bytes) = fitting(records, budget.bytes, page.runs.is_empty());
        budget.bytes = if fit < count { 0 } else { budget.bytes.saturating_sub(fit_bytes) };
        count = fit;
    } else {
        budget.bytes -= end - from;
    }
    if count == 0 {
        budget.records = 0;
        return;
    }
    budget.records -= count;
    page.next = first + count as u64;
    let key_id = Form::of(run.flags, run.key_id).and_then(|form| form.cipher).map(|_| run.key_id);
    page.runs.push(Run { buffer: Arc::clone(buffer), range: from..end, first, base_ms, count, key_id });
}

/// How many records fit into `bytes`, and how many bytes they have; at least one when `one` is set.
fn fitting(records: Records<'_>, bytes: usize, one: bool) -> (usize, usize) {
    let (mut count, mut taken) = (0, 0);
    for record in records {
        let size = record.key.len() + record.data.len();
        if taken + size > bytes && !(one && count == 0) {
            break;
        }
        taken += size;
        count += 1;
    }
    (count, taken)
}
