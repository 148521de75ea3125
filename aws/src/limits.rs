//! Every limit of this library, with its reason.

use std::time::Duration;

/// Records in one PutRecords: the service's limit.
pub const CALL_RECORDS_MAX: usize = 500;

/// Keys and data of one PutRecords together: the service's limit since records may be larger than 1 MiB.
pub const CALL_BYTES_MAX: usize = 10 << 20;

/// Key and data of one record, in KiB, where the target does not say what it takes: the service's limit before it could be raised.
pub const RECORD_KIB_DEFAULT: u32 = 1_024;

/// Largest record size a target is believed to take, in KiB: the service's highest setting.
pub const RECORD_KIB_MAX: u32 = 10_240;

/// Longest partition key, in characters: the service's limit.
pub const KEY_CHARACTERS_MAX: usize = 256;

/// Largest answer that is read: GetRecords gives up to 10 MiB of data, a third more in base64, and its words around it.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Largest answer of a source of credentials: a session token has a few KiB, one of a role with many tags 4 KiB more.
pub const CREDENTIALS_BYTES_MAX: usize = 64 << 10;

/// Largest configuration or credentials file, and largest token file: thousands of profiles fit; a device file that never ends does not.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Most heads of an answer, and of its fields together: a proxy may add some to the service's dozen.
pub const ANSWER_FIELDS_MAX: usize = 64;

/// How deep CBOR may be nested: answers of this API have six levels.
pub const CBOR_DEPTH_MAX: usize = 32;

/// A connection must stand within this, with its tunnel and TLS: five round trips of a bad satellite link.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A call is over after this where nothing else was asked for: 10 MiB over a link of 2 Mbit/s, and a slow answer.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A source of credentials in the machine or beside it answers within this, or is not there.
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(3);

/// A source of credentials behind the uplink (STS, AWS IoT) answers within this.
pub const STS_TIMEOUT: Duration = Duration::from_secs(20);

/// A program that gives credentials may take this long: some ask a hardware key or a vault.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// Authorities and certificates of ours are read from their files again for a connection after this: a system's authorities change a few
/// times a year, and one that is no longer trusted should not be for long.
pub const TRUST_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The same after a handshake that failed: within this of a renewal a sink goes on. A target that refuses us for days costs a few reads a minute.
pub const TRUST_AGE_DOUBTED: Duration = Duration::from_secs(10);

/// An idle connection is given up after this, before a server or a NAT does so (a minute is common) just when a call is sent.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Idle connections kept to one target: a forwarder has a few calls under way, each of them needs one.
pub const IDLE_CONNECTIONS_MAX: usize = 16;

/// Credentials are renewed this long before they end: a source may be away for a while and nobody notices.
pub const REFRESH_AHEAD: Duration = Duration::from_secs(15 * 60);

/// A part of their life after which credentials are renewed in any case, in percent: those of 15 minutes would be renewed at once.
pub const REFRESH_AFTER_PERCENT: u32 = 75;

/// Credentials that end sooner are not used for a call any more: its signature has to be good when it arrives.
pub const EXPIRY_MARGIN: Duration = Duration::from_secs(30);

/// Credentials that have ended by a clock that may be wrong are taken to live this long: the target knows better.
pub const LIFE_UNKNOWN: Duration = Duration::from_secs(15 * 60);

/// Pause after a source failed: the first time, doubled each time up to [`REFRESH_PAUSE_MAX`].
pub const REFRESH_PAUSE: Duration = Duration::from_secs(2);

/// Longest pause between attempts at a source that fails: what came back is used within this.
pub const REFRESH_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Roles that may be assumed one from the other: AWS's own tools stop at no number, people use two.
pub const ROLES_MAX: usize = 8;

/// Longest text of an error that is taken over from an answer: it goes into logs, and whoever answers may be hostile.
pub const MESSAGE_CHARACTERS_MAX: usize = 512;

/// Pages of ListShards that are asked for: 10,000 shards of an account come in ten, and a token that never ends must end.
pub const SHARD_PAGES_MAX: usize = 1_000;

/// Shards that are kept: far above the 20,000 an account gets.
pub const SHARDS_MAX: usize = 200_000;

/// Between two looks at a stream that is being made: it takes about half a minute.
pub const CREATE_PAUSE: Duration = Duration::from_secs(2);

/// Records in one aggregate: nobody gains from more, and reading one stays cheap.
pub const AGGREGATE_RECORDS_MAX: usize = 16_384;

const _: () = assert!(ANSWER_BYTES_MAX > CALL_BYTES_MAX / 3 * 4 + (2 << 20));
