//! Time of the machine: the tick counter and its alarm, for embassy-time, the device and the watchdog.
//!
//! In: timer interrupts. Out: woken tasks, uptime, a reset when nobody said for too long that the program is alive.
//! Invariant: an alarm is never set later than the first waiter or the watchdog wants. Not here: who is alive (main).
//!
//! The machine has no watchdog of its own. This one is a deadline that the timer interrupt looks at: it ends a program that
//! loops or waits for ever, but not one that loops with interrupts off, as a real watchdog would.

use crate::machine::{ALARM, TIME, reset};
use core::cell::RefCell;
use core::task::Waker;
use critical_section::{CriticalSection, Mutex};
use embassy_time::{Instant, Timer};
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;
use headwater_device::Clock;
use headwater_device::limits::ALIVE_MS;
use headwater_telemetry::{ResetReason, Uptime};

/// Four times as long as sampling may be silent.
const WATCHDOG_TICKS: u64 = 4 * ALIVE_MS * TICK_HZ / 1000;

struct Waiting {
    queue: Queue,
    deadline: u64,
}

struct Ticks(Mutex<RefCell<Waiting>>);

embassy_time_driver::time_driver_impl!(
    static TICKS: Ticks = Ticks(Mutex::new(RefCell::new(Waiting { queue: Queue::new(), deadline: u64::MAX })))
);

impl Driver for Ticks {
    fn now(&self) -> u64 {
        let [low, high] = &TIME;
        loop {
            let before = high.read();
            let ticks = u64::from(before) << 32 | u64::from(low.read());
            // Else the lower half overflowed in between.
            if before == high.read() {
                return ticks;
            }
        }
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|section| {
            if self.0.borrow(section).borrow_mut().queue.schedule_wake(at, waker) {
                self.set_alarm(section);
            }
        });
    }
}

impl Ticks {
    /// Wakes who is due and sets the alarm for the next one.
    fn set_alarm(&self, section: CriticalSection<'_>) {
        let mut waiting = self.0.borrow(section).borrow_mut();
        let next = waiting.queue.next_expiration(self.now()).min(waiting.deadline);
        let [low, high] = &ALARM;
        let [next_low, next_high] =
            [next & u64::from(u32::MAX), next >> 32].map(|half| u32::try_from(half).unwrap_or(u32::MAX));
        // Between the writes the alarm must not be in the past by chance.
        high.write(u32::MAX);
        low.write(next_low);
        high.write(next_high);
    }
}

/// Called by the timer interrupt.
#[riscv_rt::core_interrupt(riscv::interrupt::Interrupt::MachineTimer)]
fn on_alarm() {
    critical_section::with(|section| {
        if TICKS.now() >= TICKS.0.borrow(section).borrow().deadline {
            reset(ResetReason::Watchdog);
        }
        TICKS.set_alarm(section);
    });
}

/// The program is alive; the first call starts the watchdog.
pub(crate) fn feed_watchdog() {
    critical_section::with(|section| {
        TICKS.0.borrow(section).borrow_mut().deadline = TICKS.now() + WATCHDOG_TICKS;
        TICKS.set_alarm(section);
    });
}

/// Uptime for the device.
#[derive(Clone, Copy)]
pub(crate) struct BoardClock;

impl Clock for BoardClock {
    fn now(&self) -> Uptime {
        Uptime(Instant::now().as_millis())
    }

    async fn sleep_until(&self, at: Uptime) {
        if at.0 == u64::MAX {
            core::future::pending::<()>().await;
        }
        Timer::at(Instant::from_millis(at.0)).await;
    }
}
