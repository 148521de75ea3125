//! Which subscription of a consumer to a shard is in force.
//!
//! In: calls of SubscribeToShard with the time. Out: a lease, or the refusal of a second call that comes too soon.
//! Invariants: at most one lease of a consumer and shard is in force; a call within [`limits::SUBSCRIBE_PAUSE_MS`] after a
//! successful one is refused, also when that one has ended (model: `SubscribeToShard`); a later one takes over, and the
//! former holder is told. Leases are bounded. Not here: what a subscription gives (subscription).

use crate::limits;
use crate::storage::ShardKey;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Why a subscription ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Another call took over.
    TakenOver,
    /// Its consumer was deregistered, or went with its stream.
    Deregistered,
}

/// Why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The last call was too short a time ago.
    TooSoon,
    /// There are too many subscriptions.
    TooMany,
}

type Place = (ShardKey, String);

struct Holder {
    id: u64,
    since_ms: u64,
    /// None once the subscription has ended.
    end: Option<watch::Sender<Option<Ended>>>,
}

#[derive(Default)]
struct Held {
    holders: BTreeMap<Place, Holder>,
    next_id: u64,
}

/// All leases of an engine.
#[derive(Default)]
pub(super) struct Leases(Arc<Mutex<Held>>);

/// The right to give a shard's records to a consumer; ends with the value.
pub(super) struct Lease {
    held: Arc<Mutex<Held>>,
    place: Place,
    id: u64,
    /// Shows why the lease has ended, once it has.
    pub(super) ended: watch::Receiver<Option<Ended>>,
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leases {
    /// Whether a call at this time would be given a lease.
    pub(super) fn check(&self, shard: ShardKey, consumer: &str, now_ms: u64) -> Result<(), Refused> {
        check(&lock(&self.0), &(shard, consumer.to_owned()), now_ms)
    }

    /// Gives `consumer` the shard, and ends the lease there was.
    pub(super) fn take(&self, shard: ShardKey, consumer: &str, now_ms: u64) -> Result<Lease, Refused> {
        let place = (shard, consumer.to_owned());
        let mut held = lock(&self.0);
        check(&held, &place, now_ms)?;
        if held.holders.len() >= limits::SUBSCRIPTIONS_MAX {
            held.holders.retain(|_, holder| holder.end.is_some() || is_recent(holder, now_ms));
        }
        if held.holders.len() >= limits::SUBSCRIPTIONS_MAX && !held.holders.contains_key(&place) {
            return Err(Refused::TooMany);
        }
        let (end, ended) = watch::channel(None);
        let id = held.next_id;
        held.next_id += 1;
        let former = held.holders.insert(place.clone(), Holder { id, since_ms: now_ms, end: Some(end) });
        if let Some(end) = former.and_then(|former| former.end) {
            end.send_replace(Some(Ended::TakenOver));
        }
        Ok(Lease { held: Arc::clone(&self.0), place, id, ended })
    }

    /// Ends all leases of a consumer.
    pub(super) fn end_consumer(&self, stream: crate::names::StreamNumber, consumer: &str) {
        let mut held = lock(&self.0);
        let from = ShardKey { stream, shard: crate::names::ShardId(0) };
        let places: Vec<Place> = held
            .holders
            .range((from, String::new())..)
            .map(|(place, _)| place)
            .take_while(|(shard, _)| shard.stream == stream)
            .filter(|(_, name)| name == consumer)
            .cloned()
            .collect();
        for place in places {
            if let Some(end) = held.holders.remove(&place).and_then(|holder| holder.end) {
                end.send_replace(Some(Ended::Deregistered));
            }
        }
    }
}

fn check(held: &Held, place: &Place, now_ms: u64) -> Result<(), Refused> {
    match held.holders.get(place) {
        Some(holder) if is_recent(holder, now_ms) => Err(Refused::TooSoon),
        _ => Ok(()),
    }
}

/// A clock that was set back must not lock a consumer out: times in the future are not recent.
fn is_recent(holder: &Holder, now_ms: u64) -> bool {
    (holder.since_ms..holder.since_ms.saturating_add(limits::SUBSCRIBE_PAUSE_MS)).contains(&now_ms)
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        // A later holder's entry is not ours to touch. Ours stays a while: the next call must not come too soon.
        if let Some(holder) = held.holders.get_mut(&self.place).filter(|holder| holder.id == self.id) {
            holder.end = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{ShardId, StreamNumber};

    const SHARD: ShardKey = ShardKey { stream: StreamNumber(1), shard: ShardId(0) };

    #[test]
    fn a_second_call_is_refused_for_five_seconds_and_then_takes_over() {
        let leases = Leases::default();
        let first = leases.take(SHARD, "a", 1_000).unwrap();
        assert_eq!(leases.take(SHARD, "a", 5_999).err(), Some(Refused::TooSoon));
        assert_eq!(leases.check(SHARD, "a", 5_999), Err(Refused::TooSoon));
        assert_eq!(*first.ended.borrow(), None);
        let second = leases.take(SHARD, "a", 6_000).unwrap();
        assert_eq!(*first.ended.borrow(), Some(Ended::TakenOver));
        drop(first);
        assert_eq!(
            *second.ended.borrow(),
            None,
            "the end of the former holder is not the end of the new one"
        );
        assert!(leases.take(SHARD, "b", 6_000).is_ok(), "consumers do not know of each other");
        assert!(leases.take(ShardKey { shard: ShardId(1), ..SHARD }, "a", 6_000).is_ok());
    }

    #[test]
    fn the_pause_holds_after_the_end_of_a_subscription_but_not_before_its_time() {
        let leases = Leases::default();
        drop(leases.take(SHARD, "a", 10_000).unwrap());
        assert_eq!(leases.take(SHARD, "a", 10_001).err(), Some(Refused::TooSoon));
        assert!(leases.take(SHARD, "a", 9_000).is_ok(), "the clock was set back");
    }

    #[test]
    fn the_end_of_a_consumer_ends_its_leases_and_no_others() {
        let leases = Leases::default();
        let ours = leases.take(SHARD, "a", 0).unwrap();
        let other = leases.take(SHARD, "b", 0).unwrap();
        let elsewhere = leases.take(ShardKey { stream: StreamNumber(2), ..SHARD }, "a", 0).unwrap();
        leases.end_consumer(StreamNumber(1), "a");
        assert_eq!(*ours.ended.borrow(), Some(Ended::Deregistered));
        assert_eq!((*other.ended.borrow(), *elsewhere.ended.borrow()), (None, None));
        assert!(
            leases.take(SHARD, "a", 1).is_ok(),
            "a consumer registered anew is not held back by the old one"
        );
    }

    #[test]
    fn leases_are_bounded_and_ended_ones_make_room() {
        let leases = Leases::default();
        let shard = |i: usize| ShardKey { shard: ShardId(u32::try_from(i).unwrap()), ..SHARD };
        let mut all: Vec<_> =
            (0..limits::SUBSCRIPTIONS_MAX).map(|i| leases.take(shard(i), "a", 0).unwrap()).collect();
        assert_eq!(leases.take(SHARD, "b", 0).err(), Some(Refused::TooMany));
        all.pop();
        assert_eq!(leases.take(SHARD, "b", 4_999).err(), Some(Refused::TooMany));
        let _full_again = leases.take(SHARD, "b", 5_000).unwrap();
        assert_eq!(leases.take(SHARD, "c", 5_000).err(), Some(Refused::TooMany));
        assert!(leases.take(shard(5), "a", 5_000).is_ok(), "a takeover adds none");
    }
}
