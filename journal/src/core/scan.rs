//! One segment without a footer, read group by group.
//!
//! In: a file that may hold anything, and what is known of its groups. Out: the runs that are whole, where the log ends, and what is
//! damaged before its end.
//! Rules: group n+1 is only written after n is durable. So a bad group with nothing after it was never acknowledged (torn tail); a bad
//! group with a valid later one was, and is a loss.
//! Invariants: no panic whatever the bytes; nothing of another life of the file (salt) is taken for ours.

use std::io;

use crate::blocks::BLOCK_BYTES;
use crate::bytes::crc32c;
use crate::error::is_unread;
use crate::format::body;
use crate::format::group::{GroupHead, HEAD_BYTES, RunHeader};
use crate::format::segment::HEADER_BYTES;
use crate::format::{index, u32_of};
use crate::page::Records;
use crate::storage::StorageFile;

/// Bytes read at once: a device's full bandwidth, and far less than a segment.
const WINDOW_BYTES: usize = 1 << 20;

/// What the scan starts from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// Life of the file; unknown when the header is damaged.
    pub(super) salt: Option<u64>,
    /// Number of the first group expected.
    pub(super) next: u64,
    /// Checksum of the group before it, when that is known.
    pub(super) chain: Option<u32>,
    /// First group of the segment after this one: proof of every group before it.
    pub(super) followed_by: Option<u64>,
}

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) groups: Vec<FoundGroup>,
    pub(super) salt: Option<u64>,
    pub(super) data_end: u32,
    pub(super) torn_bytes: u64,
    pub(super) damage: Vec<Damage>,
    /// The first block that the disk did not give back, read as zeros.
    pub(super) unread: Option<(u64, io::Error)>,
}

#[derive(Debug)]
pub(super) struct FoundGroup {
    pub(super) number: u64,
    pub(super) at: u32,
    pub(super) crc: u32,
    /// Only the runs whose bodies are whole, with the time of their last record.
    pub(super) runs: Vec<(RunHeader, u64)>,
}

/// Acknowledged groups that are missing or not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) first_group: u64,
    pub(super) last_group: u64,
    /// Where in the file it begins.
    pub(super) at: u32,
    /// Bytes whose runs nobody knows; 0 when the damaged runs' headers are whole.
    pub(super) unknown_bytes: u64,
    /// Runs known by their headers whose bodies are lost.
    pub(super) runs: Vec<RunHeader>,
}

struct Scanner<'a, F> {
    file: &'a F,
    file_bytes: usize,
    window: Vec<u8>,
    window_at: usize,
    start: Start,
    found: Found,
}

/// Reads all groups of a segment of `file_bytes`.
pub(super) fn scan<F: StorageFile>(file: &F, file_bytes: u64, start: Start) -> io::Result<Found> {
    let file_bytes = usize::try_from(file_bytes).unwrap_or(usize::MAX);
    let found = Found { salt: start.salt, data_end: HEADER_BYTES, ..Found::default() };
    let mut scanner = Scanner { file, file_bytes, window: Vec::new(), window_at: 0, start, found };
    scanner.run()?;
    Ok(scanner.found)
}

impl<F: StorageFile> Scanner<'_, F> {
    fn run(&mut self) -> io::Result<()> {
        let (mut at, mut next, mut chain) = (index(HEADER_BYTES), self.start.next, self.start.chain);
        while at + BLOCK_BYTES <= self.file_bytes {
            let Some((head, runs)) = self.head_at(at, next)? else {
                match self.search(at + BLOCK_BYTES, next)? {
                    Some(after) => (at, chain) = (self.lose(at, after, next), None),
                    None => return self.end(at, next),
                }
                next = self.head_at(at, next)?.map_or(next, |(head, _)| head.number);
                continue;
            };
            if head.number > next {
                self.damage(at, (next, head.number - 1), 0, Vec::new());
                chain = None;
            }
            if chain.is_some_and(|chain| chain != head.previous_crc) {
                // Every byte is right, but it does not follow what we read: a write that went astray. Not ours.
                self.damage(at, (head.number, head.number), head.padded() as u64, Vec::new());
                (at, next, chain) = (at + head.padded(), head.number + 1, None);
                continue;
            }
            let (whole, broken) = self.bodies(at, &runs)?;
            if !broken.is_empty() {
                let proven = self.start.followed_by.is_some_and(|first| first > head.number)
                    || self.search(at + BLOCK_BYTES, head.number + 1)?.is_some()
                    || self.has_traces(at + BLOCK_BYTES)?;
                if !proven {
                    self.found.torn_bytes = head.padded() as u64;
                    return Ok(());
                }
                self.damage(at, (head.number, head.number), 0, broken);
            }
            self.found.groups.push(FoundGroup {
                number: head.number,
                at: u32_of(at),
                crc: head.crc,
                runs: whole,
            });
            (at, next, chain) = (at + head.padded(), head.number + 1, Some(head.crc));
            self.found.data_end = u32_of(at);
        }
        self.end(at, next)
    }

    /// No group from `at` on: the end of the log, unless the next segment proves that there was more.
    fn end(&mut self, at: usize, next: u64) -> io::Result<()> {
        if let Some(first) = self.start.followed_by
            && first > next
        {
            let unknown_bytes = self.file_bytes.saturating_sub(at) as u64;
            self.damage(at, (next, first - 1), unknown_bytes, Vec::new());
        } else if self.has_traces(at + BLOCK_BYTES)? {
            let unknown_bytes = self.file_bytes.saturating_sub(at) as u64;
            self.damage(at, (next, next), unknown_bytes, Vec::new());
        } else if at + BLOCK_BYTES <= self.file_bytes {
            let salt = self.found.salt;
            let head = self.bytes(at, HEAD_BYTES)?;
            if GroupHead::trace(head).is_some_and(|found| is_near(found, salt)) {
                // A length that cannot be: one block at least.
                let bytes = GroupHead::peek(head).map_or(BLOCK_BYTES, |head| head.padded());
                self.found.torn_bytes = bytes as u64;
            }
        }
        Ok(())
    }

    /// Head and run headers at `at`, when they are whole, of this life, and not older than `next`.
    fn head_at(&mut self, at: usize, next: u64) -> io::Result<Option<(GroupHead, Vec<RunHeader>)>> {
        let room = self.file_bytes - at;
        let Some(head) = GroupHead::peek(self.bytes(at, HEAD_BYTES)?) else { return Ok(None) };
        let ours = self.found.salt.is_none_or(|salt| salt == head.salt);
        if !ours || head.number < next || head.padded() > room || head.number == u64::MAX {
            return Ok(None);
        }
        let runs = head.runs(self.bytes(at, head.tables_bytes())?);
        if runs.is_some() {
            // The first valid group tells the life when the header could not.
            self.found.salt.get_or_insert(head.salt);
        }
        Ok(runs.map(|runs| (head, runs)))
    }

    /// The next place from `at` on with a valid head not older than `next`.
    fn search(&mut self, mut at: usize, next: u64) -> io::Result<Option<usize>> {
        while at + BLOCK_BYTES <= self.file_bytes {
            if self.head_at(at, next)?.is_some() {
                return Ok(Some(at));
            }
            at += BLOCK_BYTES;
        }
        Ok(None)
    }

    /// Whether from `at` on there is the head of a group of this life, itself damaged: a later group was written, so what is before it
    /// was acknowledged. No other life's salt is within two bits of this one's.
    fn has_traces(&mut self, mut at: usize) -> io::Result<bool> {
        let salt = self.found.salt;
        while at + BLOCK_BYTES <= self.file_bytes {
            if GroupHead::trace(self.bytes(at, HEAD_BYTES)?).is_some_and(|found| is_near(found, salt)) {
                return Ok(true);
            }
            at += BLOCK_BYTES;
        }
        Ok(false)
    }

    fn lose(&mut self, at: usize, after: usize, next: u64) -> usize {
        let number = self.head_at(after, next).ok().flatten().map_or(next, |(head, _)| head.number);
        self.damage(at, (next, number.saturating_sub(1).max(next)), (after - at) as u64, Vec::new());
        after
    }

    fn damage(
        &mut self,
        at: usize,
        (first_group, last_group): (u64, u64),
        unknown_bytes: u64,
        runs: Vec<RunHeader>,
    ) {
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        self.found.damage.push(Damage { first_group, last_group, at, unknown_bytes, runs });
    }

    /// Splits the runs of the group at `at` into whole and broken ones.
    #[expect(clippy::type_complexity, reason = "two lists that are taken apart at once")]
    fn bodies(
        &mut self,
        at: usize,
        runs: &[RunHeader],
    ) -> io::Result<(Vec<(RunHeader, u64)>, Vec<RunHeader>)> {
        let (mut whole, mut broken) = (Vec::with_capacity(runs.len()), Vec::new());
        for run in runs {
            let body = self.bytes(at + index(run.offset), index(run.stored))?;
            if crc32c(body) == run.crc {
                whole.push((*run, newest_ms(run, body)));
            } else {
                broken.push(*run);
            }
        }
        Ok((whole, broken))
    }

    /// `len` bytes at `at`. The caller has made sure that the file has them.
    fn bytes(&mut self, at: usize, len: usize) -> io::Result<&[u8]> {
        if at < self.window_at || at + len > self.window_at + self.window.len() {
            self.window.resize(len.max(WINDOW_BYTES).min(self.file_bytes - at), 0);
            self.window_at = at;
            if let Err(error) = self.file.read_at(&mut self.window, at as u64) {
                self.read_blocks(at, &error)?;
            }
        }
        let from = at - self.window_at;
        Ok(&self.window[from..from + len])
    }

    /// Reads the window block by block: one bad sector must not take its neighbours along. Unreadable blocks become zeros, which parse
    /// as nothing.
    fn read_blocks(&mut self, at: usize, error: &io::Error) -> io::Result<()> {
        tracing::warn!(at, %error, "reading a segment block by block");
        for (number, block) in self.window.chunks_mut(BLOCK_BYTES).enumerate() {
            let offset = (at + number * BLOCK_BYTES) as u64;
            if let Err(error) = self.file.read_at(block, offset) {
                block.fill(0);
                if is_unread(&error) {
                    self.found.unread.get_or_insert((offset, error));
                }
            }
        }
        Ok(())
    }
}

/// Whether a salt is ours but for the bits a damage may have flipped.
fn is_near(salt: u64, ours: Option<u64>) -> bool {
    ours.is_some_and(|ours| (ours ^ salt).count_ones() <= 2)
}

/// Time of a run's last record; of its base when the body does not parse. Needs no key.
pub(super) fn newest_ms(run: &RunHeader, body: &[u8]) -> u64 {
    if run.flags != 0 {
        return run.base_ms.saturating_add(u64::from(body::span_ms(body)));
    }
    let mut records = Records::over(body, run.first, run.base_ms, index(run.count));
    while records.next().is_some() {}
    records.time_ms()
}
