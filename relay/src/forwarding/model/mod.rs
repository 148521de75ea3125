//! Forwarding against the truth: random shards, resharding on both sides, throttles, poison, answers that get lost, crashes.
//!
//! After every step: order per lane at the target, one entry of a lane under way, limits, checkpoints, ledgers, parents before children.
//! When the faults stop, everything drains. `HEADWATER_SEEDS` sets how many lives are lived.

mod drive;
mod losing;
mod world;

use std::collections::BTreeMap;

use super::{Call, CallFailure, ForwardConfig, Forwarding, Planted, RecordRef, SendOutcome, SourceId};
use crate::{DropReason, Offset};
use world::{Id, World, config};

const STEPS: u64 = 160;

#[test]
fn a_thousand_seeded_lives_keep_order_and_lose_nothing() {
    let mut met: BTreeMap<&str, u64> = BTreeMap::new();
    let seeds = std::env::var("HEADWATER_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1_000);
    for seed in 0..seeds {
        for (what, count) in Life::new(seed, None).run().met {
            *met.entry(what).or_default() += count;
        }
    }
    // A life in which nothing happens proves nothing.
    for what in [
        "aggregate",
        "child read",
        "done range",
        "failed",
        "late arrival",
        "left out",
        "left out behind records in memory",
        "left out in vain",
        "passed over",
        "passed over in vain",
        "put back",
        "rejected",
        "set aside above",
        "too large",
        "two calls",
    ] {
        assert!(met.get(what).is_some_and(|count| *count >= 50), "{what}: {met:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_life() {
    for seed in 0..20 {
        let trace = |seed| Life::new(seed, None).run().trace;
        assert_eq!(trace(seed), trace(seed));
    }
}

#[test]
fn planted_bugs_are_found() {
    let cases = [
        (Planted::CheckpointPastHole, "CHECKPOINT"),
        (Planted::TwoOfALane, "LANE"),
        (Planted::ChildBeforeParent, "PARENT"),
        (Planted::BucketIgnored, "RATE"),
        (Planted::PassedUnstored, "ORDER"),
        (Planted::PassedTooMuch, "CHECKPOINT"),
    ];
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let results = cases.map(|(bug, word)| {
        let found = (0..200)
            .find_map(|seed| std::panic::catch_unwind(|| Life::new(seed, Some(bug)).run().step).err());
        let text = found.and_then(|found| found.downcast_ref::<String>().cloned());
        (bug, word, text)
    });
    std::panic::set_hook(hook);
    for (bug, word, text) in results {
        assert!(text.as_ref().is_some_and(|text| text.starts_with(word)), "{bug:?} gave {text:?}");
    }
}

/// A call on its way, and whether it has arrived.
struct Flying {
    call: Call,
    outcomes: Option<Vec<SendOutcome>>,
}

struct Life {
    seed: u64,
    config: ForwardConfig,
    world: World,
    forwarding: Forwarding,
    flying: Vec<Flying>,
    /// Calls that were given up and may still arrive.
    late: Vec<Vec<Id>>,
    is_quiet: bool,
    /// Losses told, each of which may take a place in each region.
    drops: usize,
    /// While too much waits its sink does without the oldest, not the newest.
    leaves_out: bool,
    /// Steps until the power fails, which the disk takes nothing in.
    doomed: Option<u64>,
    step: u64,
    trace: u64,
    met: BTreeMap<&'static str, u64>,
    planted: Option<Planted>,
}

impl Life {
    fn new(seed: u64, planted: Option<Planted>) -> Self {
        let config = config(seed);
        let mut life = Self {
            seed,
            world: World::new(seed, &config),
            forwarding: Forwarding::new(config.clone()),
            config,
            flying: Vec::new(),
            late: Vec::new(),
            is_quiet: false,
            drops: 0,
            leaves_out: seed.is_multiple_of(2),
            doomed: None,
            step: 0,
            trace: 0,
            met: BTreeMap::new(),
            planted,
        };
        life.start();
        life
    }

    fn meet(&mut self, what: &'static str, is_so: bool) {
        *self.met.entry(what).or_default() += u64::from(is_so);
    }

    fn context(&self) -> String {
        format!("seed {} step {}", self.seed, self.step)
    }

    /// A start from what is stored.
    fn start(&mut self) {
        self.forwarding = Forwarding::new(self.config.clone());
        self.forwarding.planted = self.planted;
        self.world.forget_rates();
        self.forwarding.handle_targets(&self.world.targets, self.world.now_ms).expect("the map is right");
        for index in 0..self.world.shards.len() {
            self.tell_shard(index);
        }
    }

    fn tell_shard(&mut self, index: usize) {
        let (id, now_ms) = (SourceId(u32::try_from(index).expect("few")), self.world.now_ms);
        let shard = &self.world.shards[index];
        self.forwarding.handle_source(id, &shard.parents, &shard.stored).expect("new");
        if shard.is_closed {
            self.forwarding.handle_source_end(id, shard.tail(), now_ms).expect("known");
        } else {
            self.forwarding.handle_tail(id, shard.tail(), now_ms).expect("known");
        }
        let first = Offset(shard.first);
        if first > Offset(0) {
            self.forwarding.handle_dropped(id, first, DropReason::Age).expect("known");
        }
    }

    fn run(mut self) -> Self {
        for step in 0..STEPS {
            self.step = step;
            self.act();
            self.drive();
            self.check();
        }
        (self.is_quiet, self.doomed) = (true, None);
        for step in STEPS..STEPS + 4_000 {
            self.step = step;
            if self.flying.is_empty() {
                let at_ms = self.forwarding.poll_timeout().unwrap_or(0);
                self.world.now_ms = self.world.now_ms.max(at_ms) + 1;
            }
            self.settle();
            self.drive();
            if self.is_drained() {
                self.check();
                return self;
            }
        }
        panic!("DRAIN: {:?}: {}", self.forwarding.drain_state(self.world.now_ms), self.context());
    }

    fn is_drained(&self) -> bool {
        self.world.shards.iter().enumerate().all(|(index, shard)| {
            let id = SourceId(u32::try_from(index).expect("few"));
            shard.stored.checkpoint == shard.tail() && shard.is_closed == self.forwarding.is_drained(id)
        })
    }

    fn act(&mut self) {
        self.world.now_ms += self.world.seeded.up_to(30);
        match self.doomed.take() {
            Some(0) => return self.crash(),
            steps => self.doomed = steps.map(|steps| steps - 1),
        }
        match self.world.seeded.up_to(31) {
            0..=11 => {
                let most = if self.world.seeded.once_in(8) { 60 } else { 4 };
                for _ in 0..=self.world.seeded.up_to(most) {
                    self.world.append();
                }
                self.tell_tails();
            }
            12..=22 => self.settle(),
            23 => {
                let before = self.world.shards.len();
                for id in self.world.reshard_source() {
                    let end = self.world.shards[id.0 as usize].tail();
                    self.forwarding.handle_source_end(id, end, self.world.now_ms).expect("known");
                }
                (before..self.world.shards.len()).for_each(|index| self.tell_shard(index));
            }
            24 => {
                self.world.reshard_target();
                self.forwarding
                    .handle_targets(&self.world.targets, self.world.now_ms)
                    .expect("the map is right");
            }
            25 => self.crash(),
            26 if !self.late.is_empty() => {
                let index = self.world.pick(self.late.len());
                let context = self.context();
                for id in self.late.swap_remove(index) {
                    self.meet("late arrival", !self.world.is_seen(id));
                    self.world.arrive(id, true, &context);
                }
            }
            27 if self.world.seeded.once_in(3) => self.expire(),
            29 if self.leaves_out && self.world.seeded.once_in(2) => self.leave_out(),
            30 | 31 if self.world.seeded.once_in(2) => match self.leaves_out {
                true => self.leave_out(),
                false => self.pass_over(),
            },
            28 => match self.world.seeded.up_to(1) {
                0 => self.forwarding.handle_connection_lost(self.world.now_ms),
                _ => self.forwarding.handle_connection_restored(),
            },
            _ => self.world.now_ms += self.world.seeded.up_to(1_000),
        }
    }

    fn tell_tails(&mut self) {
        for (index, shard) in self.world.shards.iter().enumerate().filter(|(_, shard)| !shard.is_closed) {
            let id = SourceId(u32::try_from(index).expect("few"));
            self.forwarding.handle_tail(id, shard.tail(), self.world.now_ms).expect("known");
        }
    }

    fn crash(&mut self) {
        for flying in std::mem::take(&mut self.flying) {
            let ids = self.ids(&flying.call);
            self.late.push(ids);
        }
        let put_back = self.world.put_back();
        self.meet("put back", put_back > 0);
        self.start();
    }

    /// One call arrives, or its answer does.
    fn settle(&mut self) {
        if self.is_quiet {
            self.forwarding.handle_connection_restored();
        }
        if self.flying.is_empty() {
            return;
        }
        let index = self.world.pick(self.flying.len());
        let now_ms = self.world.now_ms;
        if let Some(outcomes) = self.flying[index].outcomes.take() {
            let flying = self.flying.swap_remove(index);
            if !self.is_quiet && self.world.seeded.once_in(10) {
                self.forwarding
                    .handle_call_failed(flying.call.id, CallFailure::Unknown, now_ms)
                    .expect("under way");
                return;
            }
            self.forwarding.handle_outcomes(flying.call.id, &outcomes, now_ms).expect("under way");
            return;
        }
        if !self.is_quiet && self.world.seeded.once_in(10) {
            let flying = self.flying.swap_remove(index);
            let ids = self.ids(&flying.call);
            self.late.push(ids);
            self.forwarding
                .handle_call_failed(flying.call.id, CallFailure::Unknown, now_ms)
                .expect("under way");
            return;
        }
        let call = self.flying[index].call.clone();
        if !self.is_quiet && call.records.len() > 1 && self.world.seeded.once_in(25) {
            self.flying.swap_remove(index);
            self.forwarding.handle_call_failed(call.id, CallFailure::Refused, now_ms).expect("under way");
            return;
        }
        self.flying[index].outcomes = Some(self.arrive(&call));
    }

    /// The target takes what it takes of a call.
    fn arrive(&mut self, call: &Call) -> Vec<SendOutcome> {
        let context = self.context();
        let ids = self.ids(call);
        let mut outcomes = Vec::new();
        for entry in &call.entries {
            let refs = &call.records[entry.records.clone()];
            let is_poison = refs.iter().any(|record| self.stored(record).is_poison);
            let (faulty, kind) = (!self.is_quiet && self.world.seeded.once_in(6), self.world.seeded.up_to(1));
            let outcome = match (is_poison, faulty, kind) {
                (_, true, 0) => SendOutcome::Retry { is_throttled: true },
                (_, true, _) => SendOutcome::Retry { is_throttled: false },
                (true, ..) => SendOutcome::Rejected,
                _ => SendOutcome::Acked,
            };
            if outcome == SendOutcome::Acked {
                ids[entry.records.clone()].iter().for_each(|id| self.world.arrive(*id, false, &context));
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    fn stored(&self, record: &RecordRef) -> &world::Stored {
        &self.world.shards[record.source.0 as usize].records[usize::try_from(record.offset.0).expect("small")]
    }

    fn ids(&self, call: &Call) -> Vec<Id> {
        call.records.iter().map(|record| self.stored(record).id).collect()
    }
}
