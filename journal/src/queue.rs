//! The commit queue: many stage, one flushes, all learn of it.
//!
//! In: changes to the staged state, and the outcome of each flush. Out: who flushes what, and when a ticket is durable.
//! Invariants: one flush at a time; groups are flushed in the order of their numbers, without a hole; a ticket is durable only
//! after the flush of its group returned; after a failure nothing is flushed or becomes durable any more.
//! Not here: what a group is, the disk, threads, time. `crate::sync` is std's here and a model checker's in `tests/queue_model.rs`.

use crate::error::Failed;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// What appends fill and the leader empties.
pub(crate) trait Stage {
    /// What one flush writes.
    type Group;

    /// Takes the oldest waiting group with its number, which is one more than that of the group taken before.
    fn take(&mut self) -> Option<(u64, Self::Group)>;

    /// Number of the newest group that has anything in it, or the last taken.
    fn newest(&self) -> u64;
}

/// The queue around a [`Stage`].
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    // Signals a change of `durable` or `failed`, and the end of a flush.
    flushed: Condvar,
}

struct State<T> {
    stage: T,
    flushing: bool,
    durable: u64,
    failed: Option<Failed>,
}

/// A group to flush. Whoever holds it must give its outcome to [`Queue::finish`].
pub(crate) struct Lead<G> {
    pub(crate) number: u64,
    pub(crate) group: G,
}

impl<T: Stage> Queue<T> {
    /// `durable` is the last group that is on the device already.
    pub(crate) fn new(stage: T, durable: u64) -> Self {
        Self {
            state: Mutex::new(State { stage, flushing: false, durable, failed: None }),
            flushed: Condvar::new(),
        }
    }

    /// Looks at or changes the staged state under the lock. `None` when the queue has failed.
    ///
    /// # Errors
    /// [`Failed`] once a flush failed.
    pub(crate) fn stage<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, Failed> {
        let mut state = self.lock();
        match &state.failed {
            Some(failed) => Err(failed.clone()),
            None => Ok(change(&mut state.stage)),
        }
    }

    /// Looks at the staged state, failed or not.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        look(&mut self.lock().stage)
    }

    /// Ends the flush of `number` and wakes those who wait.
    pub(crate) fn finish(&self, number: u64, outcome: Result<(), Failed>) {
        let mut state = self.lock();
        assert!(state.flushing, "a flush ends once");
        state.flushing = false;
        match outcome {
            Ok(()) if state.failed.is_none() => {
                assert_eq!(state.durable + 1, number, "groups become durable in order");
                state.durable = number;
            }
            Ok(()) => {}
            Err(failed) => {
                state.failed.get_or_insert(failed);
            }
        }
        drop(state);
        self.flushed.notify_all();
    }

    /// Waits until `ticket` is durable; gives a group to flush when nobody else does, so that a caller who is alone never
    /// waits for another thread.
    ///
    /// # Errors
    /// [`Failed`] when the ticket will never be durable.
    pub(crate) fn wait(&self, ticket: u64, may_lead: bool) -> Result<Option<Lead<T::Group>>, Failed> {
        let mut state = self.lock();
        loop {
            if state.durable >= ticket {
                return Ok(None);
            }
            if let Some(failed) = &state.failed {
                return Err(failed.clone());
            }
            if may_lead && let Some(lead) = Self::lead_locked(&mut state) {
                return Ok(Some(lead));
            }
            state = self.flushed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Stops the queue for good.
    pub(crate) fn fail(&self, failed: Failed) {
        self.lock().failed.get_or_insert(failed);
        self.flushed.notify_all();
    }

    /// Last durable group.
    pub(crate) fn durable(&self) -> u64 {
        self.lock().durable
    }

    /// Newest group with anything in it; durable or not.
    pub(crate) fn newest(&self) -> u64 {
        self.lock().stage.newest()
    }

    /// Why the queue stopped, when it did.
    pub(crate) fn failed(&self) -> Option<Failed> {
        self.lock().failed.clone()
    }

    fn lead_locked(state: &mut State<T>) -> Option<Lead<T::Group>> {
        if state.flushing || state.failed.is_some() {
            return None;
        }
        let (number, group) = state.stage.take()?;
        assert_eq!(number, state.durable + 1, "groups are flushed in order");
        state.flushing = true;
        Some(Lead { number, group })
    }

    // A panic elsewhere leaves the state as consistent as an error does: every change under the lock is complete when it can panic.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
