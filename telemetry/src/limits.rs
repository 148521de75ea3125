//! Every bound of the device boundary, each with its reason.
//!
//! Both ends compile these in, so a message that respects them is accepted by every released peer.
//! Raising one is a wire change: an older peer would refuse what a newer one sends.

/// Version of the message set, sent in [`Hello::wire`](crate::Hello::wire). Grows only when an old peer could
/// *misread* a new frame; new enum variants do not count, an old peer skips them.
pub const WIRE_VERSION: u8 = 1;

/// Bytes of a [`DeviceId`](crate::DeviceId): fits a MAC, a UUID without dashes or a readable name, and stays
/// inside a topic level and a partition key without escaping.
pub const DEVICE_ID_BYTES_MAX: usize = 32;

/// Entries of one [`Batch`](crate::Batch). 24 numeric readings take about 200 bytes: well below one flash page,
/// one radio packet and [`BODY_BYTES_MAX`], and the header is by then 15 % of the batch.
pub const BATCH_ENTRIES_MAX: usize = 24;

/// Channels of one device. Eight descriptions fit one [`Hello`](crate::Hello) with room to spare; a device with
/// more quantities than that is two devices.
pub const CHANNELS_MAX: usize = 8;

/// Bytes of a text reading: a card number, a state name, an error word. Longer text is not telemetry.
pub const TEXT_BYTES_MAX: usize = 24;

/// Bytes of a channel name.
pub const CHANNEL_NAME_BYTES_MAX: usize = 16;

/// Bytes of a channel's unit (UTF-8, so `°C` is three bytes).
pub const UNIT_BYTES_MAX: usize = 8;

/// Bytes of the firmware name and version in [`Hello`](crate::Hello).
pub const FIRMWARE_BYTES_MAX: usize = 24;

/// Bytes of one log line from a device: one sentence; it shares the link with data.
pub const LOG_BYTES_MAX: usize = 64;

/// Bytes of a host name in [`Config`](crate::Config).
pub const HOST_BYTES_MAX: usize = 64;

/// Bytes of a Wi-Fi network name (IEEE 802.11: 32).
pub const SSID_BYTES_MAX: usize = 32;

/// Bytes of a user name in [`Config`](crate::Config).
pub const USER_BYTES_MAX: usize = 32;

/// Bytes of a secret in [`Config`](crate::Config): a WPA passphrase is at most 63 characters, a raw key 64.
pub const SECRET_BYTES_MAX: usize = 64;

/// Bytes of encoded [`Credentials`](crate::Credentials): two P-256 certificates of 400 to 700 bytes each, a key of
/// 121 or 138, a name. Fits one flash page of 4 KiB beside its record headers.
pub const CREDENTIALS_BYTES_MAX: usize = 2048;

/// Bytes of credentials in one message: half a body, so that the rest of the message fits.
pub const CREDENTIALS_PART_BYTES_MAX: usize = 256;

/// Bytes of an encoded body with its checksum: what lies in device flash and in an MQTT payload. Half a kilobyte
/// keeps a device's buffers small, and one body fits the smallest flash page (1 KiB) beside its headers.
pub const BODY_BYTES_MAX: usize = 512;

/// Bytes of the checksum (CRC-32/ISCSI) at the end of a body.
pub const CHECKSUM_BYTES: usize = 4;

/// Bytes of a frame on a byte stream: a body, one COBS code for each 254 bytes begun, and the delimiter.
pub const FRAME_BYTES_MAX: usize = BODY_BYTES_MAX + BODY_BYTES_MAX / 254 + 1 + 1;

/// Most bytes one entry can take in a body: variant, channel, `dt_ms`, value variant, text length, text.
pub const ENTRY_BYTES_MAX: usize = 1 + 1 + U32_BYTES_MAX + 1 + 1 + TEXT_BYTES_MAX;

/// Most bytes of a body that are not entries: message variant, boot, first, schema, base, time, count, checksum.
pub const BATCH_OVERHEAD_BYTES_MAX: usize =
    1 + U32_BYTES_MAX + U32_BYTES_MAX + 3 + U64_BYTES_MAX + (1 + U64_BYTES_MAX + 1) + 1 + CHECKSUM_BYTES;

/// Postcard writes integers as base-128 varints.
const U32_BYTES_MAX: usize = 5;
const U64_BYTES_MAX: usize = 10;

const HELLO_BYTES_MAX: usize = 1
    + 1
    + (1 + DEVICE_ID_BYTES_MAX)
    + U32_BYTES_MAX
    + (1 + FIRMWARE_BYTES_MAX)
    + 1
    + 3
    + (1 + CHANNELS_MAX * (1 + CHANNEL_NAME_BYTES_MAX + 1 + UNIT_BYTES_MAX + 1 + 1))
    + CHECKSUM_BYTES;
/// Most bytes of a body with a [`Config`](crate::Config).
pub const CONFIG_BYTES_MAX: usize = 1
    + (1 + DEVICE_ID_BYTES_MAX)
    + (1 + 1 + SSID_BYTES_MAX + 1 + SECRET_BYTES_MAX)
    + (1 + 1 + HOST_BYTES_MAX + 3 + 1 + USER_BYTES_MAX + 1 + SECRET_BYTES_MAX)
    + U32_BYTES_MAX
    + U32_BYTES_MAX
    + CHECKSUM_BYTES;
const COMMAND_BYTES_MAX: usize = 1 + U32_BYTES_MAX + CONFIG_BYTES_MAX;
const CREDENTIALS_MESSAGE_BYTES_MAX: usize =
    1 + U32_BYTES_MAX + 1 + 3 + U32_BYTES_MAX + 3 + (2 + CREDENTIALS_PART_BYTES_MAX) + CHECKSUM_BYTES;
const LOG_MESSAGE_BYTES_MAX: usize =
    1 + U32_BYTES_MAX + U64_BYTES_MAX + 1 + (1 + LOG_BYTES_MAX) + CHECKSUM_BYTES;

// Whatever a sender may build fits a body; only batches of text need the builder's refusal.
const _: () = assert!(HELLO_BYTES_MAX <= BODY_BYTES_MAX);
const _: () = assert!(CONFIG_BYTES_MAX <= BODY_BYTES_MAX);
const _: () = assert!(COMMAND_BYTES_MAX <= BODY_BYTES_MAX);
const _: () = assert!(CREDENTIALS_MESSAGE_BYTES_MAX <= BODY_BYTES_MAX);
const _: () = assert!(LOG_MESSAGE_BYTES_MAX <= BODY_BYTES_MAX);
// One entry of any kind always fits an empty batch, so a builder that refuses can be emptied and asked again.
const _: () = assert!(BATCH_OVERHEAD_BYTES_MAX + ENTRY_BYTES_MAX <= BODY_BYTES_MAX);
// A full batch of the widest numbers (64-bit varint) always fits.
const _: () = assert!(
    BATCH_OVERHEAD_BYTES_MAX + BATCH_ENTRIES_MAX * (1 + 1 + U32_BYTES_MAX + 1 + U64_BYTES_MAX)
        <= BODY_BYTES_MAX
);
// Lengths and counts below 128 take one varint byte, which the sums above rely on.
const _: () = assert!(
    BATCH_ENTRIES_MAX < 128 && TEXT_BYTES_MAX < 128 && SECRET_BYTES_MAX < 128 && HOST_BYTES_MAX < 128
);
const _: () = assert!(CHANNELS_MAX <= 256);
