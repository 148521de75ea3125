//! Every bound of the sensors, each with its reason.

/// Milliseconds for which the values of one measurement are handed out to the other channels of the same chip. Channels
/// that are due in the same turn are read within it; two turns of one channel are further apart or measured anew.
pub const FRESH_MS: u64 = 100;

/// Milliseconds that one measurement may block the executor (the BME280 waits 40 and some). Meanwhile a peer sends an ack,
/// an answer or a command, at most 330 bytes, which the receive buffer of a board holds; and sampling is late by as much.
pub const BLOCKING_MS_MAX: u32 = 60;

/// Measurements in a row without an answer after which a chip counts as failing and people are told. One that was read
/// while it was busy, or a disturbed wire, is not news.
pub const FAULTS_TOLD: u8 = 3;

/// Milliseconds between two looks at a converter that is busy.
#[cfg(feature = "ads1115")]
pub(crate) const CONVERSION_LOOK_MS: u32 = 1;

/// Looks at a converter before it is given up. Setting it up begins a conversion at its slowest usual rate, 8 ms, which is
/// to be waited for; at 860 a second the others take 1.2 ms, all with 10 % tolerance.
#[cfg(feature = "ads1115")]
pub(crate) const CONVERSION_LOOKS_MAX: u32 = 12;

#[cfg(feature = "ads1115")]
const _: () = assert!(4 * CONVERSION_LOOKS_MAX * CONVERSION_LOOK_MS <= BLOCKING_MS_MAX);
