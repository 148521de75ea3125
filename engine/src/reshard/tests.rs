use super::*;

fn split(shard: u32, at: u128) -> Plan {
    Plan::Steps(vec![Step::Split { shard: ShardId(shard), at: HashKey(at) }])
}

fn merge(shard: u32, adjacent: u32) -> Plan {
    Plan::Steps(vec![Step::Merge { shard: ShardId(shard), adjacent: ShardId(adjacent) }])
}

/// Carries a plan out; shard n ends at position 100 + n.
fn reshard(map: &ShardMap, plan: &Plan, at_ms: u64) -> Result<ShardMap, PlanError> {
    let resharded = Resharded::of(map, plan, at_ms)?;
    let end = |id: &ShardId| (*id, Position { position: 100 + u64::from(id.0), index: 0 });
    let ends = resharded.ended.iter().map(end).collect();
    Ok(ShardMap::new(resharded.with_ends(&ends)).expect("a map covers the space"))
}

/// What must hold between a map and the one a plan made of it, apart from the cover that [`ShardMap::new`] checks.
fn assert_lawful(before: &ShardMap, after: &ShardMap, at_ms: u64) {
    for old in before.all() {
        let new = after.get(old.id).expect("no shard is forgotten");
        if old.closed.is_some() || new.closed.is_none() {
            assert_eq!(old, new);
        } else {
            let end = Position { position: 100 + u64::from(old.id.0), index: 0 };
            assert_eq!(new.closed, Some(Closed { at_ms, end }));
            assert_eq!(Shard { closed: None, ..new.clone() }, *old);
        }
    }
    let last = before.all().last().unwrap().id;
    for shard in after.all().iter().filter(|shard| shard.closed.is_some()) {
        let children: Vec<_> = after.children(shard.id).collect();
        assert!(!children.is_empty() && children.len() <= 2, "{children:?}");
        for child in &children {
            assert!(child.id > shard.id && child.generation > shard.generation);
        }
        // Where a key goes on, exactly one child takes it: nothing of a parent is without a successor.
        for key in [shard.range.start, shard.range.end] {
            assert_eq!(children.iter().filter(|child| child.range.contains(key)).count(), 1);
        }
    }
    for new in after.all().iter().filter(|shard| shard.id > last) {
        assert_eq!(new.opened_ms, at_ms);
        let parent = after.get(new.parent.unwrap()).unwrap();
        match new.adjacent_parent {
            None => assert!(parent.range.contains(new.range.start) && parent.range.contains(new.range.end)),
            Some(other) => {
                let other = after.get(other).unwrap();
                assert!(new.range.contains(parent.range.start) && new.range.contains(other.range.start));
            }
        }
        assert!(new.closed.is_none_or(|closed| closed.end == Position::default()), "it never took a record");
    }
}

fn assert_even(map: &ShardMap, count: u32) {
    let targets = split_evenly(count);
    assert_eq!(map.open_count(), targets.len());
    for (shard, target) in map.open().zip(targets) {
        assert!(shard.range.start.0.abs_diff(target.start.0) <= BORDER_SLACK);
    }
}

#[test]
fn a_split_gives_both_children_their_part() {
    let map = ShardMap::even(1, 1);
    let after = reshard(&map, &split(0, 1 << 127), 5).unwrap();
    assert_lawful(&map, &after, 5);
    let ranges: Vec<_> =
        after.open().map(|shard| (shard.id.0, shard.range.start.0, shard.generation)).collect();
    assert_eq!(ranges, [(1, 0, 1), (2, 1 << 127, 1)]);
    assert_eq!(Step::halve(&map.all()[0]), Some(Step::Split { shard: ShardId(0), at: HashKey(1 << 127) }));
}

#[test]
fn a_merge_has_both_parents_in_the_order_asked() {
    let map = reshard(&ShardMap::even(2, 1), &split(0, 7), 5).unwrap();
    for (plan, parents) in [(merge(3, 1), (3, 1)), (merge(1, 3), (1, 3))] {
        let after = reshard(&map, &plan, 6).unwrap();
        assert_lawful(&map, &after, 6);
        let child = after.all().last().unwrap();
        assert_eq!((child.parent.unwrap().0, child.adjacent_parent.unwrap().0), parents);
        assert_eq!((child.generation, child.range.start.0, child.range.end.0), (2, 7, u128::MAX));
    }
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    let map = reshard(&ShardMap::even(4, 1), &split(1, (1 << 126) + 9), 5).unwrap();
    let error = |plan: &Plan| Resharded::of(&map, plan, 6).unwrap_err();
    assert_eq!(error(&split(9, 1)), PlanError::Missing(ShardId(9)));
    assert_eq!(error(&split(1, 1)), PlanError::Closed(ShardId(1)));
    for at in [0, 1 << 126, u128::MAX] {
        assert_eq!(error(&split(0, at)), PlanError::Outside { shard: ShardId(0), at: HashKey(at) });
    }
    assert_eq!(error(&merge(0, 2)), PlanError::NotAdjacent(ShardId(0), ShardId(2)));
    assert_eq!(error(&merge(0, 0)), PlanError::NotAdjacent(ShardId(0), ShardId(0)));
    assert_eq!(error(&merge(0, 1)), PlanError::Closed(ShardId(1)));
    assert_eq!(error(&Plan::Steps(Vec::new())), PlanError::Steps(0));
    assert_eq!(error(&Plan::Resize { shards: 0 }), PlanError::Count { found: 0, limit: 10_000 });
    assert_eq!(error(&Plan::Resize { shards: 10_001 }), PlanError::Count { found: 10_001, limit: 10_000 });
    // A shard takes part once, and a child only in the next plan.
    let step = Step::Split { shard: ShardId(0), at: HashKey(5) };
    assert_eq!(error(&Plan::Steps(vec![step, step])), PlanError::Closed(ShardId(0)));
    let child = Step::Split { shard: ShardId(6), at: HashKey(3) };
    assert_eq!(error(&Plan::Steps(vec![step, child])), PlanError::Missing(ShardId(6)));
}

#[test]
fn a_shard_with_one_key_is_not_split() {
    let map = reshard(&ShardMap::even(1, 1), &split(0, 1), 5).unwrap();
    assert_eq!(Step::halve(map.get(ShardId(1)).unwrap()), None);
    let at = HashKey(0);
    assert_eq!(Resharded::of(&map, &split(1, 0), 6), Err(PlanError::Outside { shard: ShardId(1), at }));
}

#[test]
fn a_resize_makes_even_shards_and_leaves_those_that_are_right() {
    for (from, to, made) in [(1, 2, 2), (2, 4, 4), (4, 2, 2), (2, 2, 0), (4, 5, 11), (3, 1, 2), (10, 5, 5)] {
        let map = ShardMap::even(from, 1);
        let after = reshard(&map, &Plan::Resize { shards: to }, 5).unwrap();
        assert_lawful(&map, &after, 5);
        assert_even(&after, to);
        // 4 to 5 makes 11 shards in AWS as well.
        assert_eq!(after.all().len() - map.all().len(), made, "{from} to {to}");
    }
}

#[test]
fn the_largest_stream_there_can_be_is_made_by_doubling() {
    let map = ShardMap::even(5_000, 1);
    let after = reshard(&map, &Plan::Resize { shards: 10_000 }, 5).unwrap();
    assert_lawful(&map, &after, 5);
    assert_eq!(after.open_count(), 10_000);
    let full = Resharded::of(&after, &split(5_000, 1), 6);
    assert_eq!(full, Err(PlanError::Count { found: 10_001, limit: 10_000 }));
}

/// A small generator, so that a failure is repeated by its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    fn key(&mut self, range: HashRange) -> HashKey {
        let any = u128::from(self.next()) << 64 | u128::from(self.next());
        // Often at the border, where ranges are cut.
        match self.below(4) {
            0 => range.start,
            1 => HashKey(range.start.0.saturating_add(1)),
            2 => range.end,
            _ => HashKey(range.start.0 + any.checked_rem(range.end.0 - range.start.0).unwrap_or(0)),
        }
    }

    fn plan(&mut self, map: &ShardMap) -> Plan {
        let open: Vec<_> = map.open().cloned().collect();
        let one = self.below(open.len());
        match self.below(5) {
            0 => Plan::Resize { shards: u32::try_from(1 + self.below(open.len() * 2 + 3)).unwrap() },
            1 | 2 => {
                let other = (one + 1 + self.below(2)).min(open.len() - 1);
                let mut pair = [open[one].id, open[other].id];
                pair.rotate_left(self.below(2));
                Plan::Steps(vec![Step::Merge { shard: pair[0], adjacent: pair[1] }])
            }
            _ => {
                let steps = (0..=self.below(2)).map(|_| {
                    let shard = &open[self.below(open.len())];
                    Step::Split { shard: shard.id, at: self.key(shard.range) }
                });
                Plan::Steps(steps.collect())
            }
        }
    }
}

#[test]
fn random_plans_keep_every_law() {
    let mut refused = 0;
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut map = ShardMap::even(1 + u32::try_from(random.below(6)).unwrap(), 1);
        for at_ms in 2..40 {
            let plan = random.plan(&map);
            let Ok(after) = reshard(&map, &plan, at_ms) else {
                refused += 1;
                continue;
            };
            assert_lawful(&map, &after, at_ms);
            if let Plan::Resize { shards } = plan {
                assert_even(&after, shards);
            }
            map = after;
            // Closed shards expire: whatever is left stays a map, and ids go on.
            if random.below(6) == 0 {
                let horizon_ms = at_ms.saturating_sub(3);
                let left = map.all().iter().filter(|shard| !shard.is_expired(horizon_ms)).cloned().collect();
                let last = map.all().last().unwrap().id;
                map = ShardMap::new(left).expect("only closed shards expire");
                assert_eq!(map.all().last().unwrap().id, last, "ids are not used again");
            }
        }
    }
    assert!(
        (500..4_000).contains(&refused),
        "plans that are refused are tried too, and not only those: {refused}"
    );
}
