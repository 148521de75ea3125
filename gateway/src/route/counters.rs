//! What the routes counted. Received publishes end in exactly one of: stored, subscribers only, repeated,
//! dead-lettered, unmatched, ignored, rejected.

use super::limits::{UNMATCHED_TOPIC_BYTES_MAX, UNMATCHED_TOPICS_MAX};
use headwater_engine::StreamNumber;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What routes noticed about the entries of a stream that are not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Noticed {
    /// Entries that came again and were dropped.
    pub(crate) repeated: u64,
    /// Entries that devices lost before they could be sent.
    pub(crate) lost_at_devices: u64,
}

impl Noticed {
    fn add(&mut self, more: Noticed) {
        self.repeated += more.repeated;
        self.lost_at_devices += more.lost_at_devices;
    }
}

/// All sums since the start. One lock, so that at any instant they are those of whole calls.
#[derive(Debug, Default)]
pub(crate) struct Totals(Mutex<(RouteCounters, BTreeMap<StreamNumber, Noticed>)>);

impl Totals {
    pub(crate) fn add(&self, call: &RouteCounters, noticed: impl Iterator<Item = (StreamNumber, Noticed)>) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.0.add(call);
        for (stream, noticed) in noticed {
            totals.1.entry(stream).or_default().add(noticed);
        }
    }

    pub(crate) fn snapshot(&self) -> RouteCounters {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) fn noticed(&self, stream: StreamNumber) -> Noticed {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.get(&stream).copied().unwrap_or_default()
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Sums of publishes, since the start unless said otherwise. Their order is stored: new ones come at the end.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct RouteCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl RouteCounters {
            pub(crate) fn add(&mut self, more: &RouteCounters) {
                $(self.$name += more.$name;)*
            }

            /// Every counter with its name.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Counters from their values in the order of [`Self::named`]; missing ones are 0.
            pub(crate) fn of_words(words: &[u64]) -> Self {
                let mut words = words.iter().copied();
                RouteCounters { $($name: words.next().unwrap_or(0),)* }
            }
        }
    };
}

counters! {
    /// Publishes that were decided on.
    received,
    /// Bytes of their payloads.
    received_bytes,
    /// Publishes of which something was stored in a stream or as a channel table.
    stored,
    /// Publishes that only went to subscribers.
    downlink_only,
    /// Publishes that held nothing new.
    repeated,
    /// Publishes that went to the dead letters.
    dead_lettered,
    /// Publishes that no route takes; nothing was stored.
    unmatched,
    /// Messages of devices that ask for nothing here, such as time requests.
    ignored,
    /// Publishes that cannot be stored at all.
    rejected,
    /// Records staged, dead letters not counted.
    records,
    /// Readings among them.
    readings,
    /// Entries that devices lost before they could be sent, as their gaps say.
    lost_at_devices,
    /// Entries that were dropped because they were stored before.
    repeated_entries,
    /// Readings stored raw, for no hello told their channels yet.
    readings_without_channels,
    /// Boots whose marks were forgotten, for newer ones or because a device was erased and counts its boots anew;
    /// repeats of theirs are stored again.
    boots_forgotten,
    /// Ranges of sequence numbers that were forgotten; repeats of them are stored again.
    ranges_forgotten,
    /// Times a device was stored for that has no room in the metadata; its repeats are found only while it is in memory.
    devices_over_limit,
}

/// Topics that no route takes, bounded.
#[derive(Debug, Default)]
pub(crate) struct Unmatched(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    topics: BTreeMap<String, u64>,
    others: u64,
}

impl Unmatched {
    pub(crate) fn note(&self, topic: &str) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = clipped(topic, UNMATCHED_TOPIC_BYTES_MAX);
        if let Some(count) = table.topics.get_mut(topic) {
            *count += 1;
        } else if table.topics.len() < UNMATCHED_TOPICS_MAX {
            table.topics.insert(topic.to_owned(), 1);
        } else {
            table.others += 1;
        }
    }

    /// The topics with their counts, most frequent first, and the count of all others.
    pub(crate) fn snapshot(&self) -> (Vec<(String, u64)>, u64) {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut topics: Vec<(String, u64)> =
            table.topics.iter().map(|(topic, count)| (topic.clone(), *count)).collect();
        topics.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        (topics, table.others)
    }
}

/// The longest beginning of `text` with at most `bytes_max` bytes.
pub(super) fn clipped(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmatched_topics_are_remembered_up_to_the_limit() {
        let unmatched = Unmatched::default();
        for n in 0..UNMATCHED_TOPICS_MAX + 5 {
            unmatched.note(&format!("t/{n}"));
        }
        unmatched.note("t/7");
        unmatched.note(&"é".repeat(1_000));
        let (topics, others) = unmatched.snapshot();
        assert_eq!((topics.len(), others), (UNMATCHED_TOPICS_MAX, 6));
        assert_eq!(topics[0], ("t/7".to_owned(), 2));
        assert_eq!(clipped("aé", 2), "a");
    }
}
