//! What time it is: the wall's clock, which may be wrong and may jump, and the time since some start, which does neither.
//!
//! Everything that decides takes a [`Now`]; only [`Clock`] reads one. Invariant: `uptime` never goes back.
//! Not here: how wrong the wall's clock is (skew).

use crate::timestamp::Timestamp;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The machine's idea of the time: 1970 on a board that has no battery and no network yet.
    pub wall: Timestamp,
    /// Time since a fixed moment of this process; never goes back.
    pub uptime: Duration,
}

/// Where [`Now`] comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Now + Send + Sync>);

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Clock::new(|| {
            // A clock before 1970 is one that nobody has set.
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let wall = Timestamp::from_ms(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
            Now { wall, uptime: START.elapsed() }
        })
    }

    /// Any other: a test's, or one that is ahead or behind.
    #[must_use]
    pub fn new(read: impl Fn() -> Now + Send + Sync + 'static) -> Self {
        Clock(Arc::new(read))
    }

    /// Reads both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
