//! The core against a model so naive that it is obviously right: one enum per record, time that a seed moves, steps that
//! become durable later or never, crashes.

mod crash;
mod stream;

use super::persist::Stored;
use super::*;
use std::collections::BTreeMap;

type Place = (u32, u64);

/// Histories of 250 actions: about 3 s of a debug build.
const SEEDS: u64 = 120;

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Fresh,
    Open(Entry),
    Done,
}

/// What is true after a step.
#[derive(Debug, Clone)]
struct Truth {
    records: BTreeMap<Place, State>,
    receives_max: Option<u32>,
}

/// The stream: what was put where and when, which shards there are.
#[derive(Debug, Default)]
struct Stream {
    times: BTreeMap<Place, u64>,
    shards: Vec<ShardView>,
    not_before_ms: u64,
}

struct World {
    chance: u64,
    now_ms: u64,
    core: QueueCore,
    truth: Truth,
    stream: Stream,
    /// What is stored, as far as it is durable.
    stored: BTreeMap<StoredKey, Vec<u8>>,
    /// Steps staged since, each with what is true after it.
    staged: Vec<(Vec<Stored>, Truth)>,
    durable: Truth,
    receipts: Vec<Receipt>,
}

fn at(position: u64) -> Position {
    Position { position, index: 0 }
}

impl World {
    fn new(seed: u64) -> Self {
        let truth = Truth { records: BTreeMap::new(), receives_max: Some(3) };
        let view = |id| ShardView { id: ShardId(id), parents: Vec::new(), end: None };
        let mut core = QueueCore::new(Some(3));
        let stream = Stream { shards: vec![view(0), view(1)], ..Stream::default() };
        core.set_shards(&stream.shards);
        World {
            chance: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now_ms: 1_000_000,
            core,
            durable: truth.clone(),
            truth,
            stream,
            stored: BTreeMap::new(),
            staged: Vec::new(),
            receipts: Vec::new(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 11) % bound
    }

    /// Records whose last receive ran out are dead letters, in truth too.
    fn settle(&mut self) {
        let most = self.truth.receives_max;
        for state in self.truth.records.values_mut() {
            if let State::Open(entry) = state {
                let often = most.is_some_and(|most| entry.count() >= most);
                entry.dead |= often && entry.until_ms <= self.now_ms;
            }
        }
    }

    fn is_over(&self, place: Place) -> bool {
        self.stream.times[&place] < self.stream.not_before_ms
    }

    fn is_deliverable(&self, shard: u32) -> bool {
        let parents = &self.stream.shards[shard as usize].parents;
        parents.iter().all(|parent| {
            let mut of_parent = self.truth.records.range((parent.0, 0)..(parent.0 + 1, 0));
            of_parent.all(|(&place, state)| *state != State::Fresh || self.is_over(place))
        })
    }

    fn can_receive(&self, place: Place, side: Side) -> bool {
        match &self.truth.records[&place] {
            State::Fresh => side == Side::Live && !self.is_over(place),
            State::Open(entry) => entry.until_ms <= self.now_ms && entry.dead == (side == Side::Dead),
            State::Done => false,
        }
    }

    fn fetch(&mut self) {
        for _ in 0..4 {
            for fetch in self.core.fetches() {
                assert!(self.core.fetch_began(&fetch));
                if self.below(8) == 0 {
                    self.core.fetch_ended(fetch.shard);
                    continue;
                }
                let most = usize::try_from(1 + self.below(10)).unwrap();
                // As a log reads it that counts every record: after a record's place is before the next one.
                let (id, from) = (fetch.shard.0, fetch.from.position + u64::from(fetch.from.index > 0));
                let all = self.stream.times.range((id, from)..(id + 1, 0));
                let all: Vec<_> = all.filter(|(_, time_ms)| **time_ms >= self.stream.not_before_ms).collect();
                let fresh = |(place, time_ms): &(&Place, &u64)| Fresh {
                    position: at(place.1),
                    time_ms: **time_ms,
                    bytes: 10,
                };
                let given: Vec<Fresh> = all.iter().take(most).map(fresh).collect();
                let end =
                    self.stream.times.range((id, 0)..(id + 1, 0)).next_back().map_or(0, |(p, _)| p.1) + 1;
                let next = if all.len() > most { given[most - 1].position.position + 1 } else { end };
                let next = Position { position: next, index: 0 };
                self.core.fetched(&fetch, &given, next, all.len() <= most);
            }
        }
    }

    /// The step is staged, or refused and undone.
    fn stage(&mut self, before: Truth) -> bool {
        if self.below(10) == 0 {
            self.core.rollback();
            self.truth = before;
            return false;
        }
        let stored = self.core.persist();
        self.core.commit();
        self.staged.push((stored, self.truth.clone()));
        true
    }

    fn claim(&mut self) {
        self.fetch();
        let side = if self.below(3) == 0 { Side::Dead } else { Side::Live };
        let records = usize::try_from(1 + self.below(10)).unwrap();
        let (timeout_ms, not_before_ms) = (self.below(4) * 1_000, self.stream.not_before_ms);
        let before = self.truth.clone();
        let visible = self.truth.records.iter();
        let visible =
            visible.filter(|(place, state)| **state != State::Fresh && self.can_receive(**place, side));
        let visible = visible.count();
        let short = self.core.is_short(self.now_ms, side, 1);
        let ask = Ask { side, records, bytes: usize::MAX, timeout_ms, not_before_ms };
        let claimed = self.core.claim(self.now_ms, &ask);
        assert!(
            claimed.len() <= records && claimed.len() >= visible.min(records),
            "{visible} visible: {claimed:?}"
        );
        assert!(claimed.is_empty() || !short, "what there is, is told");
        for claimed in &claimed {
            let place = (claimed.shard.0, claimed.position.position);
            assert!(self.can_receive(place, side), "{place:?} {:?}", self.truth.records[&place]);
            let state = &self.truth.records[&place];
            if *state == State::Fresh {
                assert!(self.is_deliverable(place.0), "{place:?} before its parents");
            }
            let entry = match state {
                State::Open(entry) => {
                    Entry { serial: entry.serial + 1, until_ms: self.now_ms + timeout_ms, ..*entry }
                }
                _ => Entry {
                    until_ms: self.now_ms + timeout_ms,
                    first_ms: self.now_ms,
                    bytes: 10,
                    serial: 1,
                    forgiven: 0,
                    dead: false,
                },
            };
            assert_eq!(claimed.entry, entry);
            self.truth.records.insert(place, State::Open(entry));
        }
        self.settle();
        if !self.stage(before) {
            return;
        }
        if self.below(12) == 0 {
            self.release(&claimed);
            return;
        }
        let receipt = |claimed: &Claimed| Receipt {
            side,
            shard: claimed.shard,
            position: claimed.position,
            serial: claimed.entry.serial,
        };
        self.receipts.extend(claimed.iter().map(receipt));
    }

    fn release(&mut self, claimed: &[Claimed]) {
        let before = self.truth.clone();
        for claimed in claimed {
            self.core.release(self.now_ms, claimed);
            let place = (claimed.shard.0, claimed.position.position);
            if let Some(State::Open(entry)) = self.truth.records.get_mut(&place) {
                (entry.forgiven, entry.until_ms) = (entry.forgiven + 1, self.now_ms);
                entry.dead = claimed.entry.dead;
            }
        }
        self.stage(before);
    }

    fn judge(&mut self) {
        if self.receipts.is_empty() {
            return;
        }
        let pick = usize::try_from(self.below(self.receipts.len() as u64)).unwrap();
        let receipt = self.receipts[pick];
        let verdict = match self.below(4) {
            0 => Verdict::Hide(self.below(4) * 1_000),
            1 => Verdict::Restore,
            _ => Verdict::Acknowledge,
        };
        let place = (receipt.shard.0, receipt.position.position);
        let before = self.truth.clone();
        let state = self.truth.records.get_mut(&place).unwrap();
        let expected = match (&*state, verdict) {
            (State::Open(entry), _) if entry.serial != receipt.serial => Err(Refusal::Stale),
            (State::Open(entry), Verdict::Restore) if !entry.dead && entry.count() == 0 => Ok(()),
            (State::Open(entry), _) if entry.dead != (receipt.side == Side::Dead) => Err(Refusal::Stale),
            (State::Open(entry), verdict) => {
                let mut entry = *entry;
                *state = match verdict {
                    Verdict::Acknowledge => State::Done,
                    Verdict::Hide(timeout_ms) => {
                        entry.until_ms = self.now_ms + timeout_ms;
                        State::Open(entry)
                    }
                    Verdict::Restore => {
                        (entry.dead, entry.forgiven, entry.until_ms) = (false, entry.serial, self.now_ms);
                        State::Open(entry)
                    }
                };
                Ok(())
            }
            (_, Verdict::Acknowledge) => Ok(()),
            _ => Err(Refusal::Gone),
        };
        assert_eq!(self.core.judge(self.now_ms, &receipt, verdict), expected, "{receipt:?} {verdict:?}");
        self.settle();
        self.stage(before);
    }

    fn update(&mut self) {
        // As the shell does it: what is a dead letter under the old rule is durable before the new one is.
        self.core.settle(self.now_ms);
        let mut settled = self.core.persist();
        self.core.commit();
        while self.core.has_lazy() {
            settled.extend(self.core.persist());
            self.core.commit();
        }
        self.staged.push((settled, self.truth.clone()));
        self.truth.receives_max = match self.below(4) {
            0 => None,
            most => Some(u32::try_from(most).unwrap()),
        };
        self.core.set_receives_max(self.now_ms, self.truth.receives_max);
        self.settle();
        self.staged.push((self.core.persist(), self.truth.clone()));
        self.core.commit();
    }

    fn act(&mut self) {
        self.settle();
        match self.below(40) {
            0..8 => self.put(),
            8..20 => self.claim(),
            20..30 => self.judge(),
            30..34 => self.now_ms += self.below(2_500),
            34 => self.reshard(),
            35 => self.expire(),
            36 => self.update(),
            37 => {
                let steps = usize::try_from(self.below(self.staged.len() as u64 + 1)).unwrap();
                self.flush(steps);
            }
            38 => self.crash(),
            _ => {
                self.core.settle(self.now_ms);
                self.compare();
            }
        }
    }
}

#[test]
fn random_histories_with_crashes_agree_with_the_model() {
    let (mut done, mut dead, mut records) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        (0..250).for_each(|_| world.act());
        // At the end everything that is not done comes, from one side or the other.
        world.now_ms += 10_000;
        world.flush(world.staged.len());
        world.crash();
        for side in [Side::Live, Side::Dead] {
            loop {
                (0..12).for_each(|_| world.fetch());
                let not_before_ms = world.stream.not_before_ms;
                let ask =
                    Ask { side, records: 1_000, bytes: usize::MAX, timeout_ms: u64::MAX, not_before_ms };
                let claimed = world.core.claim(world.now_ms, &ask);
                if claimed.is_empty() {
                    break;
                }
                for claimed in claimed {
                    let place = (claimed.shard.0, claimed.position.position);
                    assert!(world.can_receive(place, side), "{seed}: {place:?}");
                    world.truth.records.insert(place, State::Done);
                    dead += u32::from(side == Side::Dead);
                }
            }
        }
        for (&place, state) in &world.truth.records {
            assert!(
                *state == State::Done || world.is_over(place),
                "{seed}: {place:?} {state:?} was forgotten"
            );
            records += 1;
        }
        done += 1;
    }
    // The histories did what they are for.
    assert!(done == SEEDS && dead > 100 && records > 5_000, "{done} {dead} {records}");
}
