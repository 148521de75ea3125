//! The two things that a power supply and a crystal decide: whether flash works, and how fast time goes.
//!
//! In: a flash model, a skew. Out: what the device core sees. Invariant: when the power goes inside a write, that
//! write never returns, as on a real chip; the device is then dropped where it stands.

use headwater_device::Clock;
use headwater_device::testing::{FlashFault, FlashModel};
use headwater_telemetry::Uptime;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, sleep};

/// 4 KiB pages and 4-byte words, as on most small chips.
pub(super) type Chip = FlashModel<4096, 4>;
pub(super) const PAGE: u32 = 4096;

/// The chip of a device that can lose power.
#[derive(Clone)]
pub(super) struct Flash {
    pub(super) chip: Rc<RefCell<Chip>>,
    pub(super) gone: Rc<Notify>,
}

impl Flash {
    /// The result, unless it is the end of power: then nothing ever again.
    async fn survive<T>(&self, result: Result<T, FlashFault>) -> Result<T, FlashFault> {
        if matches!(result, Err(FlashFault::PowerCut)) {
            self.gone.notify_one();
            return std::future::pending().await;
        }
        result
    }
}

impl embedded_storage_async::nor_flash::ErrorType for Flash {
    type Error = FlashFault;
}

impl embedded_storage_async::nor_flash::ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;
    async fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), FlashFault> {
        let result = self.chip.borrow().read_now(offset, out);
        self.survive(result).await
    }
    fn capacity(&self) -> usize {
        self.chip.borrow().size_bytes()
    }
}

impl embedded_storage_async::nor_flash::NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE as usize;
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
pub(super) struct SkewedClock {
    started: Instant,
    ppm: i64,
}

impl SkewedClock {
    pub(super) fn start(ppm: i64) -> Self {
        Self { started: Instant::now(), ppm }
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Uptime {
        let us = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX / 2);
        let skewed = us + us / 1_000_000 * self.ppm;
        Uptime(u64::try_from(skewed / 1_000).unwrap_or(0))
    }

    async fn sleep_until(&self, at: Uptime) {
        if at.0 == u64::MAX {
            return std::future::pending().await;
        }
        loop {
            let missing = at.0.saturating_sub(self.now().0);
            if missing == 0 {
                return;
            }
            sleep(Duration::from_millis(missing)).await;
        }
    }
}
