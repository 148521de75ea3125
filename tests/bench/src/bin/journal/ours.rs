//! The journal of this repository.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use headwater_journal::{AppendError, AppendSet, Config, Journal, Recovery, ShardKey};

use crate::contender::{Contender, RECORD_BYTES, payload};

/// Shards the writers spread over.
pub const SHARDS: u32 = 4;

/// Bytes appended between two trims of a steady journal: as often as a segment fills.
const TRIM_EVERY_BYTES: u64 = 64 << 20;

/// The journal and the records it is given.
pub struct Ours {
    journal: Journal,
    /// Bytes staged, when readers keep up and everything behind them may be recycled.
    steady: Option<AtomicU64>,
    payload: [u8; RECORD_BYTES],
}

/// UTC in milliseconds.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Ours {
    /// Opens the journal in `directory` with the settings of a server.
    pub fn open(directory: &Path) -> anyhow::Result<(Self, Recovery)> {
        let config = Config { reserve_bytes: 0, size_bytes_max: 64 << 30, ..Config::default() };
        let (journal, recovery) = Journal::open(directory, config, now_ms())?;
        Ok((Self { journal, steady: None, payload: payload() }, recovery))
    }

    /// Trims behind the writers from now on, so that segments are recycled as they are in daily use.
    pub fn steady(mut self) -> Self {
        self.steady = Some(AtomicU64::new(0));
        self
    }

    fn trim(&self, staged: u64) {
        let Some(total) = &self.steady else { return };
        let before = total.fetch_add(staged, Ordering::Relaxed);
        if before / TRIM_EVERY_BYTES == (before + staged) / TRIM_EVERY_BYTES {
            return;
        }
        for shard in (0..SHARDS).map(|shard| ShardKey { stream: 1, shard }) {
            if let Some(bounds) = self.journal.bounds(shard) {
                self.journal.trim(shard, bounds.end);
            }
        }
    }

    /// The journal itself, to read from.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    fn set(&self, shard: u32, count: usize) -> AppendSet {
        let mut set = AppendSet::new();
        set.batch(ShardKey { stream: 1, shard: shard % SHARDS });
        for _ in 0..count {
            set.record(b"device-1", &self.payload);
        }
        set
    }

    /// Stages one set; waits out back-pressure.
    fn stage(&self, set: &AppendSet) -> anyhow::Result<headwater_journal::Ticket> {
        loop {
            match self.journal.append(set, now_ms()) {
                Ok(appended) => {
                    self.trim(set.bytes() as u64);
                    return Ok(appended.ticket);
                }
                Err(AppendError::Busy { .. }) => self.journal.wait(self.journal.barrier())?,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Contender for Ours {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn append(&self, writer: usize, count: usize) -> anyhow::Result<()> {
        let shard = u32::try_from(writer)?;
        let ticket = self.stage(&self.set(shard, count))?;
        Ok(self.journal.wait(ticket)?)
    }

    fn flushes(&self) -> Option<u64> {
        Some(self.journal.counters().flushes)
    }
}

/// The journal as an event loop uses it: one append call per record of each of many writers, one wait for all.
pub struct EventLoop<'a>(pub &'a Ours);

impl Contender for EventLoop<'_> {
    fn name(&self) -> &'static str {
        "journal, event loop"
    }

    fn append(&self, _: usize, count: usize) -> anyhow::Result<()> {
        let mut last = None;
        for writer in 0..count {
            last = Some(self.0.stage(&self.0.set(u32::try_from(writer)?, 1))?);
        }
        last.map_or(Ok(()), |ticket| Ok(self.0.journal.wait(ticket)?))
    }

    fn flushes(&self) -> Option<u64> {
        self.0.flushes()
    }

    fn is_event_loop(&self) -> bool {
        true
    }
}
