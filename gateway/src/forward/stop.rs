//! The wish that a sink ends.
//!
//! In: one call, or the end of whoever could make it. Out: wake-ups, in the order in which carriers began to wait: they settle one after
//! another in the order that they turned last. A `watch` channel wakes them in an order that it draws. Not here: settling.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Says it. Dropped, it says it too.
#[derive(Debug)]
pub(super) struct Stopper(Stop);

impl Stopper {
    pub(super) fn tell(&self) {
        self.0.0.is_told.store(true, Ordering::Release);
        self.0.0.told.notify_waiters();
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        self.tell();
    }
}

/// Hears it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_told: AtomicBool,
    told: Notify,
}

impl Stop {
    pub(super) fn new() -> (Stopper, Self) {
        let stop = Self::default();
        (Stopper(stop.clone()), stop)
    }

    pub(super) fn is_told(&self) -> bool {
        self.0.is_told.load(Ordering::Acquire)
    }

    /// Resolves when it is said, at once when it was.
    pub(super) async fn told(&self) {
        // Begun before the look, so that what is said in between wakes it.
        let told = self.0.told.notified();
        if !self.is_told() {
            told.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn those_who_wait_are_told_in_the_order_in_which_they_began() {
        // A channel that draws the order gets it right once in 8! times.
        let (stopper, stop) = Stop::new();
        let told: Arc<Mutex<Vec<u32>>> = Arc::default();
        let waiting: Vec<_> = (0..8)
            .map(|number| {
                let (stop, told) = (stop.clone(), Arc::clone(&told));
                tokio::spawn(async move {
                    stop.told().await;
                    told.lock().unwrap().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(stopper);
        for one in waiting {
            one.await.unwrap();
        }
        assert_eq!(*told.lock().unwrap(), (0..8).collect::<Vec<_>>());
        stop.told().await;
    }
}
