//! What is in records between their reading and their end.
//!
//! In: pages of shards. Out: keys and data, by place. Invariant: a record is here as long as somebody may send it. How much may be here is
//! decided where reads are ([`headwater_relay::Forwarding`]).

use headwater_engine::HashKey;
use headwater_engine::storage::Page;
use headwater_relay::{Offset, Read, Record, SourceId};
use std::collections::BTreeMap;

/// Stands for the key of a record that was put without one: a target wants one.
const NO_KEY: &str = "-";

#[derive(Debug, Default)]
pub(super) struct Kept(BTreeMap<(SourceId, u64), Payload>);

/// Key and data in one piece: a record that waits long keeps no page alive.
#[derive(Debug)]
pub(super) struct Payload {
    bytes: Box<[u8]>,
    key_bytes: usize,
    pub(super) arrival_ms: u64,
}

impl Payload {
    /// The partition key.
    pub(super) fn key(&self) -> &str {
        match std::str::from_utf8(&self.bytes[..self.key_bytes]) {
            Ok("") | Err(_) => NO_KEY,
            Ok(key) => key,
        }
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.bytes[self.key_bytes..]
    }
}

impl Kept {
    /// Keeps the payloads of records that somebody will send.
    pub(super) fn keep(&mut self, source: SourceId, records: &[Record], payloads: Vec<Payload>) {
        self.0.extend(records.iter().map(|record| (source, record.offset.0)).zip(payloads));
    }

    pub(super) fn get(&self, source: SourceId, offset: Offset) -> Option<&Payload> {
        self.0.get(&(source, offset.0))
    }

    pub(super) fn remove(&mut self, source: SourceId, offset: Offset) {
        self.0.remove(&(source, offset.0));
    }

    /// Nothing of a source before this is sent any more.
    pub(super) fn remove_before(&mut self, source: SourceId, before: Offset) {
        while let Some(entry) = self.0.range((source, 0)..(source, before.0)).next() {
            let place = *entry.0;
            self.0.remove(&place);
        }
    }
}

/// The time of an arrival on the carrier's own clock, which never jumps: as long ago as the wall clock says. What arrives by a clock that is
/// ahead of the present one arrives now.
pub(super) fn carried_ms(arrival_ms: u64, wall_ms: u64, now_ms: u64) -> u64 {
    now_ms.saturating_sub(wall_ms.saturating_sub(arrival_ms))
}

/// Takes the records of a page that a read asked for: what a forwarding must know of them, what is in them, and where reading goes on.
/// A record without a key gets one here, which the page did not count, so its last ones may be too much. `carried_ms` says when something
/// arrived on the forwarding's clock.
pub(super) fn take(
    page: &Page,
    read: &Read,
    carried_ms: impl Fn(u64) -> u64,
) -> (Vec<Record>, Vec<Payload>, Offset) {
    let (mut records, mut payloads) = (Vec::new(), Vec::new());
    let mut next = Offset(page.next.position.min(read.until.map_or(u64::MAX, |until| until.0)));
    let mut taken_bytes = 0_u64;
    for run in &page.runs {
        run.visit(&mut |record| {
            let offset = Offset(record.position.position);
            if offset >= next {
                return;
            }
            let mut bytes = Vec::with_capacity(record.key.len() + record.data.len());
            bytes.extend_from_slice(record.key);
            bytes.extend_from_slice(record.data);
            let payload =
                Payload { bytes: bytes.into(), key_bytes: record.key.len(), arrival_ms: record.time_ms };
            let key = payload.key();
            taken_bytes += (key.len() + record.data.len()) as u64;
            if taken_bytes > read.bytes_max && !records.is_empty() {
                next = offset;
                return;
            }
            records.push(Record {
                offset,
                data_bytes: u32::try_from(record.data.len()).unwrap_or(u32::MAX),
                key_bytes: u32::try_from(key.len()).unwrap_or(u32::MAX),
                lane: HashKey::of(key.as_bytes()).0,
                arrival_ms: carried_ms(record.time_ms),
                is_packed: headwater_aws::kpl::is_aggregate(record.data),
            });
            payloads.push(payload);
        });
    }
    (records, payloads, next)
}

#[cfg(test)]
mod tests {
    use super::{carried_ms, take};
    use headwater_engine::storage::{Page, Position, RecordRef, Run};
    use headwater_relay::{Offset, Read, SourceId};

    struct Keyless;

    impl Run for Keyless {
        fn visit(&self, visit: &mut dyn FnMut(RecordRef<'_>)) {
            for position in 5..8 {
                let position = Position { position, index: 0 };
                visit(RecordRef { position, time_ms: 1, key: b"", data: &[7; 100] });
            }
        }

        fn is_encrypted(&self) -> bool {
            false
        }
    }

    #[test]
    fn no_more_is_taken_than_was_asked_for_although_keys_come_to_it() {
        let at = |position| Position { position, index: 0 };
        let taken = |bytes_max| {
            let page = Page {
                runs: vec![Box::new(Keyless)],
                lost: Vec::new(),
                next: at(8),
                end: at(20),
                newest_ms: Some(1),
            };
            let read = Read { source: SourceId(1), from: Offset(5), until: None, records_max: 10, bytes_max };
            let (records, payloads, next) = take(&page, &read, |ms| ms);
            assert_eq!(records.len(), payloads.len());
            (records.len(), next.0)
        };
        assert_eq!(taken(303), (3, 8));
        assert_eq!(taken(300), (2, 7), "the page counted 300, with keys it is 303");
        assert_eq!(taken(10), (1, 6), "one always");
    }

    #[test]
    fn what_is_fresh_is_so_also_after_the_wall_clock_was_set() {
        const NOW: u64 = 1_800_000_000_000;
        // The carrier began in 1970 and has run for two minutes; then the clock was set to today.
        let carried = |arrival_ms| carried_ms(arrival_ms, NOW, 125_000);
        assert_eq!((carried(NOW), carried(NOW - 5_000), carried(9_000)), (125_000, 120_000, 0));
        // It began today, and the clock was put back by three hours: arrivals stand still where they were.
        let hours_ms = 3 * 3_600_000;
        assert_eq!(carried_ms(NOW, NOW - hours_ms, NOW + 1_000), NOW + 1_000);
        assert_eq!(carried_ms(NOW - 2 * hours_ms, NOW - hours_ms, NOW), NOW - hours_ms);
    }
}
