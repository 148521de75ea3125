//! The clocks of the host, in one place: everything below the shells is told the time.

use crate::link::session::Now;
use headwater_telemetry::TimeQuality;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Reads the host's clocks.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    origin: Instant,
    /// Where UTC comes from; none: the system.
    #[cfg(feature = "simulation")]
    utc: Option<crate::simulation::Utc>,
    is_synchronised: Arc<AtomicBool>,
}

impl Clock {
    /// Nobody vouches for its UTC yet.
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
            #[cfg(feature = "simulation")]
            utc: None,
            is_synchronised: Arc::default(),
        }
    }

    /// A host whose UTC is what `utc` says.
    #[cfg(feature = "simulation")]
    pub(crate) fn start_with(utc: crate::simulation::Utc) -> Self {
        Self { utc: Some(utc), ..Self::start() }
    }

    /// Notes whether something keeps its UTC right; returns what was noted before.
    pub(crate) fn set_synchronised(&self, is_synchronised: bool) -> bool {
        self.is_synchronised.swap(is_synchronised, Ordering::Relaxed)
    }

    /// Monotonic milliseconds since the start of the agent.
    pub(crate) fn mono_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// UTC milliseconds since 1970; 0 when the host stands before.
    pub(crate) fn utc_ms(&self) -> u64 {
        #[cfg(feature = "simulation")]
        if let Some(utc) = &self.utc {
            return (utc.0)();
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn now(&self) -> Now {
        let quality = match self.is_synchronised.load(Ordering::Relaxed) {
            true => TimeQuality::Synced,
            false => TimeQuality::Estimated,
        };
        Now { mono_ms: self.mono_ms(), utc_ms: self.utc_ms(), quality }
    }

    /// The moment at which [`Clock::mono_ms`] reaches `mono_ms`.
    pub(crate) fn instant_at(&self, mono_ms: u64) -> Instant {
        self.origin + std::time::Duration::from_millis(mono_ms)
    }
}
