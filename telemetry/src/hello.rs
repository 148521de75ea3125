//! The birth of a boot: who the device is and what its channels mean.
//!
//! In: identity and channel table. Out: [`Hello`], the first message on every connection and the retained birth over
//! MQTT. Invariant: equal channel tables have equal [`Schema`]s on every device and version.

use crate::limits::{CHANNEL_NAME_BYTES_MAX, CHANNELS_MAX, FIRMWARE_BYTES_MAX, UNIT_BYTES_MAX, WIRE_VERSION};
use crate::{BootId, Channel, ChannelId, DeviceId, Schema, value::truncated};
use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

/// Why a device started. Grows only at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResetReason {
    /// The board cannot tell.
    #[default]
    Unknown,
    /// Power came on.
    Power,
    /// The supply dipped.
    BrownOut,
    /// The watchdog fired.
    Watchdog,
    /// The firmware panicked.
    Panic,
    /// Asked for: by a button, a command or an update.
    Requested,
}

/// First message of a device on every connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`WIRE_VERSION`] of the device.
    pub wire: u8,
    /// Who.
    pub device: DeviceId,
    /// The running boot. Batches of earlier boots may still follow.
    pub boot: BootId,
    /// Name and version of the firmware.
    pub firmware: String<FIRMWARE_BYTES_MAX>,
    /// Why this boot began.
    pub reset: ResetReason,
    /// Checksum of `channels`; see [`schema_of`].
    pub schema: Schema,
    /// The channel table; [`Reading::channel`](crate::Reading::channel) is its index.
    pub channels: Vec<Channel, CHANNELS_MAX>,
}

impl Hello {
    /// A hello of this wire version. `firmware` is cut at 24 bytes.
    pub fn new(
        device: DeviceId,
        boot: BootId,
        firmware: &str,
        reset: ResetReason,
        channels: Vec<Channel, CHANNELS_MAX>,
    ) -> Self {
        let schema = schema_of(&channels);
        Self { wire: WIRE_VERSION, device, boot, firmware: truncated(firmware), reset, schema, channels }
    }

    /// The description of a channel.
    pub fn channel(&self, id: ChannelId) -> Option<&Channel> {
        self.channels.get(usize::from(id.0))
    }
}

/// Names a channel table: CRC-16/IBM-3740 of its encoding.
pub fn schema_of(channels: &Vec<Channel, CHANNELS_MAX>) -> Schema {
    let mut digest = SCHEMA_CRC.digest();
    digest.update(&[u8::try_from(channels.len()).unwrap_or(u8::MAX)]);
    for channel in channels {
        let mut scratch = [0u8; CHANNEL_BYTES_MAX];
        let encoded =
            postcard::to_slice(channel, &mut scratch).expect("the scratch has a channel's largest size");
        digest.update(encoded);
    }
    Schema(digest.finalize())
}

/// Largest encoding of one channel: two strings with their lengths, kind, exponent.
const CHANNEL_BYTES_MAX: usize = 1 + CHANNEL_NAME_BYTES_MAX + 1 + UNIT_BYTES_MAX + 1 + 1;

const SCHEMA_CRC: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_IBM_3740);
