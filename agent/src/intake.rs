//! What one append of items would change: which records, which marks, which acks.
//!
//! In: items in their order, and the devices as they are known. Out: records staged into a set, changed copies of devices,
//! acks for later. Nothing known is touched before [`Plan::apply`], so a failed append leaves everything as it was.
//!
//! Not here: the append itself.

use crate::devices::{BIRTHS_PREFIX, Device, MARKS_PREFIX, Places, Verdict, key_of};
use crate::limits::DEVICES_MAX;
use crate::link::session::Item;
use crate::spool::SPOOL;
use crate::status::Counters;
use headwater_journal::AppendSet;
use headwater_telemetry::{BootId, DeviceId, Hello, Seq};
use std::collections::{BTreeMap, BTreeSet};

/// The devices an agent knows.
pub(crate) type Devices = BTreeMap<DeviceId, Device>;

/// What one append would change, before it is known to succeed.
#[derive(Default)]
pub(crate) struct Plan {
    /// Counts appends.
    turn: u64,
    touched: BTreeMap<DeviceId, Change>,
    forgotten: BTreeSet<DeviceId>,
    acks: Vec<(BootId, Seq)>,
    tally: Tally,
}

#[derive(Default)]
struct Change {
    device: Device,
    marks_changed: bool,
    births_changed: bool,
}

#[derive(Default)]
struct Tally {
    batches_spooled: u64,
    batches_repeated: u64,
    batches_refused: u64,
    holes: u64,
    gaps: u64,
    births: u64,
    logs: u64,
    results: u64,
}

impl Plan {
    /// Stages `items` and the metadata that goes with them into `set`. `turn`: larger at every append.
    pub(crate) fn stage(known: &Devices, items: &[Item], set: &mut AppendSet, turn: u64) -> Self {
        let mut plan = Self { turn, ..Self::default() };
        for item in items {
            match item {
                Item::Hello { hello, body } => plan.hello(known, hello, body, set),
                Item::Batch { device, places, gaps, body, is_clean } => {
                    plan.batch(known, device, *places, *gaps, *is_clean, body, set);
                }
                Item::Log { device, body } => {
                    if plan.change(known, device, false).is_some() {
                        plan.tally.logs += 1;
                        stage_record(set, device, "log", body);
                    }
                }
                Item::Result { device, body } => {
                    if plan.change(known, device, false).is_some() {
                        plan.tally.results += 1;
                        stage_record(set, device, "result", body);
                    }
                }
            }
        }
        for device in &plan.forgotten {
            set.delete(&key_of(MARKS_PREFIX, device), None);
            set.delete(&key_of(BIRTHS_PREFIX, device), None);
        }
        for (device, change) in &plan.touched {
            if change.marks_changed {
                set.put(&key_of(MARKS_PREFIX, device), &change.device.encode_marks(), None);
            }
            if change.births_changed {
                set.put(&key_of(BIRTHS_PREFIX, device), &change.device.encode_births(), None);
            }
        }
        plan
    }

    /// The append succeeded: makes the changes true, counts them, and gives the acks it allows once it is durable.
    pub(crate) fn apply(self, known: &mut Devices, counters: &Counters) -> Vec<(BootId, Seq)> {
        for device in &self.forgotten {
            known.remove(device);
        }
        counters.devices_forgotten.add(self.forgotten.len() as u64);
        known.extend(self.touched.into_iter().map(|(device, change)| (device, change.device)));
        self.tally.count(counters);
        counters.devices.set(known.len() as u64);
        self.acks
    }

    fn hello(&mut self, known: &Devices, hello: &Hello, body: &[u8], set: &mut AppendSet) {
        let Some(change) = self.change(known, &hello.device, true) else { return };
        if change.device.handle_hello(hello, body) {
            // A hello may also end marks of an erased device.
            (change.births_changed, change.marks_changed) = (true, true);
            self.tally.births += 1;
            stage_record(set, &hello.device, "birth", body);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one item, named")]
    fn batch(
        &mut self,
        known: &Devices,
        device: &DeviceId,
        places: Places,
        gaps: u64,
        is_clean: bool,
        body: &[u8],
        set: &mut AppendSet,
    ) {
        let Some(change) = self.change(known, device, false) else { return };
        match change.device.handle_batch(places, is_clean) {
            Verdict::New { after_hole } => {
                change.marks_changed = true;
                if after_hole > 0 {
                    tracing::warn!(%device, boot = places.boot.0, seq = places.first.0, count = after_hole, "hole before batch");
                }
                self.tally.holes += u64::from(after_hole);
                self.tally.gaps += gaps;
                self.tally.batches_spooled += 1;
                self.acks.push((places.boot, places.through));
                stage_record(set, device, "batch", body);
            }
            Verdict::Repeat => {
                let through = change.device.spooled_through(places.boot).unwrap_or(places.through);
                self.tally.batches_repeated += 1;
                self.acks.push((places.boot, through));
            }
            Verdict::Hole => self.tally.batches_refused += 1,
        }
    }

    /// The working copy of a device; none when it is unknown and may not be added.
    fn change(&mut self, known: &Devices, device: &DeviceId, may_add: bool) -> Option<&mut Change> {
        if !self.touched.contains_key(device) {
            let is_kept = !self.forgotten.contains(device);
            let mut copy = match known.get(device).filter(|_| is_kept) {
                Some(known) => known.clone(),
                None if may_add => {
                    self.make_room(known);
                    Device::default()
                }
                None => return None,
            };
            copy.heard = self.turn;
            self.forgotten.remove(device);
            self.touched.insert(device.clone(), Change { device: copy, ..Change::default() });
        }
        self.touched.get_mut(device)
    }

    /// Forgets the device that was silent longest, when there is no room for one more. What it sends again is then spooled again, and
    /// dropped at the gateway.
    fn make_room(&mut self, known: &Devices) {
        let new = self.touched.keys().filter(|device| !known.contains_key(*device)).count();
        if known.len() + new < DEVICES_MAX + self.forgotten.len() {
            return;
        }
        let is_free =
            |device: &&DeviceId| !self.touched.contains_key(*device) && !self.forgotten.contains(*device);
        let silent = known.iter().filter(|(device, _)| is_free(device)).min_by_key(|(_, known)| known.heard);
        if let Some((device, _)) = silent {
            tracing::warn!(%device, devices_max = DEVICES_MAX, "device forgotten, too many are known");
            self.forgotten.insert(device.clone());
        }
    }
}

impl Tally {
    fn count(&self, counters: &Counters) {
        counters.batches_spooled.add(self.batches_spooled);
        counters.batches_repeated.add(self.batches_repeated);
        counters.batches_refused.add(self.batches_refused);
        counters.holes.add(self.holes);
        counters.gaps.add(self.gaps);
        counters.births_spooled.add(self.births);
        counters.logs_spooled.add(self.logs);
        counters.results_spooled.add(self.results);
    }
}

fn stage_record(set: &mut AppendSet, device: &DeviceId, kind: &str, body: &[u8]) {
    set.batch(SPOOL);
    set.record(format!("{device}/{kind}").as_bytes(), body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_telemetry::ResetReason;

    fn batch(name: &str, first: u32) -> Item {
        let device = DeviceId::parse(name).unwrap();
        let places = Places { boot: BootId(1), first: Seq(first), through: Seq(first + 4) };
        Item::Batch { device, places, gaps: 0, body: vec![7; 9], is_clean: true }
    }

    #[test]
    fn a_plan_that_is_not_applied_changes_nothing() {
        // The spool is full at the first try; the same items must be new at the second.
        let device = DeviceId::parse("d").unwrap();
        let (mut known, counters) =
            (Devices::from([(device.clone(), Device::default())]), Counters::default());
        let mut set = AppendSet::new();
        drop(Plan::stage(&known, &[batch("d", 0), batch("d", 5)], &mut set, 1));
        assert_eq!(known[&device], Device::default());
        set.clear();
        let plan = Plan::stage(&known, &[batch("d", 0), batch("d", 5), batch("d", 0)], &mut set, 1);
        assert_eq!(set.records(), 2);
        assert_eq!(plan.apply(&mut known, &counters).len(), 3, "the repeat is acked too");
        assert_eq!((counters.batches_spooled.get(), counters.batches_repeated.get()), (2, 1));
        assert_eq!(known[&device].spooled_through(BootId(1)), Some(Seq(9)));
    }

    #[test]
    fn a_device_without_a_hello_is_not_spooled() {
        let mut set = AppendSet::new();
        let plan = Plan::stage(&Devices::new(), &[batch("d", 0)], &mut set, 1);
        assert!(set.is_empty() && plan.acks.is_empty());
    }
    #[test]
    fn the_device_that_was_silent_longest_makes_room_for_a_new_one() {
        let (mut known, counters) = (Devices::new(), Counters::default());
        let mut set = AppendSet::new();
        let name = |index: usize| DeviceId::parse(&format!("d{index}")).unwrap();
        let hello = |index: usize| {
            let hello = Hello::new(
                name(index),
                BootId(1),
                "fw",
                ResetReason::Power,
                headwater_telemetry::heapless::Vec::new(),
            );
            Item::Hello { hello: Box::new(hello), body: vec![1] }
        };
        for index in 0..DEVICES_MAX {
            Plan::stage(&known, &[hello(index)], &mut set, 1 + index as u64).apply(&mut known, &counters);
        }
        assert_eq!((known.len(), counters.devices_forgotten.get()), (DEVICES_MAX, 0));
        // The oldest speaks again; the next two are the ones to go, both in one append.
        let items = [batch("d0", 0), hello(DEVICES_MAX), hello(DEVICES_MAX + 1)];
        Plan::stage(&known, &items, &mut set, 1_000_000).apply(&mut known, &counters);
        assert_eq!((known.len(), counters.devices_forgotten.get()), (DEVICES_MAX, 2));
        let is_known = |index: usize| known.contains_key(&name(index));
        assert!(is_known(0) && !is_known(1) && !is_known(2) && is_known(3) && is_known(DEVICES_MAX + 1));
    }
}
