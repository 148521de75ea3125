//! Entries and the batches they travel in.
//!
//! In: entries of one boot, in order. Out: a [`Batch`], the unit that is stored, sent, acknowledged and
//! de-duplicated. Invariant: a batch from a [`BatchBuilder`] fits [`BODY_BYTES_MAX`] as [`Up::Batch`](crate::Up),
//! whatever time is added to it. Not here: when to close a batch (the device decides).

use crate::limits::{BATCH_ENTRIES_MAX, BATCH_OVERHEAD_BYTES_MAX, BODY_BYTES_MAX};
use crate::{BootId, ChannelId, Schema, Seq, Timestamp, Uptime, Value};
use core::fmt;
use heapless::Vec;
use postcard::ser_flavors::Size;
use serde::{Deserialize, Serialize};

/// One value of one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Which channel.
    pub channel: ChannelId,
    /// Milliseconds after [`Batch::base`].
    pub dt_ms: u32,
    /// The value.
    pub value: Value,
}

/// Entries that were lost: they were taken, but their place was needed before anybody had them.
///
/// A sender counts what it could not keep, and cannot know that an ack was lost on its way. So a gap may cover places
/// that the receiver already has, and may come again with a larger count: the receiver keeps what it has and takes
/// the rest, which is what [`Batch::after`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// How many entries are missing, at least 1. May be 2^32 - 1 at most.
    pub count: u32,
    /// Milliseconds of the first one after [`Batch::base`].
    pub dt_ms: u32,
}

/// One element of a boot's line. Grows only at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// Takes one [`Seq`].
    Reading(Reading),
    /// Takes [`Gap::count`] of them.
    Gap(Gap),
}

impl Entry {
    /// How many places this entry takes in the line.
    pub fn count(&self) -> u32 {
        match self {
            Self::Reading(_) => 1,
            Self::Gap(gap) => gap.count,
        }
    }

    /// Milliseconds after [`Batch::base`].
    pub fn dt_ms(&self) -> u32 {
        match self {
            Self::Reading(reading) => reading.dt_ms,
            Self::Gap(gap) => gap.dt_ms,
        }
    }
}

/// How far a [`Timestamp`] can be trusted. Grows only at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeQuality {
    /// A host with a disciplined clock answered within the last hour, by a round trip of at most two seconds: the
    /// error is below one second plus a quarter of a second of drift.
    Synced,
    /// The host does not know its own time well, or the round trip was long: seconds, perhaps more.
    Estimated,
    /// Was good once; since then, or until then, the device's own clock ran alone for more than an hour (0.2 s an hour at
    /// 50 ppm).
    Holdover,
}

/// A UTC time and how far to trust it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UtcTime {
    /// The time.
    pub at: Timestamp,
    /// Its quality.
    pub quality: TimeQuality,
}

/// Consecutive entries of one boot of one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The boot this belongs to.
    pub boot: BootId,
    /// Place of the first entry.
    pub first: Seq,
    /// Names the channel table its readings refer to.
    pub schema: Schema,
    /// Uptime that all `dt_ms` count from.
    pub base: Uptime,
    /// UTC of [`Batch::base`]; none when its boot had not learned the time when the batch was handed out. A later batch of
    /// the same boot that has both dates it.
    pub utc: Option<UtcTime>,
    /// The entries, in order.
    pub entries: Vec<Entry, BATCH_ENTRIES_MAX>,
}

impl Batch {
    /// The last place this batch covers. None when it is malformed: no entries, a gap of zero, or a line that runs
    /// past 2^32. A receiver treats such a batch as undecodable.
    pub fn through(&self) -> Option<Seq> {
        let mut next = u64::from(self.first.0);
        for entry in &self.entries {
            if entry.count() == 0 {
                return None;
            }
            next += u64::from(entry.count());
        }
        if self.entries.is_empty() {
            return None;
        }
        u32::try_from(next - 1).ok().map(Seq)
    }

    /// Every entry with its (first) place, consecutive. Meaningful when [`Batch::through`] is some.
    pub fn sequenced(&self) -> impl Iterator<Item = (Seq, &Entry)> {
        self.entries.iter().scan(self.first.0, |next, entry| {
            let at = *next;
            *next = next.saturating_add(entry.count());
            Some((Seq(at), entry))
        })
    }

    /// The entries that a receiver which already has everything before `next` does not have, each with its place. A
    /// gap that begins before `next` is cut to what is new in it. Meaningful when [`Batch::through`] is some.
    pub fn after(&self, next: Seq) -> impl Iterator<Item = (Seq, Entry)> {
        self.sequenced().filter_map(move |(at, entry)| match entry {
            _ if at >= next => Some((at, entry.clone())),
            Entry::Gap(gap) => {
                let count = at.0.saturating_add(gap.count).checked_sub(next.0).filter(|&count| count > 0)?;
                Some((next, Entry::Gap(Gap { count, ..*gap })))
            }
            Entry::Reading(_) => None,
        })
    }

    /// Uptime of an entry of this batch.
    pub fn uptime(&self, entry: &Entry) -> Uptime {
        Uptime(self.base.0.saturating_add(u64::from(entry.dt_ms())))
    }

    /// UTC of an entry of this batch, when the batch has it.
    pub fn utc_of(&self, entry: &Entry) -> Option<UtcTime> {
        self.utc.map(|utc| UtcTime {
            at: Timestamp(utc.at.0.saturating_add(u64::from(entry.dt_ms()))),
            quality: utc.quality,
        })
    }
}

/// Why a [`BatchBuilder`] did not take an entry. In every case the batch it has is good: close it and start another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// [`BATCH_ENTRIES_MAX`] entries are in it.
    Entries,
    /// The body would exceed [`BODY_BYTES_MAX`].
    Bytes,
    /// The entry is older than the batch or 2^32 ms (49 days) younger.
    Time,
    /// The line of this boot is at its end.
    Line,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries => write!(f, "batch has {BATCH_ENTRIES_MAX} entries, takes no more"),
            Self::Bytes => write!(f, "batch would exceed {BODY_BYTES_MAX} bytes"),
            Self::Time => f.write_str("entry is not within 2^32 ms after the base of its batch"),
            Self::Line => f.write_str("boot has used all 2^32 sequence numbers"),
        }
    }
}

impl core::error::Error for Refused {}

/// Fills one batch and refuses what would not fit.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    batch: Batch,
    size_bytes: usize,
    next: Option<Seq>,
}

impl BatchBuilder {
    /// An empty batch whose first entry will stand at `first`, with times counted from `base`.
    pub fn new(boot: BootId, first: Seq, schema: Schema, base: Uptime) -> Self {
        let batch = Batch { boot, first, schema, base, utc: None, entries: Vec::new() };
        Self { batch, size_bytes: BATCH_OVERHEAD_BYTES_MAX, next: Some(first) }
    }

    /// Adds a reading taken at `at` and returns its place.
    ///
    /// # Errors
    /// When it does not fit; the batch is unchanged.
    pub fn reading(&mut self, at: Uptime, channel: ChannelId, value: Value) -> Result<Seq, Refused> {
        let dt_ms = self.dt_ms(at)?;
        self.entry(Entry::Reading(Reading { channel, dt_ms, value }))
    }

    /// Adds a gap of `count` entries that begins at `at`, and returns its first place.
    ///
    /// # Errors
    /// When it does not fit; the batch is unchanged.
    pub fn gap(&mut self, at: Uptime, count: u32) -> Result<Seq, Refused> {
        let dt_ms = self.dt_ms(at)?;
        self.entry(Entry::Gap(Gap { count, dt_ms }))
    }

    fn dt_ms(&self, at: Uptime) -> Result<u32, Refused> {
        let dt = at.0.checked_sub(self.batch.base.0).ok_or(Refused::Time)?;
        u32::try_from(dt).map_err(|_| Refused::Time)
    }

    fn entry(&mut self, entry: Entry) -> Result<Seq, Refused> {
        let at = self.next.ok_or(Refused::Line)?;
        // The last place taken must exist; the place after it need not.
        let last = entry.count().checked_sub(1).and_then(|more| at.checked_add(more)).ok_or(Refused::Line)?;
        let size = postcard::serialize_with_flavor(&entry, Size::default()).map_err(|_| Refused::Bytes)?;
        if self.size_bytes + size > BODY_BYTES_MAX {
            return Err(Refused::Bytes);
        }
        self.batch.entries.push(entry).map_err(|_| Refused::Entries)?;
        self.size_bytes += size;
        self.next = last.checked_add(1);
        Ok(at)
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.batch.entries.is_empty()
    }

    /// Entries so far.
    pub fn len(&self) -> usize {
        self.batch.entries.len()
    }

    /// Uptime that the times of this batch count from.
    pub fn base(&self) -> Uptime {
        self.batch.base
    }

    /// Place of the next entry; none at the end of the line.
    pub fn next_seq(&self) -> Option<Seq> {
        self.next
    }

    /// Whether one more entry of any kind and size is sure to fit, by count and bytes.
    pub fn has_room(&self) -> bool {
        !self.batch.entries.is_full() && self.size_bytes + crate::limits::ENTRY_BYTES_MAX <= BODY_BYTES_MAX
    }

    /// The batch as it is now, to be stored before it is let go; `utc` is the time of its base, when known.
    pub fn batch(&mut self, utc: Option<UtcTime>) -> &Batch {
        self.batch.utc = utc;
        &self.batch
    }

    /// Closes the batch; `utc` is the time of its base, when known.
    pub fn finish(self, utc: Option<UtcTime>) -> Batch {
        Batch { utc, ..self.batch }
    }
}
