//! The bytes all connections together may hold in read buffers.
//!
//! Small packets are always let in, in small reads, so a connection that began one can finish it. A large packet
//! reserves its whole length before it is read on, so that no two of them can each hold half of the budget. One is
//! let in beyond the limit when no other is, or the beginnings of many would keep all of them out.
//! Invariant: at most the limit, the beginnings of packets, and one large packet are held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Shared by all connections of a server.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    /// Large packets let in.
    large: AtomicUsize,
    limit: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget {
            used: AtomicUsize::new(0),
            large: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
        })
    }

    /// Holds to `limit` from now on; what is held stays held.
    pub(crate) fn set(&self, limit: usize) {
        self.limit.store(limit, Relaxed);
    }

    fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Whether reads shall be small now.
    pub(crate) fn is_pressed(&self) -> bool {
        self.used.load(Relaxed) >= self.limit()
    }
}

/// What one connection holds of it; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
    /// Whether it counts as a large packet.
    large: bool,
}

impl Held {
    pub(crate) fn new(budget: Arc<Budget>) -> Held {
        Held { budget, bytes: 0, large: false }
    }

    pub(crate) fn is_pressed(&self) -> bool {
        self.budget.is_pressed()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds `bytes` from now on, whatever the limit says. Less than before ends a reservation.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.used.fetch_add(bytes - self.bytes, Relaxed);
        } else if bytes < self.bytes {
            self.budget.used.fetch_sub(self.bytes - bytes, Relaxed);
            if std::mem::take(&mut self.large) {
                self.budget.large.fetch_sub(1, Relaxed);
            }
        }
        self.bytes = bytes;
    }

    /// Holds `bytes` from now on if the limit allows it, or nobody else has a reservation.
    pub(crate) fn try_reserve(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let fits = |used: usize| (used.saturating_add(more) <= self.budget.limit()).then_some(used + more);
        if self.budget.used.fetch_update(Relaxed, Relaxed, fits).is_ok() {
            self.budget.large.fetch_add(usize::from(!self.large), Relaxed);
        } else if self.budget.large.compare_exchange(0, 1, Relaxed, Relaxed).is_ok() {
            self.budget.used.fetch_add(more, Relaxed);
        } else {
            return false;
        }
        (self.bytes, self.large) = (self.bytes + more, true);
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_beyond_the_limit_fails_and_what_is_dropped_comes_back() {
        let budget = Budget::new(100);
        let (mut one, mut two) = (Held::new(budget.clone()), Held::new(budget.clone()));
        assert!(one.try_reserve(60));
        assert!(!two.try_reserve(60));
        two.set(50);
        assert!(budget.is_pressed());
        drop(one);
        assert!(two.try_reserve(100));
        drop(two);
        assert_eq!(budget.used.load(Relaxed), 0);
    }

    #[test]
    fn beginnings_of_packets_do_not_keep_every_large_one_out() {
        // Six connections have read the first part of a packet of 60 before any of them reserved it.
        let budget = Budget::new(100);
        let mut held: Vec<Held> = (0..6).map(|_| Held::new(budget.clone())).collect();
        held.iter_mut().for_each(|held| held.set(20));
        while let Some(mut first) = held.pop() {
            assert!(first.try_reserve(60));
            assert!(first.try_reserve(60), "asked again while it arrives");
            if held.len() > 2 {
                assert!(!held[0].try_reserve(60), "one at a time while there is no room");
            }
            first.set(0);
        }
        assert_eq!((budget.used.load(Relaxed), budget.large.load(Relaxed)), (0, 0));
    }
}
