//! What happened, in order: a digest of everything, the last lines for whoever reads a failure, and each step for whoever reads along.
//!
//! In: lines, bytes, the ends of steps. Out: the same numbers for the same world. Invariant: what it holds in memory does not grow with the
//! length of a life. Not here: comparing two ([`crate::twins`]).

mod marks;

pub use marks::Marks;

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::SyncSender;

/// Lines that are kept: about the last minute of a busy world.
const LINES_MAX: usize = 4_000;

/// One step of a world, for whoever reads along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its end, ms since the world began.
    pub at_ms: u64,
    /// Of everything up to its end.
    pub digest: u64,
    /// What happened in it: lines, and for bytes without a line what they are, how many, and their digest.
    pub lines: Vec<String>,
}

/// One number for a row of things, each of some bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Digest {
    digest: u64,
    count: u64,
}

impl Digest {
    /// Of one thing.
    pub(crate) fn of(bytes: &[u8]) -> u64 {
        let mut digest = Self::default();
        digest.add(bytes);
        digest.value()
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.count += 1;
        let mut digest = self.digest;
        let mut add =
            |word: u64| digest = (digest ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(29);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| add(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| add(u64::from(*byte)));
        // Where one thing ends and the next begins.
        add(bytes.len() as u64 ^ 0xff << 56);
        self.digest = digest;
    }

    pub(crate) fn value(self) -> u64 {
        self.digest ^ self.count
    }
}

/// The trace of a world. The digest covers every line, also those that are not kept, and bytes that have no line.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    digest: Digest,
    lines: VecDeque<String>,
    marks: Marks,
    reader: Option<SyncSender<Step>>,
    /// What the reader is told at the end of this step.
    unread: Vec<String>,
}

impl Trace {
    /// A trace that tells each step to somebody as it ends; it waits where that one does not keep up.
    #[must_use]
    pub fn told_to(reader: SyncSender<Step>) -> Self {
        Self { reader: Some(reader), ..Self::default() }
    }

    /// Notes what happened at `at_ms` of the world's time. Text must follow from the seed: no addresses, no random ids.
    pub fn note(&mut self, at_ms: u64, what: impl fmt::Display) {
        let line = format!("{}.{:03} {what}", at_ms / 1_000, at_ms % 1_000);
        self.digest.add(line.as_bytes());
        if self.reader.is_some() {
            self.unread.push(line.replace('\n', "\\n"));
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Adds bytes to the digest without a line: `what` they are.
    pub fn fold(&mut self, what: impl fmt::Display, bytes: &[u8]) {
        self.digest.add(bytes);
        if self.reader.is_some() {
            self.unread.push(format!("{what}: {} bytes {:016x}", bytes.len(), Digest::of(bytes)));
        }
    }

    /// Adds a number to the digest without a line.
    pub fn count(&mut self, what: impl fmt::Display, number: u64) {
        self.digest.add(&number.to_le_bytes());
        if self.reader.is_some() {
            self.unread.push(format!("{what}: {number:x}"));
        }
    }

    /// A step of the world ends.
    pub fn end_step(&mut self, at_ms: u64) {
        let digest = self.digest();
        self.marks.note(at_ms, digest);
        if let Some(reader) = &self.reader {
            let step = Step { at_ms, digest, lines: std::mem::take(&mut self.unread) };
            // Whoever has read enough is gone.
            if reader.send(step).is_err() {
                self.reader = None;
            }
        }
    }

    /// One number for everything that happened.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.value()
    }

    /// The digest at some times of the world.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// How much was noted.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.digest.count
    }

    /// Whether nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.digest.count == 0
    }

    /// The last lines.
    pub fn last(&self, lines: usize) -> impl Iterator<Item = &str> {
        self.lines.iter().skip(self.lines.len().saturating_sub(lines)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(what: &[&[u8]]) -> u64 {
        let mut trace = Trace::default();
        what.iter().for_each(|bytes| trace.fold("", bytes));
        trace.digest()
    }

    #[test]
    fn every_byte_and_every_boundary_counts() {
        let whole = of(&[b"0123456789", b"abc"]);
        assert_eq!(whole, of(&[b"0123456789", b"abc"]));
        let others: [&[&[u8]]; 5] = [
            &[b"0123456789a", b"bc"],
            &[b"0123456788", b"abc"],
            &[b"0123456789abc"],
            &[b"abc", b"0123456789"],
            &[],
        ];
        assert!(others.iter().all(|other| of(other) != whole));
    }

    #[test]
    fn a_reader_sees_what_the_digest_covers_step_by_step() {
        let (sender, steps) = std::sync::mpsc::sync_channel(9);
        let mut trace = Trace::told_to(sender);
        trace.note(5, "first");
        trace.end_step(5);
        trace.fold("bytes", b"\x01\x02");
        trace.count("disk", 0xab);
        trace.end_step(10);
        drop(trace);
        let steps: Vec<Step> = steps.iter().collect();
        assert_eq!(steps.iter().map(|step| step.at_ms).collect::<Vec<_>>(), [5, 10]);
        assert_eq!(steps[0].lines, ["0.005 first"]);
        assert!(steps[1].lines[0].starts_with("bytes: 2 bytes "), "{:?}", steps[1]);
        assert_eq!(steps[1].lines[1], "disk: ab");
        assert_ne!(steps[0].digest, steps[1].digest);
    }
}
