//! A machine of the world: a runtime of one thread, whose time stands until the world moves it.
//!
//! In: ticks. Out: what its tasks do. Invariants: nothing on it runs outside of a tick; its time is the world's; what a kill ends, ends in
//! the middle of whatever it does. Not here: disks and clocks on the wall, which outlive a kill.

use std::future::Future;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

/// A running machine. Dropping it is pulling the plug: every task on it is gone.
#[derive(Debug)]
pub struct Host(Runtime);

impl Host {
    /// Starts a machine on which nothing runs yet.
    ///
    /// # Panics
    /// The system gives no runtime, which needs a file descriptor at most.
    #[must_use]
    pub fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        Self(runtime.expect("a runtime of one thread without sockets"))
    }

    /// Where tasks are put onto it. They begin with the next tick.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.0.handle()
    }

    /// Lets it run for so many virtual ms.
    pub fn tick(&self, ms: u64) {
        self.0.block_on(async { tokio::time::sleep(Duration::from_millis(ms)).await });
    }

    /// Runs something to its end on it; its time goes on as far as that needs. Only before the world begins or after it has ended.
    pub fn run<T>(&self, what: impl Future<Output = T>) -> T {
        self.0.block_on(what)
    }
}
