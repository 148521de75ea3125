//! What a session is told and what it gives.

use crate::devices::Places;
use headwater_telemetry::{DeviceId, Hello, TimeQuality};

/// The two clocks a session is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Monotonic milliseconds of this process.
    pub(crate) mono_ms: u64,
    /// UTC milliseconds of the host, right or wrong.
    pub(crate) utc_ms: u64,
    /// What the host knows of its UTC.
    pub(crate) quality: TimeQuality,
}

/// Something to spool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    /// A birth: spooled when it is news.
    Hello { hello: Box<Hello>, body: Vec<u8> },
    /// A batch. `is_clean`: no frame was damaged since the Hello.
    Batch { device: DeviceId, places: Places, gaps: u64, body: Vec<u8>, is_clean: bool },
    /// A line for people.
    Log { device: DeviceId, body: Vec<u8> },
    /// What became of a command.
    Result { device: DeviceId, body: Vec<u8> },
}
