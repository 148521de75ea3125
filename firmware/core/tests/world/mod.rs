//! A world in virtual time: an executor, timers, wires that lose bytes. One thread, deterministic per seed.

use embedded_io_async::{ErrorType, Read, Write};
use headwater_device::Clock;
use headwater_device::testing::Rng;
use headwater_telemetry::Uptime;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

type Task = Pin<Box<dyn Future<Output = ()>>>;

struct TaskWaker {
    index: usize,
    ready: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap().push_back(self.index);
    }
}

/// Time in microseconds, and who waits for it.
#[derive(Default)]
pub(crate) struct World {
    now_us: Cell<u64>,
    timers: RefCell<BinaryHeap<Reverse<(u64, u64)>>>,
    wakers: RefCell<BTreeMap<u64, Waker>>,
    next_id: Cell<u64>,
}

impl World {
    pub(crate) fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    pub(crate) async fn sleep_until(&self, at_us: u64) {
        struct Guard<'a>(&'a World, u64);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.0.wakers.borrow_mut().remove(&self.1);
            }
        }
        if at_us <= self.now_us.get() {
            return;
        }
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        if at_us != u64::MAX {
            self.timers.borrow_mut().push(Reverse((at_us, id)));
        }
        let _guard = Guard(self, id);
        poll_fn(|context| {
            if self.now_us.get() >= at_us {
                return Poll::Ready(());
            }
            self.wakers.borrow_mut().insert(id, context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Jumps to the next timer somebody still waits for; false when none is left before `end_us`.
    fn advance(&self, end_us: u64) -> bool {
        loop {
            let next = self.timers.borrow().peek().copied();
            let Some(Reverse((at_us, id))) = next.filter(|Reverse((at_us, _))| *at_us <= end_us) else {
                return false;
            };
            self.timers.borrow_mut().pop();
            let waker = self.wakers.borrow_mut().remove(&id);
            if let Some(waker) = waker {
                self.now_us.set(at_us);
                waker.wake();
                return true;
            }
        }
    }
}

/// Runs tasks in a world.
pub(crate) struct Executor {
    pub(crate) world: Rc<World>,
    /// Each with its own waker: one made anew for every poll would look like another task and be woken for it.
    tasks: Vec<Option<(Task, Waker)>>,
    ready: Arc<Mutex<VecDeque<usize>>>,
}

impl Executor {
    pub(crate) fn new() -> Self {
        Self { world: Rc::default(), tasks: Vec::new(), ready: Arc::default() }
    }

    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + 'static) {
        let index = self.tasks.len();
        self.ready.lock().unwrap().push_back(index);
        let waker = Arc::new(TaskWaker { index, ready: self.ready.clone() }).into();
        self.tasks.push(Some((Box::pin(task), waker)));
    }

    pub(crate) fn run_until(&mut self, end_us: u64) {
        loop {
            loop {
                let next = self.ready.lock().unwrap().pop_front();
                let Some(index) = next else { break };
                let Some((task, waker)) = &mut self.tasks[index] else { continue };
                if task.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
                    self.tasks[index] = None;
                }
            }
            if !self.world.advance(end_us) {
                self.world.now_us.set(end_us);
                return;
            }
        }
    }
}

/// A device's clock: starts at its boot, runs wrong by some parts per million.
pub(crate) struct SkewedClock {
    pub(crate) world: Rc<World>,
    pub(crate) boot_us: u64,
    pub(crate) ppm: i64,
}

impl Clock for SkewedClock {
    fn now(&self) -> Uptime {
        let us = i64::try_from(self.world.now_us() - self.boot_us).unwrap();
        Uptime(u64::try_from(us + us / 1_000_000 * self.ppm).unwrap() / 1_000)
    }

    async fn sleep_until(&self, at: Uptime) {
        if at.0 == u64::MAX {
            return std::future::pending().await;
        }
        while self.now() < at {
            let missing_us = (at.0 - self.now().0) * 1_000;
            self.world.sleep_until(self.world.now_us() + missing_us).await;
        }
    }
}

/// How bad a wire is; 0 is never.
#[derive(Clone, Copy, Default)]
pub(crate) struct Noise {
    pub(crate) lost_1_in: u64,
    pub(crate) flipped_1_in: u64,
}

/// One direction of a serial line.
#[derive(Default)]
struct Wire {
    bytes: RefCell<VecDeque<u8>>,
    reader: RefCell<Option<Waker>>,
}

/// One end of a serial line.
#[derive(Clone)]
pub(crate) struct End {
    rx: Rc<Wire>,
    tx: Rc<Wire>,
    rng: Rc<RefCell<Rng>>,
    pub(crate) noise: Rc<Cell<Noise>>,
    /// The cable is out: what is written is lost.
    pub(crate) cut: Rc<Cell<bool>>,
}

/// A serial line: the device's end and the agent's.
pub(crate) fn line(seed: u64) -> (End, End) {
    let (up, down) = (Rc::new(Wire::default()), Rc::new(Wire::default()));
    let rng = Rc::new(RefCell::new(Rng::new(seed)));
    let device = End { rx: down.clone(), tx: up.clone(), rng, noise: Rc::default(), cut: Rc::default() };
    let agent = End { rx: up, tx: down, ..device.clone() };
    (device, agent)
}

impl End {
    /// What is in the wire towards this end is gone.
    pub(crate) fn clear(&self) {
        self.rx.bytes.borrow_mut().clear();
    }
}

impl ErrorType for End {
    type Error = Infallible;
}

impl Read for End {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|context| {
            let mut bytes = self.rx.bytes.borrow_mut();
            if bytes.is_empty() {
                *self.rx.reader.borrow_mut() = Some(context.waker().clone());
                return Poll::Pending;
            }
            let len = bytes.len().min(buf.len());
            for (slot, byte) in buf.iter_mut().zip(bytes.drain(..len)) {
                *slot = byte;
            }
            Poll::Ready(Ok(len))
        })
        .await
    }
}

impl Write for End {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        let (mut rng, noise) = (self.rng.borrow_mut(), self.noise.get());
        for &byte in buf {
            if self.cut.get() || rng.chance(noise.lost_1_in) {
                continue;
            }
            let flip = if rng.chance(noise.flipped_1_in) { 1 << rng.below(8) } else { 0 };
            self.tx.bytes.borrow_mut().push_back(byte ^ flip);
        }
        if let Some(waker) = self.tx.reader.borrow_mut().take() {
            waker.wake();
        }
        Ok(buf.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
