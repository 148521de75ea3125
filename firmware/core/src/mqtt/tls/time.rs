//! The time that a device has learned, for the dates of certificates.
//!
//! In: answers of the gateway, uptimes. Out: seconds since 1970. Not here: the time of readings (`time`).

use core::sync::atomic::{AtomicU32, Ordering};
use embedded_tls::TlsClock;
use headwater_telemetry::{TimeQuality, Uptime, UtcTime};

/// UTC at uptime 0, in seconds; 0 for unknown.
static EPOCH_SECS: AtomicU32 = AtomicU32::new(0);
/// The uptime of the last handshake's beginning, in seconds.
static UPTIME_SECS: AtomicU32 = AtomicU32::new(0);

/// What the gateway told in this boot, carried on by the device's own clock; nothing before that. One for the whole
/// program, because embedded-tls asks a type: a program is one device.
#[derive(Clone, Copy, Debug)]
pub struct LearnedTime;

impl LearnedTime {
    /// A gateway said at `now` that it is `utc`. One that is not sure itself is not believed: after a wrong date no
    /// certificate would be good any more, in this boot.
    pub(crate) fn handle_answer(now: Uptime, utc: UtcTime) {
        if utc.quality != TimeQuality::Synced {
            return;
        }
        let epoch = u32::try_from(utc.at.0.saturating_sub(now.0) / 1_000).unwrap_or(0);
        EPOCH_SECS.store(epoch, Ordering::Relaxed);
    }

    /// A connection begins at `now`.
    pub(crate) fn handle_dial(now: Uptime) {
        UPTIME_SECS.store(u32::try_from(now.0 / 1_000).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

impl TlsClock for LearnedTime {
    fn now() -> Option<u64> {
        let epoch = Some(EPOCH_SECS.load(Ordering::Relaxed)).filter(|&epoch| epoch > 0)?;
        Some(u64::from(epoch) + u64::from(UPTIME_SECS.load(Ordering::Relaxed)))
    }
}
