//! The shards of the target: who takes which hash key, what each may take now, and the lanes that wait for it.
//!
//! Always true: `sendable` is the number of ready lanes at shards that are open; `active` holds every open shard with ready lanes.

use std::collections::{BTreeMap, VecDeque};

use super::region::Class;
use super::words::{ForwardError, TargetId, TargetShard};
use super::{CallId, TargetRate};
use crate::bucket::Bucket;
use crate::limits::TARGETS_MAX;
use crate::{Backoff, Delays};

#[derive(Debug)]
pub(super) struct Target {
    pub(super) shard: TargetShard,
    pub(super) bytes: Bucket,
    pub(super) records: Bucket,
    pub(super) ready: [VecDeque<u32>; 2],
    /// Not before this moment.
    pub(super) parked_until_ms: Option<u64>,
    /// With packing: the call that holds its aggregate.
    pub(super) packed_in: Option<CallId>,
    /// Entries it took; goes round.
    pub(super) acks: u32,
    backoff: Backoff,
    is_throttled: bool,
    is_active: [bool; 2],
}

impl Target {
    pub(super) fn is_open(&self) -> bool {
        self.parked_until_ms.is_none() && self.packed_in.is_none()
    }

    fn waiting(&self) -> usize {
        self.ready[0].len() + self.ready[1].len()
    }
}

#[derive(Debug)]
pub(super) struct Targets {
    /// In the order of their ranges.
    pub(super) shards: Vec<Target>,
    /// Counts the maps; places of another epoch mean nothing.
    pub(super) epoch: u32,
    pub(super) sendable: usize,
    /// Since when something could be sent.
    pub(super) since_ms: u64,
    active: [VecDeque<u32>; 2],
    by_id: BTreeMap<TargetId, u32>,
    rate: TargetRate,
    delays: Delays,
    seed: u64,
}

impl Targets {
    pub(super) fn new(rate: TargetRate, delays: Delays, seed: u64) -> Self {
        let active = [VecDeque::new(), VecDeque::new()];
        Self {
            shards: Vec::new(),
            epoch: 0,
            sendable: 0,
            since_ms: 0,
            active,
            by_id: BTreeMap::new(),
            rate,
            delays,
            seed,
        }
    }

    /// Takes another map; buckets and pauses of shards that stay are kept. Returns the lanes that have to be routed again, or `None`
    /// when nothing changed.
    pub(super) fn replace(
        &mut self,
        map: &[TargetShard],
        now_ms: u64,
    ) -> Result<Option<Vec<u32>>, ForwardError> {
        let mut map = map.to_vec();
        map.sort_by_key(|shard| shard.first);
        check(&map)?;
        if self.shards.iter().map(|target| &target.shard).eq(map.iter()) {
            return Ok(None);
        }
        let mut lanes = Vec::new();
        let mut before: Vec<Target> = std::mem::take(&mut self.shards);
        for target in &mut before {
            for ready in &mut target.ready {
                lanes.extend(ready.drain(..));
            }
            target.is_active = [false; 2];
        }
        before.sort_by_key(|target| target.shard.id);
        for shard in map {
            let known = before.binary_search_by_key(&shard.id, |target| target.shard.id);
            let target = known.map_or_else(|_| self.target(shard, now_ms), |index| before.remove(index));
            self.shards.push(Target { shard, ..target });
        }
        self.by_id = (0..).zip(&self.shards).map(|(place, target)| (target.shard.id, place)).collect();
        self.epoch = self.epoch.wrapping_add(1);
        self.active.iter_mut().for_each(VecDeque::clear);
        self.sendable = 0;
        Ok(Some(lanes))
    }

    fn target(&self, shard: TargetShard, now_ms: u64) -> Target {
        let TargetRate { bytes_per_s, records_per_s, burst_ms } = self.rate;
        Target {
            shard,
            bytes: Bucket::new(bytes_per_s, burst_ms, 1, now_ms),
            records: Bucket::new(records_per_s, burst_ms, 1, now_ms),
            ready: [VecDeque::new(), VecDeque::new()],
            parked_until_ms: None,
            packed_in: None,
            acks: 0,
            backoff: Backoff::new(self.delays, self.seed ^ u64::from(shard.id.0)),
            is_throttled: false,
            is_active: [false; 2],
        }
    }

    /// The place of the shard that takes this hash key.
    pub(super) fn route(&self, key: u128) -> Option<u32> {
        let after = self.shards.partition_point(|target| target.shard.first <= key);
        let index = after.checked_sub(1)?;
        (self.shards[index].shard.last >= key).then(|| u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The place of a shard by its name, while it is in the map.
    pub(super) fn place(&self, id: TargetId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> &mut Target {
        &mut self.shards[place as usize]
    }

    pub(super) fn push(&mut self, place: u32, class: Class, lane: u32, is_first: bool, now_ms: u64) {
        let target = &mut self.shards[place as usize];
        let ready = &mut target.ready[class as usize];
        if is_first {
            ready.push_front(lane)
        } else {
            ready.push_back(lane)
        }
        if target.is_open() {
            self.became_sendable(1, now_ms);
            self.activate(place, class);
        }
    }

    /// The first open shard with ready lanes of this class.
    pub(super) fn first(&mut self, class: Class) -> Option<u32> {
        let active = &mut self.active[class as usize];
        while let Some(place) = active.front().copied() {
            let target = &mut self.shards[place as usize];
            if target.is_open() && !target.ready[class as usize].is_empty() {
                return Some(place);
            }
            target.is_active[class as usize] = false;
            active.pop_front();
        }
        None
    }

    /// Takes the first ready lane of the first shard, and lets the next shard be first.
    pub(super) fn take(&mut self, place: u32, class: Class) -> Option<u32> {
        let lane = self.shards[place as usize].ready[class as usize].pop_front()?;
        self.sendable -= 1;
        self.active[class as usize].rotate_left(1);
        Some(lane)
    }

    pub(super) fn park(&mut self, place: u32, until_ms: u64, now_ms: u64) {
        self.change(place, now_ms, |target| target.parked_until_ms = Some(until_ms));
    }

    /// Changes whether a shard is open, and what follows from it.
    pub(super) fn change(&mut self, place: u32, now_ms: u64, change: impl FnOnce(&mut Target)) {
        let target = &mut self.shards[place as usize];
        let was_open = target.is_open();
        change(target);
        let waiting = target.waiting();
        match (was_open, target.is_open()) {
            (true, false) => self.sendable -= waiting,
            (false, true) if waiting > 0 => {
                self.became_sendable(waiting, now_ms);
                Class::ALL.into_iter().for_each(|class| self.activate(place, class));
            }
            _ => {}
        }
    }

    /// The shard took too much. Returns when it may be tried again, once for all that went before the pause.
    pub(super) fn throttle(&mut self, place: u32, now_ms: u64) -> Option<u64> {
        let target = &mut self.shards[place as usize];
        if target.is_throttled && target.parked_until_ms.is_some() {
            return None;
        }
        target.is_throttled = true;
        // It must really pause: nothing would be gained by a delay of 0.
        let until_ms = target.backoff.handle_lost(now_ms).max(now_ms.saturating_add(1));
        self.park(place, until_ms, now_ms);
        Some(until_ms)
    }

    /// The shard took something.
    pub(super) fn acked(&mut self, place: u32, now_ms: u64) {
        let target = &mut self.shards[place as usize];
        target.acks = target.acks.wrapping_add(1);
        if target.is_throttled && target.parked_until_ms.is_none() {
            target.is_throttled = false;
            target.backoff.handle_connected(now_ms);
        }
    }

    fn became_sendable(&mut self, count: usize, now_ms: u64) {
        if self.sendable == 0 {
            self.since_ms = now_ms;
        }
        self.sendable += count;
    }

    fn activate(&mut self, place: u32, class: Class) {
        let target = &mut self.shards[place as usize];
        if !target.is_active[class as usize] && !target.ready[class as usize].is_empty() {
            target.is_active[class as usize] = true;
            self.active[class as usize].push_back(place);
        }
    }
}

fn check(map: &[TargetShard]) -> Result<(), ForwardError> {
    if map.len() > TARGETS_MAX {
        return Err(ForwardError::TooMany { max: TARGETS_MAX });
    }
    let mut ids = std::collections::BTreeSet::new();
    for (index, shard) in map.iter().enumerate() {
        let overlaps = index > 0 && map[index - 1].last >= shard.first;
        if shard.last < shard.first || overlaps || !ids.insert(shard.id) {
            return Err(ForwardError::Overlap(shard.id));
        }
    }
    Ok(())
}
