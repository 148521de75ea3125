//! Who waits for which group to become durable.
//!
//! In: the journal's call after each commit. Out: wake-ups, once per waiter and only for those whose group is durable:
//! 256 waiting calls cost one pass over a list, not 256 woken threads.
//! Invariant: a future made before the commit of its group is woken by it, whatever the order of the two calls.

use crate::storage::{Ack, CommitError};
use headwater_journal::{Failed, Ticket};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

pub(super) struct Commits {
    /// Newest durable group. Written under the lock of `waiting`.
    durable: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Wakers by group. At most two groups are not durable: the one in flight and the one filling.
    groups: BTreeMap<u64, Vec<Waker>>,
    failed: Option<CommitError>,
}

impl Commits {
    pub(super) fn new(durable: u64) -> Self {
        Commits { durable: AtomicU64::new(durable), waiting: Mutex::default() }
    }

    /// The newest durable group.
    pub(super) fn newest(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Told by the journal after each commit, and once when it stops.
    pub(super) fn committed(&self, outcome: Result<Ticket, Failed>) {
        let woken = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(Ticket(group)) => {
                    self.durable.fetch_max(group, Ordering::AcqRel);
                    let later = waiting.groups.split_off(&group.saturating_add(1));
                    std::mem::replace(&mut waiting.groups, later)
                }
                Err(failed) => {
                    waiting.failed = Some(CommitError { reason: failed.reason.to_string() });
                    std::mem::take(&mut waiting.groups)
                }
            }
        };
        for waker in woken.into_values().flatten() {
            waker.wake();
        }
    }

    /// Resolves with `acks` when `group` is durable.
    pub(super) fn durable(self: &Arc<Self>, group: u64, acks: Vec<Ack>) -> Durable {
        Durable { commits: Arc::clone(self), group, acks, registered: None }
    }
}

pub(super) struct Durable {
    commits: Arc<Commits>,
    group: u64,
    acks: Vec<Ack>,
    registered: Option<Waker>,
}

impl Future for Durable {
    type Output = Result<Vec<Ack>, CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.commits.newest() >= self.group {
            return Poll::Ready(Ok(std::mem::take(&mut self.acks)));
        }
        let commits = Arc::clone(&self.commits);
        let mut waiting = commits.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Again under the lock: the commit may have come in between.
        if commits.newest() >= self.group {
            return Poll::Ready(Ok(std::mem::take(&mut self.acks)));
        }
        if let Some(failed) = &waiting.failed {
            return Poll::Ready(Err(failed.clone()));
        }
        if !self.registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            waiting.groups.entry(self.group).or_default().push(cx.waker().clone());
            self.registered = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_waiter_is_woken_by_its_group_and_not_before() {
        let commits = Arc::new(Commits::new(4));
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let mut six = commits.durable(6, Vec::new());
        assert!(Pin::new(&mut commits.durable(4, Vec::new())).poll(&mut cx).is_ready());
        assert!(Pin::new(&mut six).poll(&mut cx).is_pending());
        assert!(Pin::new(&mut six).poll(&mut cx).is_pending());
        commits.committed(Ok(Ticket(5)));
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        commits.committed(Ok(Ticket(6)));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(Pin::new(&mut six).poll(&mut cx), Poll::Ready(Ok(Vec::new())));
    }

    #[test]
    fn a_stopped_journal_fails_every_waiter_whose_group_is_not_durable() {
        let commits = Arc::new(Commits::new(0));
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let mut waiting = commits.durable(2, Vec::new());
        assert!(Pin::new(&mut waiting).poll(&mut cx).is_pending());
        commits.committed(Ok(Ticket(1)));
        commits.committed(Err(Failed { reason: "no power".into() }));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(matches!(Pin::new(&mut waiting).poll(&mut cx), Poll::Ready(Err(_))));
        assert!(matches!(Pin::new(&mut commits.durable(3, Vec::new())).poll(&mut cx), Poll::Ready(Err(_))));
        assert!(matches!(Pin::new(&mut commits.durable(1, Vec::new())).poll(&mut cx), Poll::Ready(Ok(_))));
    }
}
