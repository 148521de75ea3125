//! Who waits for records of which shard.
//!
//! In: what is staged, and the journal's call after each commit. Out: wake-ups for those who watch a shard that got records:
//! a thousand idle watches of other shards cost a commit nothing.
//! Invariants: a watch that began before an append is woken by its commit; one that ended holds nothing.

use crate::storage::{CommitError, ShardKey};
use headwater_journal::{Failed, Ticket};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

pub(super) struct Watches {
    /// Newest durable group.
    durable: AtomicU64,
    /// How many watches there are: without any, appends and commits pay one load.
    count: AtomicUsize,
    watching: Mutex<Watching>,
}

#[derive(Default)]
struct Watching {
    shards: BTreeMap<ShardKey, BTreeMap<u64, Watcher>>,
    /// Watched shards that got records, by group not yet durable.
    staged: BTreeMap<u64, Vec<ShardKey>>,
    failed: Option<CommitError>,
    next_id: u64,
}

#[derive(Default)]
struct Watcher {
    woken: bool,
    waker: Option<Waker>,
}

impl Watches {
    pub(super) fn new(durable: u64) -> Self {
        Watches { durable: AtomicU64::new(durable), count: AtomicUsize::new(0), watching: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Watching> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told of every append after it was staged.
    pub(super) fn staged(&self, group: u64, shards: impl Iterator<Item = ShardKey>) {
        if self.count.load(SeqCst) == 0 {
            return;
        }
        let mut watching = self.lock();
        let Watching { shards: watched, staged, .. } = &mut *watching;
        for shard in shards.filter(|shard| watched.contains_key(shard)) {
            let of_group = staged.entry(group).or_default();
            if !of_group.contains(&shard) {
                of_group.push(shard);
            }
        }
        // Its commit may have come before this call.
        let durable = self.durable.load(SeqCst);
        if durable >= group {
            watching.wake(durable);
        }
    }

    /// Told by the journal after each commit, and once when it stops.
    pub(super) fn committed(&self, outcome: &Result<Ticket, Failed>) {
        match outcome {
            Ok(Ticket(group)) => {
                self.durable.fetch_max(*group, SeqCst);
                if self.count.load(SeqCst) > 0 {
                    self.lock().wake(*group);
                }
            }
            Err(failed) => {
                let mut watching = self.lock();
                watching.failed = Some(CommitError { reason: failed.reason.to_string() });
                watching.shards.values_mut().flat_map(BTreeMap::values_mut).for_each(Watcher::wake);
            }
        }
    }

    /// Watches a shard. Appends staged before the watch began may become durable without waking it.
    pub(super) fn watch(self: &Arc<Self>, shard: ShardKey) -> Watch {
        let mut watching = self.lock();
        let id = watching.next_id;
        watching.next_id += 1;
        watching.shards.entry(shard).or_default().insert(id, Watcher::default());
        self.count.fetch_add(1, SeqCst);
        Watch { watches: Arc::clone(self), shard, id }
    }
}

impl Watching {
    /// Wakes who watches shards that have records in groups up to `group`.
    fn wake(&mut self, group: u64) {
        let later = self.staged.split_off(&group.saturating_add(1));
        for shard in std::mem::replace(&mut self.staged, later).into_values().flatten() {
            self.shards.get_mut(&shard).into_iter().flat_map(BTreeMap::values_mut).for_each(Watcher::wake);
        }
    }
}

impl Watcher {
    fn wake(&mut self) {
        self.woken = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A watch of one shard; ends with the value.
pub(super) struct Watch {
    watches: Arc<Watches>,
    shard: ShardKey,
    id: u64,
}

impl Watch {
    /// Resolves when records of the shard became durable since the last call, or since the watch began.
    pub(super) async fn changed(&mut self) -> Result<(), CommitError> {
        poll_fn(|cx| {
            let mut watching = self.watches.lock();
            if let Some(failed) = &watching.failed {
                return Poll::Ready(Err(failed.clone()));
            }
            let watcher = watching.shards.entry(self.shard).or_default().entry(self.id).or_default();
            if std::mem::take(&mut watcher.woken) {
                return Poll::Ready(Ok(()));
            }
            watcher.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watching = self.watches.lock();
        if let Some(watchers) = watching.shards.get_mut(&self.shard) {
            watchers.remove(&self.id);
            if watchers.is_empty() {
                watching.shards.remove(&self.shard);
            }
        }
        self.watches.count.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{ShardId, StreamNumber};
    use std::pin::pin;
    use std::task::{Context, Wake};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn shard(shard: u32) -> ShardKey {
        ShardKey { stream: StreamNumber(1), shard: ShardId(shard) }
    }

    /// Polls once. Gives what came of it and how often the waker was called by `act`.
    fn woken(watch: &mut Watch, act: impl FnOnce()) -> (bool, usize) {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let mut changed = pin!(watch.changed());
        let before = changed.as_mut().poll(&mut cx).is_ready();
        act();
        assert_eq!(before || changed.as_mut().poll(&mut cx).is_ready(), before || count.0.load(SeqCst) > 0);
        (before, count.0.load(SeqCst))
    }

    #[test]
    fn only_a_durable_append_to_its_shard_wakes_a_watch() {
        let watches = Arc::new(Watches::new(4));
        let mut watch = watches.watch(shard(0));
        assert_eq!(woken(&mut watch, || watches.staged(5, [shard(0), shard(1)].into_iter())), (false, 0));
        assert_eq!(woken(&mut watch, || watches.committed(&Ok(Ticket(4)))), (false, 0));
        assert_eq!(woken(&mut watch, || watches.committed(&Ok(Ticket(5)))), (false, 1));
        watches.staged(6, [shard(1)].into_iter());
        assert_eq!(woken(&mut watch, || watches.committed(&Ok(Ticket(6)))), (false, 0));
    }

    #[test]
    fn a_commit_before_the_word_of_its_append_wakes_too() {
        let watches = Arc::new(Watches::new(4));
        let mut watch = watches.watch(shard(0));
        watches.committed(&Ok(Ticket(5)));
        assert_eq!(woken(&mut watch, || watches.staged(5, [shard(0)].into_iter())), (false, 1));
        // And what came while nobody polled is not forgotten.
        watches.staged(6, [shard(0)].into_iter());
        watches.committed(&Ok(Ticket(6)));
        assert_eq!(woken(&mut watch, || ()), (true, 0));
    }

    #[test]
    fn a_watch_that_ended_leaves_nothing_and_a_failure_wakes_all() {
        let watches = Arc::new(Watches::new(0));
        drop(watches.watch(shard(0)));
        assert!(watches.lock().shards.is_empty());
        assert_eq!(watches.count.load(SeqCst), 0);
        let mut watch = watches.watch(shard(3));
        assert_eq!(
            woken(&mut watch, || watches.committed(&Err(Failed { reason: "no power".into() }))),
            (false, 1)
        );
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(pin!(watch.changed()).poll(&mut cx), Poll::Ready(Err(_))));
    }
}
