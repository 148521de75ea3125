//! Every bound of the simulator, with its reason.

/// Simulated devices of one fleet. Each costs about 80 KiB, most of it flash; a thousand share a thread.
pub const DEVICES_MAX: u32 = 10_000;

/// Publishers of plain JSON of one fleet. Each has an MQTT connection and a client of its own.
pub const FOREIGN_MAX: u32 = 1_000;

/// Devices of one fleet that are switched on in a second: a gateway lets in 2,000 connections a second from one address
/// (`mqtt.connects_per_second_per_ip`), and those that return are among them.
pub const STARTS_PER_SEC: u32 = 1_000;

/// Fastest rate of one device in readings a second: the device core samples in whole milliseconds and closes a batch
/// of 24 at a time.
pub const RATE_PER_SEC_MAX: f64 = 100.0;

/// How often progress is told.
pub const PROGRESS_EVERY_MS: u64 = 250;

/// How often the shards are read again while something that was acked has not arrived.
pub const CHECK_EVERY_MS: u64 = 500;

/// Examples kept of each kind of violation: enough to start looking.
pub const EXAMPLES_MAX: usize = 5;

/// Records of one GetRecords (Kinesis: at most 10,000).
pub const GET_RECORDS_LIMIT: u32 = 10_000;

/// How long one call to the Kinesis API may take.
pub const CALL_TIMEOUT_MS: u64 = 30_000;

/// Largest answer of the Kinesis API: GetRecords gives at most 10 MiB of data, in Base64 and JSON.
pub const ANSWER_BYTES_MAX: usize = 32 << 20;
