//! The bytes all connections together may hold in read buffers.
//!
//! Small packets are always let in, in small reads, so a connection that began one can finish it. A large packet
//! reserves its whole length before it is read on, so that no two of them can each hold half of the budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Shared by all connections of a server.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget { used: AtomicUsize::new(0), limit })
    }

    /// Whether reads shall be small now.
    pub(crate) fn is_pressed(&self) -> bool {
        self.used.load(Relaxed) >= self.limit
    }
}

/// What one connection holds of it; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Held {
    pub(crate) fn new(budget: Arc<Budget>) -> Held {
        Held { budget, bytes: 0 }
    }

    pub(crate) fn is_pressed(&self) -> bool {
        self.budget.is_pressed()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds `bytes` from now on, whatever the limit says.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.used.fetch_add(bytes - self.bytes, Relaxed);
        } else if bytes < self.bytes {
            self.budget.used.fetch_sub(self.bytes - bytes, Relaxed);
        }
        self.bytes = bytes;
    }

    /// Holds `bytes` from now on if the limit allows it.
    pub(crate) fn try_reserve(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let taken = self.budget.used.fetch_update(Relaxed, Relaxed, |used| {
            (more == 0 || used.saturating_add(more) <= self.budget.limit).then_some(used + more)
        });
        if taken.is_ok() {
            self.bytes += more;
        }
        taken.is_ok()
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
}
