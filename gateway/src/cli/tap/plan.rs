//! Which shards to read when.
//!
//! In: the shards of a stream, which of them were read to their end. Out: those to begin with now. Invariant: a shard begins
//! after everything it came from was read to its end, so that a key's records stay in order.
//! Pure; not here: reading (`follow`).

use headwater_aws::{Shard, ShardId};
use std::collections::BTreeSet;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum From {
    Oldest,
    Newest,
}

/// What was begun and what has ended.
#[derive(Debug)]
pub(super) struct Plan {
    from: From,
    is_first: bool,
    begun: BTreeSet<ShardId>,
    ended: BTreeSet<ShardId>,
}

impl Plan {
    pub(super) fn new(from: From) -> Self {
        Plan { from, is_first: true, begun: BTreeSet::new(), ended: BTreeSet::new() }
    }

    /// The shards to begin with now, and where.
    pub(super) fn begin(&mut self, shards: &[Shard]) -> Vec<(ShardId, From)> {
        if std::mem::take(&mut self.is_first) && self.from == From::Newest {
            // What is closed has no news.
            self.ended.extend(shards.iter().filter(|shard| !shard.is_open).map(|shard| shard.id));
            self.begun.extend(shards.iter().map(|shard| shard.id));
            let open = shards.iter().filter(|shard| shard.is_open);
            return open.map(|shard| (shard.id, From::Newest)).collect();
        }
        let there: BTreeSet<ShardId> = shards.iter().map(|shard| shard.id).collect();
        // What a stream no longer lists has expired with all its records.
        let is_past = |parent: &ShardId| self.ended.contains(parent) || !there.contains(parent);
        let ready = shards.iter().filter(|shard| !self.begun.contains(&shard.id));
        let ready = ready.filter(|shard| shard.parents.iter().all(is_past));
        let ready: Vec<_> = ready.map(|shard| (shard.id, From::Oldest)).collect();
        self.begun.extend(ready.iter().map(|(id, _)| *id));
        ready
    }

    /// A shard was read to its end.
    pub(super) fn ended(&mut self, shard: ShardId) {
        self.ended.insert(shard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> ShardId {
        ShardId::parse(&format!("shardId-{number:012}")).unwrap()
    }

    fn shard(number: u64, parents: &[u64], is_open: bool) -> Shard {
        Shard { id: id(number), range: 0..=1, parents: parents.iter().copied().map(id).collect(), is_open }
    }

    #[test]
    fn a_shard_begins_after_everything_it_came_from() {
        // 0 was split into 1 and 2, which were merged into 3; 4 came from what has expired.
        let shards = [
            shard(0, &[], false),
            shard(1, &[0], false),
            shard(2, &[0], false),
            shard(3, &[1, 2], true),
            shard(4, &[9], true),
        ];
        let mut plan = Plan::new(From::Oldest);
        let mut begin = |ended: Option<u64>| {
            ended.into_iter().for_each(|number| plan.ended(id(number)));
            plan.begin(&shards).into_iter().map(|(id, _)| id.number()).collect::<Vec<_>>()
        };
        assert_eq!(begin(None), [0, 4]);
        assert!(begin(None).is_empty());
        assert_eq!(begin(Some(0)), [1, 2]);
        assert!(begin(Some(1)).is_empty());
        assert_eq!(begin(Some(2)), [3]);
    }

    #[test]
    fn from_newest_only_what_is_open_is_read_and_then_what_comes_of_it_from_its_beginning() {
        let mut shards = vec![shard(0, &[], false), shard(1, &[0], true), shard(2, &[0], true)];
        let mut plan = Plan::new(From::Newest);
        assert_eq!(plan.begin(&shards), [(id(1), From::Newest), (id(2), From::Newest)]);
        shards.push(shard(3, &[1, 2], true));
        plan.ended(id(1));
        assert!(plan.begin(&shards).is_empty());
        plan.ended(id(2));
        assert_eq!(plan.begin(&shards), [(id(3), From::Oldest)]);
    }
}
