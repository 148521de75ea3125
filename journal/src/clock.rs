//! Where the threads of a journal get the time from. Everything else is told it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::limits::CLOCK_ASKED_EVERY_MS;

/// systemd-timesyncd makes this file at its first synchronisation after the start of the host (systemd-timesyncd.service(8)).
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";

/// What the clocks of a machine say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970, as the machine believes. It may be wrong, and it may jump.
    pub wall_ms: u64,
    /// Milliseconds that went by since some moment of this life, as a clock has it that nobody sets. Never less than before.
    pub uptime_ms: u64,
    /// Somebody vouches for `wall_ms`: the system keeps it right.
    pub is_certain: bool,
}

impl Moment {
    /// `now_ms` since 1970, beyond doubt: for whoever makes the time himself.
    #[must_use]
    pub fn certain(now_ms: u64) -> Self {
        Self { wall_ms: now_ms, uptime_ms: now_ms, is_certain: true }
    }
}

/// Gives the current time: what records are compared with to know whether they are too old.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Machine,
    Told(Arc<dyn Fn() -> Moment + Send + Sync>),
}

impl Clock {
    /// A clock of the opener's making that is always right and never jumps: the one that it stamps its appends with, in ms since 1970.
    /// Called from the journal's threads, once a second.
    pub fn new(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self::of(move || Moment::certain(now_ms()))
    }

    /// A clock of the opener's making that may be wrong.
    pub fn of(moment: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Self(Source::Told(Arc::new(moment)))
    }

    /// The machine's clocks. Its time since 1970 is certain once systemd-timesyncd has set it after the start of the host, or once
    /// [`vouch`] was called.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::Machine)
    }

    /// What the clocks say now.
    #[must_use]
    pub fn moment(&self) -> Moment {
        match &self.0 {
            Source::Machine => {
                let uptime_ms = uptime_ms();
                Moment { wall_ms: wall_ms(), uptime_ms, is_certain: MACHINE.is_certain(uptime_ms) }
            }
            Source::Told(moment) => moment(),
        }
    }

    /// The current time in ms since 1970. Asked with every append: reads one clock, and nobody about it.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Source::Machine => wall_ms(),
            Source::Told(moment) => moment().wall_ms,
        }
    }

    /// A clock that goes on from `told_ms` as the machine's monotonic clock does.
    pub(crate) fn going_on(told_ms: u64) -> Self {
        let begun = Instant::now();
        Self::new(move || told_ms.saturating_add(ms(begun.elapsed())))
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Clock").field(&self.now_ms()).finish()
    }
}

static MACHINE: Vouched = Vouched { is_certain: AtomicBool::new(false), asked_ms: AtomicU64::new(0) };

/// Says that something keeps this machine's time since 1970 right: for a host that knows it from somewhere else than timesyncd.
/// Holds for the rest of this process.
pub fn vouch() {
    MACHINE.is_certain.store(true, Ordering::Relaxed);
}

/// Whether the time of the machine is known to be right, and when that was looked for last.
struct Vouched {
    is_certain: AtomicBool,
    asked_ms: AtomicU64,
}

impl Vouched {
    fn is_certain(&self, uptime_ms: u64) -> bool {
        if self.is_certain.load(Ordering::Relaxed) {
            return true;
        }
        // Asked for seldom: readers ask for the time with every page.
        let asked_ms = self.asked_ms.load(Ordering::Relaxed);
        if asked_ms > 0 && uptime_ms.saturating_sub(asked_ms) < CLOCK_ASKED_EVERY_MS {
            return false;
        }
        self.asked_ms.store(uptime_ms.max(1), Ordering::Relaxed);
        self.is_certain.fetch_or(Path::new(TIMESYNCD).exists(), Ordering::Relaxed);
        self.is_certain.load(Ordering::Relaxed)
    }
}

/// Milliseconds since the machine was switched on; goes on while it sleeps.
fn uptime_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0).saturating_mul(1_000).saturating_add(nanos.unwrap_or(0) / 1_000_000)
}

fn wall_ms() -> u64 {
    ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
