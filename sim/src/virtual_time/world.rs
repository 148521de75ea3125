//! Virtual time: a clock that jumps from timer to timer, and an executor for everything that waits on it.
//!
//! In: tasks, an end. Out: the tasks, run to that end. Invariants: one thread; tasks run in the order in which they were woken,
//! timers of the same microsecond in the order in which they were set, so a world is the same at every run.
//! Not here: what the tasks do; the machine's clock, which nothing in this folder reads.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The clock, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct World {
    now_us: Cell<u64>,
    timers: RefCell<Timers>,
}

#[derive(Debug, Default)]
struct Timers {
    /// Due, number of the timer, its slot.
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    /// Number of the timer that has the slot, and who waits for it.
    slots: Vec<(u64, Option<Waker>)>,
    free: Vec<usize>,
    next: u64,
}

impl World {
    /// Microseconds since the world began.
    pub(super) fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    /// Milliseconds since the world began.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_us() / 1_000
    }

    /// Waits until `at_us`; at once when it has passed, for ever at `u64::MAX`. May be cancelled.
    pub(super) fn sleep_until(&self, at_us: u64) -> Sleep<'_> {
        Sleep { world: self, at_us, timer: None }
    }

    /// Waits for so long. May be cancelled.
    pub(super) fn sleep(&self, us: u64) -> Sleep<'_> {
        self.sleep_until(self.now_us().saturating_add(us))
    }

    /// Jumps to the next timer somebody still waits for; false when none is left before `end_us`.
    fn advance(&self, end_us: u64) -> bool {
        let mut timers = self.timers.borrow_mut();
        while let Some(&Reverse((at_us, number, slot))) = timers.heap.peek() {
            if at_us > end_us {
                return false;
            }
            timers.heap.pop();
            // Another number: whoever set this one has gone, and the slot is another's.
            let waker = timers.slots.get_mut(slot).filter(|slot| slot.0 == number);
            if let Some(waker) = waker.and_then(|slot| slot.1.take()) {
                self.now_us.set(at_us);
                drop(timers);
                waker.wake();
                return true;
            }
        }
        false
    }
}

/// A wait in virtual time.
#[derive(Debug)]
pub(super) struct Sleep<'a> {
    world: &'a World,
    at_us: u64,
    timer: Option<(u64, usize)>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.world.now_us() >= self.at_us {
            return Poll::Ready(());
        }
        if self.at_us == u64::MAX {
            return Poll::Pending;
        }
        let mut timers = self.world.timers.borrow_mut();
        if let Some((_, slot)) = self.timer {
            // A task is polled for each of its waits, and most of them have its waker already.
            match &mut timers.slots[slot].1 {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        let waker = Some(context.waker().clone());
        timers.next += 1;
        let number = timers.next;
        let slot = timers.free.pop().unwrap_or(timers.slots.len());
        match timers.slots.get_mut(slot) {
            Some(free) => *free = (number, waker),
            None => timers.slots.push((number, waker)),
        }
        timers.heap.push(Reverse((self.at_us, number, slot)));
        drop(timers);
        self.timer = Some((number, slot));
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some((_, slot)) = self.timer {
            let mut timers = self.world.timers.borrow_mut();
            timers.slots[slot] = (0, None);
            timers.free.push(slot);
        }
    }
}

type Ready = Arc<Mutex<VecDeque<usize>>>;

/// Puts its task among those that can go on; once, however often it is woken before that.
struct TaskWaker {
    index: usize,
    queued: AtomicBool,
    ready: Ready,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.index);
        }
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    // Kept: one made anew for every poll would look like another task, and be woken for it.
    waker: Waker,
    woken: Arc<TaskWaker>,
}

/// Runs tasks in a world.
pub(super) struct Executor {
    pub(super) world: Rc<World>,
    tasks: Vec<Option<Task>>,
    ready: Ready,
    /// Those that are polled now. Empty between two rounds.
    taken: VecDeque<usize>,
}

impl Executor {
    pub(super) fn new() -> Self {
        Self { world: Rc::default(), tasks: Vec::new(), ready: Arc::default(), taken: VecDeque::new() }
    }

    pub(super) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        let index = self.tasks.len();
        let woken =
            Arc::new(TaskWaker { index, queued: AtomicBool::new(false), ready: Arc::clone(&self.ready) });
        woken.wake_by_ref();
        let waker = Waker::from(Arc::clone(&woken));
        self.tasks.push(Some(Task { future: Box::pin(future), waker, woken }));
    }

    /// Wakes every task: for what all of them look at and none waits for.
    pub(super) fn wake_all(&self) {
        self.tasks.iter().flatten().for_each(|task| task.woken.wake_by_ref());
    }

    /// Lets the world go on until `end_us`.
    pub(super) fn run_until(&mut self, end_us: u64) {
        loop {
            while self.take_ready() {
                while let Some(index) = self.taken.pop_front() {
                    let Some(task) = &mut self.tasks[index] else { continue };
                    task.woken.queued.store(false, Ordering::Relaxed);
                    if task.future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_ready() {
                        self.tasks[index] = None;
                    }
                }
            }
            if !self.world.advance(end_us) {
                self.world.now_us.set(end_us);
                return;
            }
        }
    }

    /// Takes all that can go on; false when nobody can. Whoever is woken by them comes after them.
    fn take_ready(&mut self) -> bool {
        std::mem::swap(&mut self.taken, &mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner));
        !self.taken.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_ring_in_their_order_and_cancelled_ones_never() {
        let mut executor = Executor::new();
        let heard = Rc::new(RefCell::new(Vec::new()));
        for (name, at_us) in [("late", 30), ("first", 10), ("second", 10), ("never", u64::MAX)] {
            let (world, heard) = (executor.world.clone(), heard.clone());
            executor.spawn(async move {
                world.sleep_until(at_us).await;
                heard.borrow_mut().push((name, world.now_us()));
            });
        }
        let (world, cancelled) = (executor.world.clone(), heard.clone());
        executor.spawn(async move {
            let mut given_up = Box::pin(world.sleep_until(20));
            std::future::poll_fn(|context| {
                assert!(given_up.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
            drop(given_up);
            world.sleep(25).await;
            cancelled.borrow_mut().push(("slot used again", world.now_us()));
        });
        executor.run_until(20);
        assert_eq!(*heard.borrow(), [("first", 10), ("second", 10)]);
        assert_eq!(executor.world.now_us(), 20, "the world stands where it was told to");
        executor.run_until(1_000);
        assert_eq!(heard.borrow()[2..], [("slot used again", 25), ("late", 30)]);
    }
}
