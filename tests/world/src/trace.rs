//! What happened, in order: a digest of everything, and the last lines for whoever reads a failure.

use std::collections::VecDeque;
use std::fmt;

/// Lines that are kept: about the last minute of a busy world.
const LINES_MAX: usize = 4_000;

/// The trace of a world. The digest covers every line, also those that are not kept.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    digest: u64,
    count: u64,
    lines: VecDeque<String>,
}

impl Trace {
    /// Notes what happened at `at_ms` of the world's time. Text must follow from the seed: no addresses, no random ids.
    pub fn note(&mut self, at_ms: u64, what: impl fmt::Display) {
        let line = format!("{}.{:03} {what}", at_ms / 1_000, at_ms % 1_000);
        self.fold(line.as_bytes());
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Adds bytes to the digest without a line.
    pub fn fold(&mut self, bytes: &[u8]) {
        self.count += 1;
        for byte in bytes.iter().copied().chain([0xff]) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5);
        }
    }

    /// One number for everything that happened.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest ^ self.count
    }

    /// How much was noted.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The last lines.
    pub fn last(&self, lines: usize) -> impl Iterator<Item = &str> {
        self.lines.iter().skip(self.lines.len().saturating_sub(lines)).map(String::as_str)
    }
}
