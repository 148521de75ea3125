//! Every bound of the MQTT link, each with its reason.

use headwater_telemetry::limits::{BODY_BYTES_MAX, DEVICE_ID_BYTES_MAX, SECRET_BYTES_MAX, USER_BYTES_MAX};

/// Bytes of a topic of this device: `headwater/`, its name, the longest kind with its slash.
pub const TOPIC_BYTES_MAX: usize = 10 + DEVICE_ID_BYTES_MAX + 8;

/// Bytes of a packet that is not a PUBLISH, and of the beginning of one that is. The longest is CONNECT: 12 fixed, 9 of
/// properties, name, user and password with their lengths, 5 of header.
pub const HEAD_BYTES_MAX: usize =
    5 + 12 + 10 + (2 + DEVICE_ID_BYTES_MAX) + (2 + USER_BYTES_MAX) + (2 + SECRET_BYTES_MAX);

/// Bytes of the largest packet taken: a body with topic and packet id, and some properties. The gateway is told.
pub const PACKET_BYTES_MAX: usize = 5 + 2 + TOPIC_BYTES_MAX + 2 + 64 + BODY_BYTES_MAX;

/// Seconds of silence after which the gateway gives the device up; the device says something after two thirds of it. Many
/// radio networks forget a silent connection after some minutes.
pub const KEEP_ALIVE_SECS: u16 = 60;

/// Commands that were taken and whose result has not left. The gateway is told; more are sent again by who wants them done.
pub const RESULTS_MAX: usize = 4;

/// Milliseconds to wait for a transport: a radio network that has just been joined resolves names slowly.
pub const DIAL_TIMEOUT_MS: u64 = 20_000;

/// Milliseconds to wait for an answer: CONNACK, SUBACK, PUBACK, PINGRESP. A gateway on a slow SD card commits within
/// one second; one whose disk is full answers with an error, not with silence.
pub const ANSWER_TIMEOUT_MS: u64 = 20_000;

/// Milliseconds that batches wait for the time on a new connection: afterwards they go without. A broker that is no gateway
/// never tells it.
pub const TIME_WAIT_MS: u64 = 3_000;

/// Milliseconds to wait at random, at the most, after the first loss of a connection; doubled by every further one.
pub const RETRY_MS_MIN: u64 = 1_000;

/// And never longer than this: an outage of a day ends for everybody within a minute and a half.
pub const RETRY_MS_MAX: u64 = 90_000;

/// Milliseconds to wait at random, at the most, before a subscription that was refused is asked for again on the same connection; doubled
/// every time. A gateway that has no place for it has none a second later either.
pub const SUBSCRIBE_RETRY_MS_MIN: u64 = 30_000;

/// And never longer than this: a device is back within a quarter of an hour after somebody raised the limit or gave it the right, and a
/// fleet of five thousand asks some ten times a second.
pub const SUBSCRIBE_RETRY_MS_MAX: u64 = 900_000;

/// Milliseconds after which a connection counts as good, and the next loss as the first one.
pub const STABLE_MS: u64 = 30_000;

const _: () = assert!(5 + 2 + TOPIC_BYTES_MAX + 2 < HEAD_BYTES_MAX);
// What the server is told fits the property, and a remaining length of two bytes.
const _: () = assert!(PACKET_BYTES_MAX < 16_384);
