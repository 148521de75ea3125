//! Who gets the link: live data or backlog, and how much of it there is.
//!
//! Always true: while both wait, live data gets its share within one record; what one leaves the other gets; nobody saves up what
//! it did not use.

use super::region::Class;
use super::{Drain, WireCost};
use crate::bucket::Bucket;
use crate::limits::{LINK_BURST_BYTES_MIN, LINK_BURST_MS, LIVE_RECENT_MS};

#[derive(Debug)]
pub(super) struct Share {
    /// What each has used, in bytes divided by its share.
    used: [u64; 2],
    weights: [u64; 2],
    link: Option<Bucket>,
    wire: WireCost,
    live_at_ms: Option<u64>,
}

impl Share {
    pub(super) fn new(drain: &Drain) -> Self {
        let live = u64::from(drain.live_percent.min(100));
        let bucket = |rate| Bucket::new(rate, LINK_BURST_MS, LINK_BURST_BYTES_MIN, 0);
        Self {
            used: [0; 2],
            // Dividing by a share is multiplying by the other's.
            weights: [100 - live, live],
            link: drain.bytes_per_s.map(bucket),
            wire: drain.wire,
            live_at_ms: None,
        }
    }

    pub(super) fn saw_live(&mut self, now_ms: u64) {
        self.live_at_ms = Some(now_ms);
    }

    pub(super) fn is_live_recent(&self, now_ms: u64) -> bool {
        self.live_at_ms.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) <= LIVE_RECENT_MS)
    }

    /// Who is next of those that could go.
    pub(super) fn pick(&self, live: Option<u32>, backlog: Option<u32>) -> Option<(Class, u32)> {
        match (live, backlog) {
            (Some(place), None) => Some((Class::Live, place)),
            (None, Some(place)) => Some((Class::Backlog, place)),
            (Some(place), Some(_)) if self.used[0] <= self.used[1] => Some((Class::Live, place)),
            (Some(_), Some(place)) => Some((Class::Backlog, place)),
            (None, None) => None,
        }
    }

    /// Whether the link takes a record of this size now.
    pub(super) fn admits(&mut self, size_bytes: u64, now_ms: u64) -> bool {
        let cost = self.wire.of(size_bytes);
        self.link.as_mut().is_none_or(|link| link.admits(cost, now_ms))
    }

    /// Bytes of data the link takes now, after a call of [`Share::admits`].
    pub(super) fn room(&self) -> u64 {
        let percent = u64::from(self.wire.percent.max(1));
        self.link.as_ref().map_or(u64::MAX, |link| link.level().saturating_mul(100) / percent)
    }

    /// When the link takes a record of this size.
    pub(super) fn ready_at_ms(&self, size_bytes: u64, now_ms: u64) -> u64 {
        let cost = self.wire.of(size_bytes);
        self.link.as_ref().map_or(now_ms, |link| link.ready_at_ms(cost, now_ms))
    }

    pub(super) fn charge_call(&mut self) {
        if let Some(link) = &mut self.link {
            link.take(u64::from(self.wire.call_bytes));
        }
    }

    /// Takes a record out of the share of its class. `is_contended`: the other could have gone too.
    pub(super) fn charge(&mut self, class: Class, size_bytes: u64, is_contended: bool) {
        let cost = self.wire.of(size_bytes);
        if let Some(link) = &mut self.link {
            link.take(cost);
        }
        if !is_contended {
            self.used = [0; 2];
            return;
        }
        let (mine, other) = (class as usize, 1 - class as usize);
        self.used[mine] = self.used[mine].saturating_add(cost.saturating_mul(self.weights[mine]));
        let least = self.used[mine].min(self.used[other]);
        self.used = self.used.map(|used| used - least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(live_percent: u8, records: usize) -> [u64; 2] {
        let mut share = Share::new(&Drain { live_percent, ..Drain::default() });
        let mut sent = [0; 2];
        for index in 0..records {
            let size_bytes = 100 + (index as u64 * 37) % 900;
            let (class, _) = share.pick(Some(1), Some(2)).unwrap();
            share.charge(class, size_bytes, true);
            sent[class as usize] += share.wire.of(size_bytes);
        }
        sent
    }

    #[test]
    fn live_data_gets_its_share_while_both_wait() {
        for percent in [0, 10, 50, 70, 90, 100] {
            let [live, backlog] = split(percent, 10_000);
            let share = live * 1_000 / (live + backlog);
            let wanted = u64::from(percent) * 10;
            assert!(share.abs_diff(wanted) <= 5, "{percent} percent gave {share} of 1,000");
        }
    }

    #[test]
    fn nobody_saves_up_what_he_did_not_use() {
        let mut share = Share::new(&Drain { live_percent: 50, ..Drain::default() });
        for _ in 0..1_000 {
            share.charge(Class::Backlog, 1_000, false);
        }
        let mut live_in_a_row = 0;
        while share.pick(Some(1), Some(2)).unwrap().0 == Class::Live {
            share.charge(Class::Live, 1_000, true);
            live_in_a_row += 1;
        }
        assert_eq!(live_in_a_row, 1, "an idle hour of live data is no debt of the backlog");
    }

    #[test]
    fn the_cap_counts_what_goes_over_the_link() {
        let wire = WireCost { percent: 134, record_bytes: 40, call_bytes: 1_500 };
        let mut share = Share::new(&Drain { bytes_per_s: Some(100_000), wire, ..Drain::default() });
        assert!(share.admits(1_000, 0));
        let mut sent = 0;
        while share.admits(1_000, 0) {
            share.charge(Class::Live, 1_000, false);
            sent += 1;
        }
        assert_eq!(sent, 25_000 / 1_380, "a quarter of a second of the link");
        assert!(share.ready_at_ms(1_000, 0) > 0);
    }
}
