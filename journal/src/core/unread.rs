//! What the disk does not give back while the journal is open: for how long, and when it counts as lost.
//!
//! In: places that readers could not read, or could again, by kept time. Out: whether a reader waits or goes on behind the place; what is
//! waited for, for people.
//! Invariant: a place is waited for from the first failure on, for the patience, unless it was read meanwhile; at most
//! [`UNREAD_PLACES_MAX`] places are remembered, and what finds no room waits.
//! Not here: openings (`survey::unread`), what a loss leads to (`read`).

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::ShardKey;
use crate::core::{Core, lock};
use crate::error::{ReadError, is_unread};
use crate::format::segment::FileName;
use crate::limits::UNREAD_PLACES_MAX;
use crate::storage::Storage;
use crate::types::UnreadPlace;

/// Segment and offset.
type Place = (u64, u64);

/// Why a place is waited for.
struct Waited {
    /// Kept time of the first failure.
    since_ms: u64,
    wanted: (ShardKey, u64),
    reason: Arc<str>,
}

/// The places that are waited for.
pub(super) struct Unread {
    patience_ms: AtomicU64,
    places: Mutex<BTreeMap<Place, Waited>>,
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
    fn handle_failed(&self, place: Place, wanted: (ShardKey, u64), reason: &Arc<str>, now_ms: u64) -> bool {
        let patience_ms = self.patience_ms.load(Ordering::Relaxed);
        let mut places = lock(&self.places);
        let is_known = places.contains_key(&place);
        if patience_ms == 0 || (!is_known && places.len() >= UNREAD_PLACES_MAX) {
            return patience_ms == 0;
        }
        let waited = Waited { since_ms: now_ms, wanted, reason: Arc::clone(reason) };
        let since_ms = places.entry(place).or_insert(waited).since_ms;
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

    /// The oldest `most` of them, the one that was waited for longest first.
    fn oldest(&self, most: usize, now_ms: u64) -> Vec<UnreadPlace> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let patience_ms = self.patience_ms.load(Ordering::Relaxed);
        let places = lock(&self.places);
        let mut oldest: Vec<_> = places.iter().collect();
        oldest.sort_by_key(|(place, waited)| (waited.since_ms, **place));
        let shown = |(&(segment, offset), waited): (&Place, &Waited)| {
            let waited_ms = now_ms.saturating_sub(waited.since_ms);
            UnreadPlace {
                file: FileName::Segment(segment).to_string(),
                offset,
                shard: waited.wanted.0,
                first: waited.wanted.1,
                reason: Arc::clone(&waited.reason),
                waited: Duration::from_millis(waited_ms),
                left: Duration::from_millis(patience_ms.saturating_sub(waited_ms)),
            }
        };
        oldest.into_iter().take(most).map(shown).collect()
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
        let reason: Arc<str> = error.to_string().into();
        if !is_unread(error) || self.unread.handle_failed((segment, offset), (shard, first), &reason, now_ms)
        {
            return Ok(());
        }
        let file = FileName::Segment(segment).to_string();
        Err(ReadError::Unread { shard, first, file, offset, reason })
    }

    /// How many places the disk does not give back now, and readers wait for; see [`Config::unread`](crate::Config::unread).
    pub fn unread(&self) -> u64 {
        self.unread.count.load(Ordering::Relaxed)
    }

    /// The `most` of them that were waited for longest, the oldest first. A place that nobody tries to read any more stays among them.
    pub fn unread_places(&self, most: usize) -> Vec<UnreadPlace> {
        self.unread.oldest(most, self.kept_ms.load(Ordering::Relaxed))
    }

    /// A segment is gone, and with it what was waited for in it.
    pub(super) fn forget_unread(&self, segment: u64) {
        self.unread.handle_read(segment, 0..u64::MAX);
    }

    pub(super) fn was_read(&self, segment: u64, bytes: Range<u64>) {
        self.unread.handle_read(segment, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(unread: &Unread, place: Place, now_ms: u64) -> bool {
        unread.handle_failed(place, (ShardKey { stream: 1, shard: 0 }, place.1), &Arc::from("EIO"), now_ms)
    }

    #[test]
    fn what_is_waited_for_is_shown_for_how_long_and_the_oldest_first() {
        let unread = Unread::new(Duration::from_secs(10));
        assert_eq!(unread.oldest(9, 0), []);
        failed(&unread, (2, 8), 1_000);
        failed(&unread, (1, 4), 3_000);
        failed(&unread, (2, 8), 4_000);
        let shown = unread.oldest(9, 4_000);
        let times = |place: &UnreadPlace| (place.offset, place.waited.as_secs(), place.left.as_secs());
        assert_eq!(shown.iter().map(times).collect::<Vec<_>>(), [(8, 3, 7), (4, 1, 9)]);
        assert_eq!((&*shown[0].reason, shown[0].first), ("EIO", 8));
        assert_eq!(unread.oldest(1, 30_000).iter().map(times).collect::<Vec<_>>(), [(8, 29, 0)]);
        unread.handle_read(2, 0..u64::MAX);
        assert_eq!(unread.oldest(9, 4_000).len(), 1);
    }

    #[test]
    fn a_place_is_lost_after_the_patience_and_forgotten_when_it_is_read() {
        let unread = Unread::new(Duration::from_secs(10));
        assert!(!failed(&unread, (1, 0), 100_000));
        assert!(!failed(&unread, (1, 0), 109_999));
        unread.handle_read(1, 0..1);
        assert!(!failed(&unread, (1, 0), 110_000), "it was there meanwhile");
        assert!(failed(&unread, (1, 0), 120_000));
        let at_once = Unread::new(Duration::ZERO);
        assert!(failed(&at_once, (1, 0), 0));
    }

    #[test]
    fn what_finds_no_room_waits() {
        let unread = Unread::new(Duration::from_millis(1));
        for place in 0..UNREAD_PLACES_MAX as u64 {
            assert!(!failed(&unread, (1, place), 0));
        }
        assert!(!failed(&unread, (2, 0), 0));
        assert!(!failed(&unread, (2, 0), 9));
        assert!(failed(&unread, (1, 0), 9));
        assert!(!failed(&unread, (2, 0), 9), "there is room now");
        assert!(failed(&unread, (2, 0), 10));
    }
}
