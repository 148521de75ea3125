//! What the front counts, for metrics. All counters only grow; a level is the difference of two.

use super::reason::Reason;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Relaxed);
    }

    /// Its value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of a front and its downlink.
        #[derive(Debug)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
            refused: Box<[Counter; 256]>,
        }

        impl Default for Counters {
            fn default() -> Counters {
                Counters {
                    $($name: Counter::default(),)*
                    refused: Box::new(std::array::from_fn(|_| Counter::default())),
                }
            }
        }

        /// The values of [`Counters`] at one time.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)*
            /// Refusals and closes by reason, those that happened.
            pub refused: Vec<(Reason, u64)>,
        }

        impl Counters {
            /// The values now.
            #[must_use]
            pub fn snapshot(&self) -> Snapshot {
                Snapshot {
                    $($name: self.$name.get(),)*
                    refused: Reason::ALL
                        .into_iter()
                        .map(|reason| (reason, self.refused[usize::from(reason.byte())].get()))
                        .filter(|(_, count)| *count > 0)
                        .collect(),
                }
            }
        }

        impl Snapshot {
            /// Every counter but `refused` with its name, in a fixed order.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counters! {
    /// Sockets accepted.
    connections_accepted,
    /// Sockets closed, by whoever; the difference to `connections_accepted` is open now.
    connections_closed,
    /// Of those accepted, the ones let in; the others were refused at the door, by limits and rates.
    connections_admitted,
    /// TLS handshakes that failed: wrong or missing certificates, other protocols, silence.
    tls_refused,
    /// Clients whose CONNECT was accepted.
    clients_connected,
    /// Of those, the ones that are gone.
    clients_disconnected,
    /// Connections closed because the same client connected again.
    takeovers,
    /// PUBLISH of QoS 0 received.
    publishes_qos0,
    /// PUBLISH of QoS 1 received.
    publishes_qos1,
    /// PUBLISH of QoS 2 received.
    publishes_qos2,
    /// Bytes of their payloads.
    payload_bytes,
    /// Bytes read from sockets.
    bytes_read,
    /// Bytes written to sockets.
    bytes_written,
    /// PUBACK and PUBREC sent, each after its commit.
    acks,
    /// QoS 2 publishes received again before PUBREL, and dropped.
    repeats_qos2,
    /// Publishes that no route took.
    unrouted,
    /// Publishes that storage rejected.
    rejected,
    /// Batches that had to wait because too much waited to become durable.
    busy_waits,
    /// Batches that found the disk full.
    full_waits,
    /// QoS 0 publishes dropped because the disk was full.
    dropped_full,
    /// Wills published.
    wills,
    /// Wills that could not be stored.
    wills_dropped,
    /// Sessions that outlived their connection.
    sessions_kept,
    /// Of those, the ones resumed, expired or discarded.
    sessions_released,
    /// Sessions not kept because the limit was reached.
    sessions_over_limit,
    /// Places taken on the bus: one for each client that subscribes, one more for each shared subscription.
    subscribers_joined,
    /// Of those, the ones that are free again; the difference is on the bus now.
    subscribers_left,
    /// Places that were asked for when `subscribers` were taken; the subscription was refused (0x97).
    subscribers_refused,
    /// Messages given to the bus.
    bus_published,
    /// Messages dropped because the bus was behind.
    bus_dropped,
    /// Times the bus was started again, because it died or had seen too many topics.
    bus_renewals,
    /// Messages taken off the bus for a subscriber.
    deliveries,
    /// Messages not retained because the limit was reached.
    retained_over_limit,
}

impl Counters {
    /// Something was refused, or a connection closed, for `reason`.
    pub(crate) fn refused(&self, reason: Reason) {
        self.refused[usize::from(reason.byte())].add(1);
    }

    /// Adds what one read brought.
    pub(crate) fn tally(&self, tally: &Tally) {
        for (counter, count) in
            [&self.publishes_qos0, &self.publishes_qos1, &self.publishes_qos2].into_iter().zip(tally.by_qos)
        {
            if count > 0 {
                counter.add(count);
            }
        }
        if tally.payload_bytes > 0 {
            self.payload_bytes.add(tally.payload_bytes);
        }
    }
}

/// The publishes of one read, counted before they reach the shared counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    by_qos: [usize; 3],
    payload_bytes: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, qos: u8, payload_bytes: usize) {
        self.by_qos[usize::from(qos.min(2))] += 1;
        self.payload_bytes += payload_bytes;
    }

    /// How many of QoS 0.
    pub(crate) fn qos0(&self) -> usize {
        self.by_qos[0]
    }
}
