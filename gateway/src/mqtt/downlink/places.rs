//! How many links there may be on the bus at once, and who hears of it when there are no more.
//!
//! In: who wants a link, who leaves, another maximum. Out: a [`Place`], or none. Invariant: a place that is given counts until it is
//! dropped; a maximum that is lowered takes nobody's place. Not here: what a link is (`bus`).

use crate::mqtt::counters::Counters;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug)]
pub(super) struct Places {
    taken: Mutex<usize>,
    max: AtomicUsize,
    /// It was said that there are no more, and there was no room again since.
    is_said: AtomicBool,
    counters: Arc<Counters>,
}

/// A place on the bus, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Places {
    pub(super) fn new(max: usize, counters: Arc<Counters>) -> Arc<Places> {
        Arc::new(Places {
            taken: Mutex::new(0),
            max: AtomicUsize::new(max),
            is_said: AtomicBool::new(false),
            counters,
        })
    }

    /// There may be so many from now on.
    pub(super) fn limit(&self, max: usize) {
        self.max.store(max, SeqCst);
        self.is_said.store(false, SeqCst);
    }

    /// How many there may be.
    pub(super) fn max(&self) -> usize {
        self.max.load(SeqCst)
    }

    /// A place; none when there are as many as may be. That is counted each time, and logged once until there is room again: clients
    /// that are refused come back, and each of them would say it for ever.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let max = self.max();
        {
            let mut taken = self.taken();
            if *taken < max {
                *taken += 1;
                self.counters.subscribers_joined.add(1);
                return Some(Place(self.clone()));
            }
        }
        self.counters.subscribers_refused.add(1);
        if !self.is_said.swap(true, SeqCst) {
            tracing::warn!(
                subscribers = max,
                "as many clients are subscribed as mqtt.subscribers allows; others are refused, and get no commands and no time (0x97)"
            );
        }
        None
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.0.taken();
        *taken -= 1;
        self.0.counters.subscribers_left.add(1);
        // A tenth of it free: one client that comes and goes at the limit is no news.
        if *taken < self.0.max() - self.0.max() / 10 {
            self.0.is_said.store(false, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_up_to_the_maximum_of_now_and_come_back() {
        let counters = Arc::new(Counters::default());
        let places = Places::new(2, counters.clone());
        let (one, two) = (places.take().unwrap(), places.take().unwrap());
        assert!(places.take().is_none());
        places.limit(3);
        let three = places.take().unwrap();
        places.limit(1);
        drop((two, three));
        assert!(places.take().is_none(), "who is there stays, and nobody comes");
        drop(one);
        assert!(places.take().is_some());
        let counted = counters.snapshot();
        assert_eq!((counted.subscribers_joined, counted.subscribers_left), (4, 4));
        assert_eq!(counted.subscribers_refused, 2);
    }

    #[test]
    fn that_there_are_no_more_is_said_once_until_there_is_room_again() {
        let places = Places::new(20, Arc::default());
        let mut taken: Vec<Place> = (0..20).map(|_| places.take().unwrap()).collect();
        let said = || places.is_said.load(SeqCst);
        assert!(!said());
        assert!(places.take().is_none() && said());
        taken.pop();
        assert!(said(), "one that comes and goes is no news");
        taken.truncate(17);
        assert!(!said());
    }
}
