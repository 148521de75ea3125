//! Time of the machine: SysTick a thousand times a second, for embassy-time and the device; and an executor that sleeps.
//!
//! In: ticks. Out: woken tasks, uptime. Invariant: nobody is woken late by more than a tick. Not here: the watchdog (`machine`).
//!
//! The executor is a loop of our own because QEMU takes WFE, which embassy's waits with, for nothing to wait for, and would
//! spin a core of the host; WFI with interrupts masked sleeps.

use crate::machine::CORE_HZ;
use core::cell::RefCell;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use critical_section::Mutex;
use embassy_executor::{Spawner, raw};
use embassy_time::{Instant, Timer};
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;
use headwater_device::Clock;
use headwater_telemetry::Uptime;
use static_cell::StaticCell;

struct Waiting {
    now: u64,
    queue: Queue,
    next: u64,
}

struct Ticks(Mutex<RefCell<Waiting>>);

embassy_time_driver::time_driver_impl!(
    static TICKS: Ticks = Ticks(Mutex::new(RefCell::new(Waiting { now: 0, queue: Queue::new(), next: u64::MAX })))
);

impl Driver for Ticks {
    fn now(&self) -> u64 {
        critical_section::with(|section| self.0.borrow(section).borrow().now)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|section| {
            let mut waiting = self.0.borrow(section).borrow_mut();
            if waiting.queue.schedule_wake(at, waker) {
                let now = waiting.now;
                waiting.next = waiting.queue.next_expiration(now);
            }
        });
    }
}

/// Starts the ticks.
pub(crate) fn start(mut timer: cortex_m::peripheral::SYST) {
    timer.set_clock_source(cortex_m::peripheral::syst::SystClkSource::Core);
    timer.set_reload(CORE_HZ / 1_000 - 1);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
}

#[cortex_m_rt::exception]
fn SysTick() {
    critical_section::with(|section| {
        let mut waiting = TICKS.0.borrow(section).borrow_mut();
        waiting.now += 1;
        if waiting.now >= waiting.next {
            let now = waiting.now;
            waiting.next = waiting.queue.next_expiration(now);
        }
    });
}

static WOKEN: AtomicBool = AtomicBool::new(false);

/// Called by embassy when a task is to be polled.
#[unsafe(export_name = "__pender")]
#[expect(unsafe_code, reason = "the name that embassy calls")]
fn wake(_: *mut ()) {
    WOKEN.store(true, Ordering::Release);
}

/// Runs tasks for ever.
pub(crate) fn run(begin: impl FnOnce(Spawner)) -> ! {
    static EXECUTOR: StaticCell<raw::Executor> = StaticCell::new();
    let executor = EXECUTOR.init(raw::Executor::new(core::ptr::null_mut()));
    begin(executor.spawner());
    loop {
        WOKEN.store(false, Ordering::Release);
        // SAFETY: the only caller, in the only thread.
        #[expect(unsafe_code, reason = "must not be called twice at once")]
        unsafe {
            executor.poll();
        }
        cortex_m::interrupt::disable();
        if !WOKEN.load(Ordering::Acquire) {
            // An interrupt ends it although it is masked, and is served just below.
            cortex_m::asm::wfi();
        }
        // SAFETY: no critical section is open here.
        #[expect(unsafe_code, reason = "interrupts may break critical sections")]
        unsafe {
            cortex_m::interrupt::enable();
        }
    }
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
