//! What the disk does not give back while the journal is open: for how long, and when it counts as lost.
//!
//! In: places that readers could not read, or could again, by kept time. Out: whether a reader waits or goes on behind the place.
//! Invariant: a place is waited for from the first failure on, for the patience, unless it was read meanwhile; at most
//! [`UNREAD_PLACES_MAX`] places are remembered, and what finds no room waits.
//! Not here: openings (`survey::unread`), what a loss leads to (`read`).

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::ShardKey;
use crate::core::{Core, lock};
use crate::error::{ReadError, is_unread};
use crate::format::segment::FileName;
use crate::limits::UNREAD_PLACES_MAX;
use crate::storage::Storage;

/// Segment and offset.
type Place = (u64, u64);

/// The places that are waited for, each with the kept time of its first failure.
pub(super) struct Unread {
    patience_ms: AtomicU64,
    places: Mutex<BTreeMap<Place, u64>>,
    /// Their number, so that reads that go well look at no lock.
    count: AtomicU64,
}

impl Unread {
    /// What cannot be read is waited for no longer than this.
    pub(super) fn new(patience: Duration) -> Self {
        let unread = Self {
            patience_ms: AtomicU64::new(0),
            places: Mutex::new(BTreeMap::new()),
            count: AtomicU64::new(0),
        };
        unread.set_patience(patience);
        unread
    }

    pub(super) fn set_patience(&self, patience: Duration) {
        self.patience_ms.store(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A place was not read; whether it counts as lost by now.
    fn handle_failed(&self, place: Place, now_ms: u64) -> bool {
        let patience_ms = self.patience_ms.load(Ordering::Relaxed);
        let mut places = lock(&self.places);
        let is_known = places.contains_key(&place);
        if patience_ms == 0 || (!is_known && places.len() >= UNREAD_PLACES_MAX) {
            return patience_ms == 0;
        }
        let since_ms = *places.entry(place).or_insert(now_ms);
        let is_lost = now_ms.saturating_sub(since_ms) >= patience_ms;
        if is_lost {
            places.remove(&place);
        }
        self.count.store(places.len() as u64, Ordering::Relaxed);
        is_lost
    }

    /// Bytes of a segment were read.
    fn handle_read(&self, segment: u64, bytes: Range<u64>) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let mut places = lock(&self.places);
            places.retain(|place, _| place.0 != segment || !bytes.contains(&place.1));
            self.count.store(places.len() as u64, Ordering::Relaxed);
        }
    }
}

impl<S: Storage> Core<S> {
    /// A place of a segment was not read, and `first` of `shard` is there. Nothing when that is a loss: the bytes are wrong, or patience
    /// is at its end.
    ///
    /// # Errors
    /// The disk may still give it back.
    pub(super) fn meet_unread(
        &self,
        (shard, first): (ShardKey, u64),
        (segment, offset): Place,
        error: &io::Error,
    ) -> Result<(), ReadError> {
        let now_ms = self.kept_ms.load(Ordering::Relaxed);
        if !is_unread(error) || self.unread.handle_failed((segment, offset), now_ms) {
            return Ok(());
        }
        let file = FileName::Segment(segment).to_string();
        Err(ReadError::Unread { shard, first, file, offset, reason: error.to_string().into() })
    }

    pub(super) fn was_read(&self, segment: u64, bytes: Range<u64>) {
        self.unread.handle_read(segment, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_lost_after_the_patience_and_forgotten_when_it_is_read() {
        let unread = Unread::new(Duration::from_secs(10));
        assert!(!unread.handle_failed((1, 0), 100_000));
        assert!(!unread.handle_failed((1, 0), 109_999));
        unread.handle_read(1, 0..1);
        assert!(!unread.handle_failed((1, 0), 110_000), "it was there meanwhile");
        assert!(unread.handle_failed((1, 0), 120_000));
        let at_once = Unread::new(Duration::ZERO);
        assert!(at_once.handle_failed((1, 0), 0));
    }

    #[test]
    fn what_finds_no_room_waits() {
        let unread = Unread::new(Duration::from_millis(1));
        for place in 0..UNREAD_PLACES_MAX as u64 {
            assert!(!unread.handle_failed((1, place), 0));
        }
        assert!(!unread.handle_failed((2, 0), 0));
        assert!(!unread.handle_failed((2, 0), 9));
        assert!(unread.handle_failed((1, 0), 9));
        assert!(!unread.handle_failed((2, 0), 9), "there is room now");
        assert!(unread.handle_failed((2, 0), 10));
    }
}
