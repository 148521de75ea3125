//! Uptime for the device: the microsecond timer behind embassy-time.
//!
//! Not here: the time of day, which the link brings.

use embassy_time::{Instant, Timer};
use headwater_device::Clock;
use headwater_telemetry::Uptime;

/// The board's clock.
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
