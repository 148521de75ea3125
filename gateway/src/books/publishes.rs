//! What became of publishes, over restarts.

use crate::mqtt;
use crate::route::RouteCounters;

/// Publishes since the beginning. After a crash up to a minute of them may not be counted, all of these numbers together, so that the sums
/// match all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Publishes {
    /// What routes did.
    pub routes: RouteCounters,
    /// PUBACK and PUBREC sent, each after its commit.
    pub acks: u64,
    /// QoS 2 publishes received again before PUBREL, and dropped; not in `routes.received`.
    pub repeats_qos2: u64,
    /// QoS 0 publishes dropped because the disk was full; not in `routes.received`.
    pub dropped_full: u64,
}

/// Words before those of the routes: new counters of routes come at the end.
const FRONT_WORDS: usize = 3;

impl Publishes {
    pub(super) fn of_words(words: &[u64]) -> Self {
        let word = |index: usize| words.get(index).copied().unwrap_or(0);
        Self {
            acks: word(0),
            repeats_qos2: word(1),
            dropped_full: word(2),
            routes: RouteCounters::of_words(words.get(FRONT_WORDS..).unwrap_or_default()),
        }
    }

    pub(super) fn to_words(self) -> Vec<u64> {
        let front = [self.acks, self.repeats_qos2, self.dropped_full];
        front.into_iter().chain(self.routes.named().map(|(_, count)| count)).collect()
    }

    /// These and those since the start.
    pub(super) fn and_since(&self, routes: &RouteCounters, front: &mqtt::Snapshot) -> Self {
        let mut sum = *self;
        sum.routes.add(routes);
        sum.acks += front.acks;
        sum.repeats_qos2 += front.repeats_qos2;
        sum.dropped_full += front.dropped_full;
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_every_count() {
        let words: Vec<u64> =
            (1..=FRONT_WORDS as u64 + RouteCounters::default().named().count() as u64).collect();
        let publishes = Publishes::of_words(&words);
        assert_eq!(publishes.to_words(), words);
        assert_eq!((publishes.acks, publishes.routes.received), (1, 4));
        assert_eq!(
            Publishes::of_words(&words[..5]).routes.received_bytes,
            5,
            "fewer words, as of an older version"
        );
    }
}
