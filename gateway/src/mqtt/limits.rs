//! Every limit of the MQTT front, each with its reason.
//!
//! Reaching a limit is a defined state: a connection is refused or closed with a reason code, a socket is not
//! read, a message is not retained, and each of these is counted. Nothing here grows with what clients do.

use std::time::Duration;

/// Handshakes at once. Each takes some 20 kB while it lasts, and a millisecond or two of a Pi's core.
pub const TLS_HANDSHAKES_MAX: usize = 256;

/// How long a handshake may take. A Cortex-M0 needs seconds for its share of the arithmetic.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections that are refused at the door and told why, at once. Each is a file and a task for [`REFUSAL_TIMEOUT`] at the longest; beyond
/// them they are closed without a word, for an answer must not cost more than a refusal saves.
pub const REFUSALS_MAX: usize = 256;

/// How long a connection that is refused at the door has for its CONNECT, which says how the answer must look. Who connects sends it at once.
pub const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest topic name or filter, bytes. The wire allows 65,535; AWS IoT allows 256, and no device needs more than 1,024.
pub const TOPIC_BYTES_MAX: usize = 1024;
/// Most levels in a topic name or filter: bounds what one match costs.
pub const TOPIC_LEVELS_MAX: usize = 32;
/// Longest client identifier, bytes. 3.1.1 promises clients only 23; UUIDs with prefixes are in use.
pub const CLIENT_ID_BYTES_MAX: usize = 128;
/// Largest packet accepted before CONNECT was answered: identifier, credentials and a will. A stranger gets no more memory.
pub const CONNECT_BYTES_MAX: usize = 16 * 1024;
/// Most user properties in one packet; each costs two allocations.
pub const USER_PROPERTIES_MAX: usize = 32;
/// Most filters in one SUBSCRIBE or UNSUBSCRIBE.
pub const FILTERS_PER_PACKET_MAX: usize = 256;
/// Bytes read from a socket at once: about 300 publishes of 200 B, enough that system calls stop mattering.
pub const READ_BYTES: usize = 64 * 1024;
/// Bytes read at once while the buffered-bytes budget is used up, so that packets begun can still be finished.
pub const READ_BYTES_PRESSED: usize = 4 * 1024;
/// Most publishes handed to `Ingest` in one call: the smallest PUBLISH is 5 bytes, so `READ_BYTES` could hold 13,000.
pub const BATCH_PUBLISHES_MAX: usize = 1024;
/// Bytes waiting to be written to one client before we stop taking deliveries and input for it.
pub const WRITE_BYTES_HIGH: usize = 64 * 1024;
/// Deliveries that wait between the bus and one subscriber's task; behind it the bus holds 200 and then its ring.
pub const DELIVERIES_QUEUED: usize = 16;
/// Messages on their way from sessions to the bus; a full queue drops the newest and counts it.
pub const PUBLISHES_QUEUED: usize = 4096;

/// Most places on the bus that a configuration may ask for: as many as a gateway may have files open, nearly, and 2 GB of memory.
/// The router has room for the names of so many from its start.
pub const SUBSCRIBERS_MAX: usize = 50_000;
/// Filters the bus may see for each place on it, where that is more than `bus_filters`: each device has one of its own, and what those
/// that are gone had is kept. With fewer a fleet that comes at once would end the bus again and again.
pub const FILTERS_PER_SUBSCRIBER: usize = 2;

/// Limits an operator may change. `Default` suits a gateway with 1 GB of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. Each costs at most 4 kB idle, so 10,000 idle ones stay below 40 MB.
    pub connections: usize,
    /// Connections at once from one address, so that one machine cannot use up all of them; an agent or a NAT with
    /// thousands of devices behind it still fits.
    pub connections_per_ip: usize,
    /// New connections a second from one address, with a burst of as many. A reboot storm behind one NAT passes;
    /// a loop of failing logins does not.
    pub connects_per_second_per_ip: u32,
    /// New connections in any second, from all addresses together: after a restart everybody comes at once, and what a connection costs at
    /// its begin (a handshake, rights, its last session) would be taken from those that publish already. Twice what one address may, so
    /// that no address alone keeps others out; as many as there may be are in within three seconds.
    pub connects_per_second: u32,
    /// From accept to a complete CONNECT.
    pub connect_timeout: Duration,
    /// Largest packet, bytes, announced to MQTT 5 clients. A record holds 1 MiB at most; the rest is topic and properties.
    pub packet_bytes: u32,
    /// From the first byte of a packet to its last; beyond it the sender only occupies memory.
    pub packet_timeout: Duration,
    /// Unacknowledged QoS 1 and 2 publishes from one client: MQTT 5 Receive Maximum, for 3.1.1 the socket is not read further.
    pub inflight: u16,
    /// Unacknowledged QoS 1 and 2 publishes to one client, if it did not ask for fewer.
    pub outbound_inflight: u16,
    /// Bytes read but not yet staged, over all connections; the beginnings of packets and one large packet may come on top.
    pub buffered_bytes: usize,
    /// Topic aliases one MQTT 5 client may set: more than a device has topics. Each holds at most `TOPIC_BYTES_MAX`, so
    /// that 10,000 clients which set all of them to the longest topics hold 160 MB.
    pub topic_aliases: u16,
    /// Sessions kept for clients that are away. With subscriptions each holds one of `subscribers`.
    pub sessions_kept: usize,
    /// Longest time a session outlives its connection; asked-for values beyond it are shortened.
    pub session_expiry: Duration,
    /// Longest keep alive of an MQTT 5 client: those that ask for more, or for none, are told this one. A 3.1.1 client
    /// cannot be told, so its own stands, none included.
    pub keep_alive: Duration,
    /// A client that takes none of our bytes for so long is dropped.
    pub write_timeout: Duration,
    /// A connection whose publishes find the disk full, or no room to wait in, is dropped after so long.
    pub stall_timeout: Duration,
    /// At shutdown: wait so long for pending commits and clients that read slowly.
    pub drain_timeout: Duration,
    /// Places on the bus: one for each client that is subscribed to anything, one more for each shared subscription. Each costs about
    /// 40 kB of memory with a filter of its own, so 5,000 cost 200 MB (and 2 GB of address space, which is never used). A device that speaks MQTT has one, for its commands and the time.
    pub subscribers: usize,
    /// Subscriptions of one client.
    pub subscriptions_per_client: usize,
    /// Retained messages.
    pub retained: usize,
    /// Bytes of retained messages, topics included.
    pub retained_bytes: usize,
    /// Distinct topics one life of the bus may see (it keeps 230 B for each, for ever); then it is renewed.
    pub bus_topics: usize,
    /// Distinct filters one life of the bus may see (it keeps a log for each, for ever); then it is renewed. At least
    /// [`FILTERS_PER_SUBSCRIBER`] for each of `subscribers`.
    pub bus_filters: usize,
    /// Bytes the bus keeps per filter for slow subscribers; beyond it they miss the oldest messages.
    pub bus_filter_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 10_000,
            connections_per_ip: 8_192,
            connects_per_second_per_ip: 2_000,
            connects_per_second: 4_000,
            connect_timeout: Duration::from_secs(10),
            packet_bytes: 1024 * 1024 + 4096,
            packet_timeout: Duration::from_secs(30),
            inflight: 1024,
            outbound_inflight: 64,
            buffered_bytes: 64 * 1024 * 1024,
            topic_aliases: 16,
            sessions_kept: 10_000,
            session_expiry: Duration::from_secs(7 * 24 * 3600),
            keep_alive: Duration::from_secs(600),
            write_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(5),
            subscribers: 1_000,
            subscriptions_per_client: 256,
            retained: 100_000,
            retained_bytes: 64 * 1024 * 1024,
            bus_topics: 50_000,
            bus_filters: 5_000,
            bus_filter_bytes: 1024 * 1024,
        }
    }
}

const _: () = assert!(CONNECT_BYTES_MAX <= READ_BYTES);
const _: () = assert!(READ_BYTES_PRESSED < READ_BYTES);
