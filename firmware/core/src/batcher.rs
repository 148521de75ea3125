//! Readings into batches: numbering, closing, counting what could not be kept.
//!
//! In: readings with their uptime. Out: batches ready to be stored. Invariant: the line of the boot has no holes: a
//! reading that finds no room because flash refuses the batch before it becomes part of a gap. Pure: time is a
//! parameter. Not here: flash.

use crate::limits::STORE_RETRY_MS;
use headwater_telemetry::{Batch, BatchBuilder, BootId, ChannelId, Schema, Seq, Uptime, UtcTime, Value};

/// What became of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It has this place in the line.
    At(Seq),
    /// Flash is refusing: it is counted and will be told as a gap.
    Lost,
    /// The line of this boot is at its end: start the device anew.
    LineEnd,
}

/// The open batch and what surrounds it.
#[derive(Debug)]
pub struct Batcher {
    boot: BootId,
    schema: Schema,
    entries_max: usize,
    age_ms: u64,
    open: Option<BatchBuilder>,
    next: Seq,
    lost: Option<(Uptime, u32)>,
    retry_at: Option<Uptime>,
}

impl Batcher {
    /// At the start of a boot. A batch is closed at `entries_max` entries (at least 1), when no further entry would
    /// surely fit, or at `age_ms`.
    pub fn new(boot: BootId, schema: Schema, entries_max: usize, age_ms: u64) -> Self {
        assert!(entries_max > 0, "a batch has at least one entry");
        Self { boot, schema, entries_max, age_ms, open: None, next: Seq(0), lost: None, retry_at: None }
    }

    /// Takes a reading. Close what [`Batcher::is_due`] first, or the reading may find no room.
    pub fn handle_reading(&mut self, at: Uptime, channel: ChannelId, value: Value) -> Taken {
        if self.is_full() {
            let (_, count) = self.lost.get_or_insert((at, 0));
            *count = count.saturating_add(1);
            return Taken::Lost;
        }
        let (boot, schema, first) = (self.boot, self.schema, self.next);
        let lost = self.lost.take();
        let base = lost.map_or(at, |(since, _)| since);
        let builder = self.open.get_or_insert_with(|| BatchBuilder::new(boot, first, schema, base));
        if let Some((since, count)) = lost
            && builder.gap(since, count).is_err()
        {
            return Taken::LineEnd;
        }
        // There is room, and a batch is closed long before 2^32 ms: only the end of the line refuses.
        builder.reading(at, channel, value).map_or(Taken::LineEnd, Taken::At)
    }

    /// Counts entries that were lost elsewhere; they are told before the next reading of a new batch.
    pub fn handle_lost(&mut self, at: Uptime, more: u32) {
        let (_, count) = self.lost.get_or_insert((at, 0));
        *count = count.saturating_add(more);
    }

    fn is_full(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.len() >= self.entries_max || !open.has_room())
    }

    /// When the open batch is to be stored, if nothing more comes.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        let open = self.open.as_ref()?;
        let due =
            if self.is_full() { open.base() } else { Uptime(open.base().0.saturating_add(self.age_ms)) };
        Some(due.max(self.retry_at.unwrap_or_default()))
    }

    /// Whether the open batch is to be stored now.
    pub fn is_due(&self, now: Uptime) -> bool {
        self.poll_timeout().is_some_and(|due| due <= now)
    }

    /// The open batch, with the time of its base.
    pub fn batch(&mut self, utc_of: impl FnOnce(Uptime) -> Option<UtcTime>) -> Option<&Batch> {
        self.open.as_mut().map(|open| {
            let utc = utc_of(open.base());
            open.batch(utc)
        })
    }

    /// The open batch is durable: begin another.
    pub fn handle_stored(&mut self) {
        if let Some(open) = self.open.take() {
            // At the end of the line the next builder refuses by itself.
            self.next = open.next_seq().unwrap_or(Seq(u32::MAX));
        }
        self.retry_at = None;
    }

    /// Whether flash refused the open batch last.
    pub fn is_refused(&self) -> bool {
        self.retry_at.is_some()
    }

    /// No reading follows: what was lost is told in a batch of its own. Whether there is one to be stored.
    pub fn handle_closing(&mut self) -> bool {
        if self.open.is_none()
            && let Some((since, count)) = self.lost.take()
        {
            let mut builder = BatchBuilder::new(self.boot, self.next, self.schema, since);
            // Refused only at the end of the line, where nothing can be told any more.
            self.open = builder.gap(since, count).is_ok().then_some(builder);
        }
        self.open.is_some()
    }

    /// Flash refused the open batch: it stays, and is due again after a while.
    pub fn handle_store_failed(&mut self, now: Uptime) {
        self.retry_at = Some(Uptime(now.0.saturating_add(STORE_RETRY_MS)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_telemetry::{Entry, Text};

    fn batcher() -> Batcher {
        Batcher::new(BootId(1), Schema(0), 4, 10_000)
    }

    #[test]
    fn a_batch_is_due_by_count_size_or_age() {
        let mut batcher = batcher();
        assert_eq!(batcher.poll_timeout(), None);
        for n in 0..4 {
            assert!(!batcher.is_due(Uptime(1_000 + n)));
            assert_eq!(
                batcher.handle_reading(Uptime(1_000 + n), ChannelId(0), Value::Fixed(1)),
                Taken::At(Seq(u32::try_from(n).unwrap()))
            );
        }
        assert!(batcher.is_due(Uptime(1_003)));
        batcher.handle_stored();
        batcher.handle_reading(Uptime(2_000), ChannelId(0), Value::Fixed(1));
        assert_eq!(batcher.poll_timeout(), Some(Uptime(12_000)));
        assert_eq!(batcher.batch(|_| None).unwrap().first, Seq(4));

        let mut by_size = Batcher::new(BootId(1), Schema(0), 24, 10_000);
        let text = Value::Text(Text::truncated("123456789012345678901234"));
        let mut taken = 0;
        while !by_size.is_due(Uptime(0)) {
            assert!(matches!(by_size.handle_reading(Uptime(0), ChannelId(0), text.clone()), Taken::At(_)));
            taken += 1;
        }
        assert!((10..24).contains(&taken));
    }

    #[test]
    fn readings_that_flash_has_no_room_for_become_a_gap_in_place() {
        let mut batcher = batcher();
        for n in 0..4 {
            batcher.handle_reading(Uptime(n), ChannelId(0), Value::Fixed(1));
        }
        batcher.handle_store_failed(Uptime(4));
        assert!(!batcher.is_due(Uptime(1_003)) && batcher.is_due(Uptime(1_004)));
        for n in 0..3 {
            assert_eq!(batcher.handle_reading(Uptime(500 + n), ChannelId(0), Value::Fixed(1)), Taken::Lost);
        }
        batcher.handle_stored();
        assert_eq!(batcher.handle_reading(Uptime(1_100), ChannelId(0), Value::Fixed(1)), Taken::At(Seq(7)));
        let batch = batcher.batch(|_| None).unwrap();
        let entries: std::vec::Vec<_> =
            batch.sequenced().map(|(seq, entry)| (seq.0, batch.uptime(entry).0, entry.count())).collect();
        assert_eq!(entries, [(4, 500, 3), (7, 1_100, 1)]);
        assert!(matches!(batch.entries[0], Entry::Gap(_)));
    }
    #[test]
    fn what_was_lost_before_the_end_is_told_as_well() {
        let mut batcher = batcher();
        for n in 0..4 {
            batcher.handle_reading(Uptime(n), ChannelId(0), Value::Fixed(1));
        }
        batcher.handle_store_failed(Uptime(4));
        assert_eq!(batcher.handle_reading(Uptime(500), ChannelId(0), Value::Fixed(1)), Taken::Lost);
        assert!(batcher.handle_closing(), "the open batch first");
        assert!(batcher.is_refused());
        batcher.handle_stored();
        assert!(!batcher.is_refused() && batcher.handle_closing());
        let batch = batcher.batch(|_| None).unwrap();
        assert_eq!((batch.first, batch.base, batch.through()), (Seq(4), Uptime(500), Some(Seq(4))));
        assert!(matches!(batch.entries[..], [Entry::Gap(_)]));
        batcher.handle_stored();
        assert!(!batcher.handle_closing());
    }
}
