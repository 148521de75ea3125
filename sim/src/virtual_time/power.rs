//! What a power supply and a crystal decide: whether flash works, and how fast time goes.
//!
//! In: a flash model, a skew, the world. Out: what the device core sees. Invariant: when the power goes inside a write, that
//! write never returns, as on a real chip; the device is then dropped where it stands.

use super::world::World;
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, signal::Signal};
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use headwater_device::Clock;
use headwater_device::testing::{FlashFault, FlashModel};
use headwater_telemetry::Uptime;
use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;

/// Rings once.
pub(super) type Bell = Signal<NoopRawMutex, ()>;

/// The chip of a device that can lose power.
#[derive(Clone)]
pub(super) struct Flash<const PAGE: usize, const WORD: usize> {
    pub(super) chip: Rc<RefCell<FlashModel<PAGE, WORD>>>,
    pub(super) dead: Rc<Bell>,
}

impl<const PAGE: usize, const WORD: usize> Flash<PAGE, WORD> {
    async fn survive(&self, result: Result<(), FlashFault>) -> Result<(), FlashFault> {
        if result == Err(FlashFault::PowerCut) {
            self.dead.signal(());
            return pending().await;
        }
        result
    }
}

impl<const PAGE: usize, const WORD: usize> ErrorType for Flash<PAGE, WORD> {
    type Error = FlashFault;
}

impl<const PAGE: usize, const WORD: usize> ReadNorFlash for Flash<PAGE, WORD> {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), FlashFault> {
        let result = self.chip.borrow().read_now(offset, out);
        self.survive(result).await
    }

    fn capacity(&self) -> usize {
        self.chip.borrow().size_bytes()
    }
}

impl<const PAGE: usize, const WORD: usize> NorFlash for Flash<PAGE, WORD> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashFault> {
        let result = self.chip.borrow_mut().erase_now(from, to);
        self.survive(result).await
    }

    async fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), FlashFault> {
        let result = self.chip.borrow_mut().write_now(offset, data);
        self.survive(result).await
    }
}

/// Uptime since this boot, running wrong by some parts per million.
#[derive(Debug, Clone)]
pub(super) struct SkewedClock {
    world: Rc<World>,
    boot_us: u64,
    ppm: i64,
}

impl SkewedClock {
    pub(super) fn start(world: Rc<World>, ppm: i64) -> Self {
        let boot_us = world.now_us();
        Self { world, boot_us, ppm }
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Uptime {
        // Even a clock that is wrong by a tenth runs for a thousand days before this overflows.
        let us = i64::try_from(self.world.now_us() - self.boot_us).unwrap_or(0);
        let skewed = us + us * self.ppm / 1_000_000;
        Uptime(u64::try_from(skewed / 1_000).unwrap_or(0))
    }

    async fn sleep_until(&self, at: Uptime) {
        if at.0 == u64::MAX {
            return pending().await;
        }
        loop {
            let missing_ms = at.0.saturating_sub(self.now().0);
            if missing_ms == 0 {
                return;
            }
            self.world.sleep(missing_ms.saturating_mul(1_000)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::Executor;
    use super::*;

    #[test]
    fn a_wrong_clock_is_as_wrong_as_told_and_never_goes_back() {
        let mut executor = Executor::new();
        let clocks = [-33, 0, 50].map(|ppm| SkewedClock::start(executor.world.clone(), ppm));
        let mut before = [0; 3];
        // Every microsecond around the ends of seconds, where rounding shows.
        for second in 1..=70 {
            for us in second * 1_000_000 - 60..second * 1_000_000 + 60 {
                executor.run_until(us);
                let now = [0, 1, 2].map(|clock: usize| clocks[clock].now().0);
                assert!(now.iter().zip(&before).all(|(now, before)| now >= before), "{now:?} at {us} us");
                before = now;
            }
        }
        executor.run_until(1_000_000_000);
        assert_eq!(clocks.map(|clock| clock.now().0), [999_967, 1_000_000, 1_000_050]);
    }
}
