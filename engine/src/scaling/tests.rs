//! A simulated on-demand stream: producers with keys, shards that refuse what is beyond their rate, minutes that pass.

use super::*;
use crate::hash::HashKey;

const START: u64 = 1_700_000_000_000;
const MINUTE_MS: u64 = 60_000;
const MB: u64 = 1_000_000;

struct World {
    core: Scaling,
    now_ms: u64,
    /// Open shards in the order of their keys: id, parent, first key, last key, bytes.
    open: Vec<(ShardId, Option<ShardId>, u128, u128, u64)>,
    next: u32,
    ready: usize,
    step_ms: u64,
}

impl World {
    fn new(shards: u32) -> World {
        let ranges = crate::hash::split_evenly(shards);
        let open = (0..).zip(ranges).map(|(id, range)| (ShardId(id), None, range.start.0, range.end.0, 0));
        World {
            core: Scaling::default(),
            now_ms: START,
            open: open.collect(),
            next: shards,
            ready: 0,
            step_ms: MINUTE_MS,
        }
    }

    /// A minute in which `keys` put so many bytes a second together. Gives the bytes a second that fit.
    fn minute(&mut self, keys: &[HashKey], bytes_per_second: u64) -> u64 {
        let mut taken = 0;
        for (_, _, start, end, total) in &mut self.open {
            let below = |bound: u128| keys.partition_point(|key| key.0 < bound);
            let here = keys.partition_point(|key| key.0 <= *end) - below(*start);
            let here = here as u64;
            let offered = bytes_per_second * here / (keys.len() as u64).max(1);
            let fits = offered.min(u64::from(limits::SHARD_PUT_BYTES_PER_SECOND));
            *total += fits * self.step_ms / 1_000;
            taken += fits;
        }
        self.now_ms += self.step_ms;
        let told: Vec<_> = self
            .open
            .iter()
            .map(|&(shard, parent, start, end, bytes)| Told {
                shard,
                parent,
                width: end - start,
                bytes,
                records: 0,
            })
            .collect();
        for want in self.core.told(self.now_ms, &told, self.ready) {
            self.carry_out(want);
        }
        taken
    }

    fn carry_out(&mut self, want: Want) {
        let place = |open: &[(ShardId, _, _, _, _)], shard| open.iter().position(|s| s.0 == shard).unwrap();
        match want {
            Want::Split(shard) => {
                let at = place(&self.open, shard);
                let (_, _, start, end, _) = self.open.remove(at);
                let half = start + (end - start) / 2;
                self.open.insert(at, (ShardId(self.next), Some(shard), start, half, 0));
                self.open.insert(at + 1, (ShardId(self.next + 1), Some(shard), half + 1, end, 0));
                self.next += 2;
            }
            Want::Merge(one, other) => {
                let at = place(&self.open, one);
                let (_, _, start, end, _) = self.open.remove(at);
                let (id, _, after, last, _) = self.open.remove(at);
                assert_eq!((id, after), (other, end + 1), "only neighbours merge");
                self.open.insert(at, (ShardId(self.next), None, start, last, 0));
                self.next += 1;
            }
        }
    }

    fn minutes(&mut self, count: u64, keys: &[HashKey], bytes_per_second: u64) {
        for _ in 0..count {
            self.minute(keys, bytes_per_second);
        }
    }
}

/// An hour at a time, so that months pass quickly.
impl World {
    fn days(&mut self, count: u64) {
        self.step_ms = 60 * MINUTE_MS;
        self.minutes(24 * count, &[], 0);
        self.step_ms = MINUTE_MS;
    }
}

fn keys(count: u32) -> Vec<HashKey> {
    let mut keys: Vec<_> = (0..count).map(|key| HashKey::of(key.to_string().as_bytes())).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn a_steady_load_below_half_of_every_shard_changes_nothing() {
    let mut world = World::new(4);
    world.minutes(600, &keys(10_000), 2 * MB - 100_000);
    assert_eq!(world.next, 4);
}

#[test]
fn a_load_that_doubles_is_taken_at_once_and_room_for_twice_as_much_is_made_within_fifteen_minutes() {
    let (mut world, keys) = (World::new(4), keys(10_000));
    world.minutes(10, &keys, 2 * MB - 100_000);
    // Not more than double the peak, which the stream grants without a delay.
    for peak in [4, 8, 16, 32, 64] {
        let offered = peak * MB - 200_000;
        // Keys are not spread quite evenly, and these are few.
        assert!(world.minute(&keys, offered) * 100 > offered * 99, "at {peak} MB/s");
        world.minutes(14, &keys, offered);
        let needed = usize::try_from(2 * peak).unwrap();
        assert!(world.open.len() + 1 >= needed, "{} shards at {peak} MB/s", world.open.len());
        assert!(world.open.len() <= 2 * needed + 4, "{} shards at {peak} MB/s", world.open.len());
    }
}

#[test]
fn more_than_double_the_peak_is_throttled_until_the_shards_are_split() {
    let (mut world, keys) = (World::new(4), keys(10_000));
    world.minutes(10, &keys, 2 * MB);
    let offered = 12 * MB;
    assert!(world.minute(&keys, offered) < 5 * MB);
    world.minutes(15, &keys, offered);
    assert!(world.minute(&keys, offered) > offered - MB);
}

#[test]
fn a_hot_key_is_not_isolated_for_ever() {
    let mut world = World::new(4);
    world.minutes(600, &[HashKey::of(b"hot")], 5 * MB);
    assert!(world.open.len() <= 4 + limits::SCALING_BARREN_SPLITS_MAX as usize, "{}", world.open.len());
}

#[test]
fn a_few_keys_are_spread_as_far_as_they_go() {
    let mut world = World::new(4);
    let few = keys(3);
    world.minutes(60, &few, 3 * MB);
    let shards_used =
        world.open.iter().filter(|s| few.iter().any(|key| (s.2..=s.3).contains(&key.0))).count();
    assert_eq!(shards_used, 3);
}

#[test]
fn a_stream_has_no_more_shards_than_its_ceiling() {
    let mut world = World::new(4);
    world.minutes(200, &keys(20_000), 1_000 * MB);
    assert_eq!(world.open.len(), limits::ON_DEMAND_SHARDS_MAX);
}

#[test]
fn what_is_kept_ready_is_made_and_not_merged_away() {
    let mut world = World::new(4);
    world.ready = 50;
    world.minutes(10, &keys(1), 0);
    assert_eq!(world.open.len(), 50);
    world.days(3);
    assert_eq!(world.open.len(), 50);
    world.ready = 0;
    world.days(6);
    assert_eq!(world.open.len(), 4, "released with nothing behind it, it is halved day by day");
}

#[test]
fn a_quiet_day_merges_shards_but_twice_the_peak_of_thirty_days_stays() {
    let (mut world, keys) = (World::new(4), keys(10_000));
    world.minutes(60, &keys, 10 * MB);
    let scaled = world.open.len();
    assert!(scaled >= 20);
    // A day of silence, and not a minute less.
    world.minutes(1_380, &keys, 0);
    assert_eq!(world.open.len(), scaled);
    world.days(2);
    assert!((19..=scaled).contains(&world.open.len()), "{}", world.open.len());
    assert!(world.minute(&keys, 10 * MB) > 9 * MB, "the old peak is still granted");
    world.days(33);
    assert_eq!(world.open.len(), 4, "after thirty days it is forgotten");
}

#[test]
fn a_load_at_the_threshold_does_not_swing() {
    let (mut world, keys) = (World::new(4), keys(10_000));
    world.minutes(30, &keys, 2 * MB + 300_000);
    let after = world.next;
    world.step_ms = 10 * MINUTE_MS;
    world.minutes(40 * 144, &keys, 2 * MB + 300_000);
    assert_eq!(world.next, after, "split once, then neither split nor merged");
}
