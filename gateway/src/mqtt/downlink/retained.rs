//! The last retained message of each topic, bounded in number and bytes.

use super::Message;
use crate::mqtt::topic::TopicFilter;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use tokio::time::Instant;

/// Messages in one page: enough to fill a window, few enough not to hold the lock for long.
const PAGE_MESSAGES: usize = 64;
/// Bytes in one page (one message may exceed it): they go into one client's write buffer at once.
const PAGE_BYTES: usize = 64 * 1024;
/// Topics looked at for one page, so that a filter that matches little does not hold the lock for long.
const PAGE_TOPICS: usize = 4096;
/// What a message costs beside its own bytes: map entry, `Arc`, `String`, `Bytes`.
const OVERHEAD_BYTES: usize = 200;

#[derive(Debug)]
pub(super) struct Retained {
    by_topic: BTreeMap<String, Arc<Message>>,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

impl Retained {
    pub(super) fn new(count_max: usize, bytes_max: usize) -> Retained {
        Retained { by_topic: BTreeMap::new(), bytes: 0, count_max, bytes_max }
    }

    /// Takes so many from now on; those that are there stay.
    pub(super) fn limit(&mut self, count_max: usize) {
        self.count_max = count_max;
    }

    pub(super) fn get(&self, topic: &str) -> Option<&Arc<Message>> {
        self.by_topic.get(topic)
    }

    /// Replaces the message of its topic; an empty payload removes it. `false` when there is no room: then the
    /// old message of the topic is gone too, since it is no longer true.
    pub(super) fn set(&mut self, message: &Arc<Message>) -> bool {
        if let Some(old) = self.by_topic.remove(&message.topic) {
            self.bytes -= cost(&old);
        }
        if message.payload.is_empty() {
            return true;
        }
        let bytes = self.bytes + cost(message);
        if self.by_topic.len() >= self.count_max || bytes > self.bytes_max {
            return false;
        }
        self.bytes = bytes;
        self.by_topic.insert(message.topic.clone(), message.clone());
        true
    }

    /// Matching messages after topic `after`, and the topic to go on after when there may be more.
    pub(super) fn page(
        &self,
        filter: &TopicFilter,
        after: Option<&str>,
        now: Instant,
    ) -> (Vec<Arc<Message>>, Option<String>) {
        let text = filter.filter();
        let prefix = &text[..text.find(['+', '#']).unwrap_or(text.len())];
        // `a/#` matches `a` too, which sorts before the prefix `a/`.
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let (mut page, mut bytes) = (Vec::new(), 0);
        for (looked, (topic, message)) in self.by_topic.range::<str, _>((from, Bound::Unbounded)).enumerate()
        {
            if !topic.starts_with(prefix) {
                return (page, None);
            }
            if filter.matches(topic) && !message.is_expired(now) {
                bytes += message.size_bytes();
                page.push(message.clone());
            }
            if page.len() >= PAGE_MESSAGES || bytes >= PAGE_BYTES || looked + 1 >= PAGE_TOPICS {
                return (page, Some(topic.clone()));
            }
        }
        (page, None)
    }
}

fn cost(message: &Message) -> usize {
    2 * message.topic.len() + message.size_bytes() + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::codec::PublishProperties;

    fn message(topic: &str, payload: &'static [u8]) -> Arc<Message> {
        Arc::new(Message {
            topic: topic.into(),
            payload: payload.into(),
            qos: 1,
            retain: true,
            properties: PublishProperties::default(),
            publisher: 0,
            expires: None,
        })
    }

    fn all(retained: &Retained, filter: &str) -> Vec<String> {
        let (filter, mut after, mut topics) =
            (TopicFilter::parse(filter).unwrap(), None::<String>, Vec::new());
        loop {
            let (page, more) = retained.page(&filter, after.as_deref(), Instant::now());
            topics.extend(page.iter().map(|message| message.topic.clone()));
            match more {
                Some(topic) => after = Some(topic),
                None => return topics,
            }
        }
    }

    #[test]
    fn pages_give_every_match_once() {
        let mut retained = Retained::new(10_000, usize::MAX);
        for device in 0..1_000 {
            retained.set(&message(&format!("headwater/d{device}/birth"), b"x"));
            retained.set(&message(&format!("headwater/d{device}/other"), b"x"));
        }
        retained.set(&message("headwater", b"x"));
        retained.set(&message("headwater-not", b"x"));
        assert_eq!(all(&retained, "headwater/+/birth").len(), 1_000);
        assert_eq!(all(&retained, "headwater/#").len(), 2_001);
        assert_eq!(all(&retained, "headwater/d7/birth"), ["headwater/d7/birth"]);
        assert_eq!(all(&retained, "#").len(), 2_002);
        assert_eq!(all(&retained, "x/#"), [""; 0]);
    }

    #[test]
    fn limits_hold_and_an_empty_payload_makes_room() {
        let mut retained = Retained::new(2, 10_000);
        assert!(retained.set(&message("a", b"1")) && retained.set(&message("b", b"1")));
        assert!(!retained.set(&message("c", b"1")));
        assert!(retained.set(&message("a", b"")));
        assert!(retained.set(&message("c", b"2")));
        assert!(!retained.set(&message("c", &[0; 20_000])));
        assert_eq!(all(&retained, "#"), ["b"]);
        assert_eq!(retained.bytes, cost(retained.get("b").unwrap()));
    }
}
