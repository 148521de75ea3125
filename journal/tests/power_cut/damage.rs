//! Flipped bits: what is lost by them must be named, what is read must be right.
//!
//! Not an alarm: bits flipped in the newest groups, each of them, before a crash. They look like the write that the crash
//! interrupted, and only a clean close could tell them apart.

use std::collections::{BTreeMap, BTreeSet};

use headwater_journal::storage::SimDisk;
use headwater_journal::{
    AppendError, AppendSet, Core, FIRST_SEQUENCE, ReadLimits, Recovery, ShardKey, Storage,
};

use crate::chance::Chance;
use crate::coding::set_keys;
use crate::model::{Model, Shard};
use crate::world::{Honest, World};

const LIMITS: ReadLimits = ReadLimits { records: 50, bytes: 1 << 20 };

/// What a world with flipped bits came to.
#[derive(Default, Debug)]
struct Outcome {
    worlds: u64,
    alarms: u64,
    named: u64,
    unnamed: u64,
}

#[test]
fn flipped_bits_never_lose_silently() {
    let mut outcome = Outcome::default();
    let seeds = crate::setting("HEADWATER_SEEDS").unwrap_or(10_000) / 20;
    let only = crate::setting("HEADWATER_SEED");
    for seed in only.map_or(0..seeds, |seed| seed..seed + 1) {
        let mut world = World::<Honest>::new(1_000_000 + seed);
        if only.is_some() {
            world.disk.record_steps();
        }
        if let Err(reason) = damage(&mut world, &mut outcome) {
            let steps: Vec<String> = world.disk.steps().iter().map(|step| format!("{step:?}")).collect();
            let (log, steps) = (world.log.join("\n    "), steps.join("\n    "));
            panic!(
                "damaged world {seed} (HEADWATER_SEED={seed} prints its disk): {reason}\n    {log}\n  disk:\n    {steps}"
            );
        }
    }
    if only.is_some() {
        return;
    }
    println!("{outcome:?}");
    assert!(outcome.alarms * 4 > outcome.worlds, "too few alarms for the bits flipped: {outcome:?}");
}

/// Builds a journal whose content is exactly known, flips bits, opens it and accounts for every record; twice.
fn damage(world: &mut World<Honest>, outcome: &mut Outcome) -> Result<(), String> {
    let lives = 1 + world.chance.below(4);
    world.run(lives)?;
    let closed = world.settle()?;
    let flips = flip(&world.disk, &mut world.chance);
    world.log.push(format!("closed {closed}, flipped {flips:?}"));
    outcome.worlds += 1;
    let mut named = BTreeMap::new();
    let mut excuse = Excuse::default();
    for round in 0..2 {
        let opened = Core::open_on(world.disk.clone(), world.coding.config(), world.now_ms, round);
        let (core, recovery) = opened.map_err(|error| format!("does not open: {error:?}"))?;
        set_keys(&core);
        world.log.push(format!("open: {recovery:?}"));
        outcome.alarms += u64::from(round == 0 && !recovery.is_clean());
        for lost in &recovery.lost {
            outcome.named += lost.range.last - lost.range.first + 1;
            // Past its end is what a shard may have had at most: far more than is worth listing.
            let end = world.model.shards.get(&lost.shard).map_or(FIRST_SEQUENCE, Shard::end);
            let range = lost.range.first..=lost.range.last.min(end);
            named.entry(lost.shard).or_insert_with(BTreeSet::new).extend(range);
        }
        excuse.see(&world.model, &recovery, flips.len() as u64, closed);
        if round == 0 {
            outcome.unnamed += account(&core, &world.model, &mut named, &excuse)?;
            check_meta(&core, &world.model, &recovery, &excuse)?;
        }
        go_on(&core, &world.model, world.now_ms, &mut excuse)?;
        world.disk = world.disk.power_cut(world.chance.next());
    }
    Ok(())
}

/// Why records may be missing without being named.
#[derive(Default)]
struct Excuse {
    /// Groups after this one were hit each and look like a torn tail.
    torn: Option<u64>,
    /// Losses are counted that could not be put into ranges.
    counted: bool,
    /// Both snapshots were hit: of a shard whose records had all been let go nobody knows that it ever was.
    forgotten: bool,
    /// Such shards, which began again at their first sequence.
    begun_again: BTreeSet<ShardKey>,
}

impl Excuse {
    /// What one start gave the right to stays for the next.
    fn see(&mut self, model: &Model, recovery: &Recovery, flips: u64, closed: bool) {
        let dropped = model.durable.saturating_sub(recovery.last_group);
        // Closing left two more witnesses, footer and snapshot; a bit each must have hit them too.
        let torn = recovery.torn_bytes > 0 && dropped + if closed { 2 } else { 0 } <= flips;
        self.torn = self.torn.or(torn.then_some(recovery.last_group));
        self.forgotten |= recovery.metadata_lost;
        self.counted |= recovery.groups_lost > 0 || !recovery.unreadable.is_empty();
    }
}

/// Flips a few bits where something is stored.
fn flip(disk: &SimDisk, chance: &mut Chance) -> Vec<(String, u64)> {
    let image = disk.image();
    let used: Vec<_> = image.iter().filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0)).collect();
    let mut flips = Vec::new();
    if used.is_empty() {
        return flips;
    }
    for _ in 0..=chance.below(3) {
        let (name, bytes) = used[usize::try_from(chance.below(used.len() as u64)).unwrap()];
        let stored: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        let near = stored[usize::try_from(chance.below(stored.len() as u64)).unwrap()] as u64;
        // A zero nearby now and then: padding and high bytes of lengths are damaged as well.
        let offset =
            if chance.percent(70) { near } else { (near + chance.below(16)).min(bytes.len() as u64 - 1) };
        disk.flip_bit(name, offset, u8::try_from(chance.below(8)).unwrap()).unwrap();
        flips.push((name.clone(), offset));
    }
    flips
}

/// Every record that must be there is read as it was written, or named as lost; how many are lost but only counted.
fn account<S: Storage>(
    core: &Core<S>,
    model: &Model,
    named: &mut BTreeMap<ShardKey, BTreeSet<u64>>,
    excuse: &Excuse,
) -> Result<u64, String> {
    let mut unnamed = 0;
    for (key, shard) in &model.shards {
        let lost = named.entry(*key).or_default();
        let read = read_all(core, *key, shard, lost)?;
        let must = shard.retired.max(FIRST_SEQUENCE)..shard.end();
        for sequence in must.filter(|sequence| !read.contains(sequence) && !lost.contains(sequence)) {
            let ticket = shard.get(sequence).map(|record| record.ticket);
            if excuse.counted {
                unnamed += 1;
            } else if excuse.torn.is_none() || ticket <= excuse.torn {
                return Err(format!("{key:?} record {sequence} of group {ticket:?} is lost silently"));
            }
        }
    }
    Ok(unnamed)
}

fn read_all<S: Storage>(
    core: &Core<S>,
    key: ShardKey,
    shard: &Shard,
    lost: &mut BTreeSet<u64>,
) -> Result<BTreeSet<u64>, String> {
    let mut read = BTreeSet::new();
    let mut from = FIRST_SEQUENCE;
    loop {
        let page = core.read(key, from, LIMITS).map_err(|error| format!("{key:?} from {from}: {error}"))?;
        for gap in &page.gaps {
            lost.extend(gap.first..=gap.last.min(shard.end()));
        }
        for record in page.records() {
            match shard.get(record.sequence) {
                Some(known) if known.key == record.key && known.data == record.data => {
                    read.insert(record.sequence);
                }
                known => return Err(format!("{key:?}: {record:?}, expected {known:?}")),
            }
        }
        if page.next >= page.end {
            return Ok(read);
        }
        if page.next <= from {
            return Err(format!("{key:?}: read stands still at {from} of {}", page.end));
        }
        from = page.next;
    }
}

fn check_meta<S: Storage>(
    core: &Core<S>,
    model: &Model,
    recovery: &Recovery,
    excuse: &Excuse,
) -> Result<(), String> {
    let found = core.meta_list(b"");
    for (key, value) in &found {
        if !model.meta_ever.contains(&(key.clone(), value.value.clone())) {
            return Err(format!("metadata {key:?} is {value:?}, which it never was"));
        }
    }
    let same = found.len() == model.meta.len()
        && found.iter().all(|(key, value)| model.meta.get(key).is_some_and(|meta| meta.is(value)));
    if same || recovery.metadata_lost || excuse.torn.is_some() {
        return Ok(());
    }
    Err(format!("metadata is {found:?}, expected {:?}, without an alarm", model.meta))
}

/// A damaged journal goes on: every shard takes a record, never under a number that was acknowledged for another.
fn go_on<S: Storage>(core: &Core<S>, model: &Model, now_ms: u64, excuse: &mut Excuse) -> Result<(), String> {
    for (key, shard) in &model.shards {
        let mut set = AppendSet::new();
        set.batch(*key);
        set.record(b"after", b"damage");
        let appended = match core.append(&set, now_ms) {
            Err(AppendError::Full) => return Ok(()),
            appended => appended.map_err(|error| format!("{key:?} after damage: {error}"))?,
        };
        let ticket = core.commit().map_err(|error| format!("{key:?} after damage: {error}"))?;
        if ticket < appended.ticket {
            return Err(format!("committed {ticket:?} only, appended {appended:?}"));
        }
        let first = appended.firsts[0];
        // Who must still have records is not forgotten: `account` has looked for them.
        if excuse.forgotten && first == FIRST_SEQUENCE {
            excuse.begun_again.insert(*key);
        }
        let forgotten = excuse.begun_again.contains(key);
        if first < shard.end() && excuse.torn.is_none() && !excuse.counted && !forgotten {
            return Err(format!("{key:?}: {first} given again, acknowledged up to {}", shard.end()));
        }
        let page = core.read(*key, first, LIMITS).map_err(|error| error.to_string())?;
        let read =
            page.records().next().is_some_and(|record| record.sequence == first && record.data == b"damage");
        if !read {
            return Err(format!("{key:?}: record {first} after damage is not read: {page:?}"));
        }
    }
    Ok(())
}
