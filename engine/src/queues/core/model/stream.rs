//! What happens to the stream under a queue: records are put, shards split and merge.

use super::{Place, State, World, at};
use crate::names::ShardId;
use crate::queues::core::ShardView;

impl World {
    pub(super) fn put(&mut self) {
        let open: Vec<u32> =
            self.stream.shards.iter().filter(|view| view.end.is_none()).map(|view| view.id.0).collect();
        let shard = open[usize::try_from(self.below(open.len() as u64)).unwrap()];
        let last =
            self.stream.times.range((shard, 0)..(shard + 1, 0)).next_back().map_or(0, |(place, _)| place.1);
        for i in 0..self.below(12) {
            let place = (shard, last + 1 + i);
            self.stream.times.insert(place, self.now_ms);
            self.truth.records.insert(place, State::Fresh);
            // What a producer put does not depend on the queue: it is there whatever crashes.
            self.durable.records.insert(place, State::Fresh);
            for (_, truth) in &mut self.staged {
                truth.records.insert(place, State::Fresh);
            }
        }
    }

    pub(super) fn reshard(&mut self) {
        if self.stream.shards.len() > 8 {
            return;
        }
        let open: Vec<usize> =
            (0..self.stream.shards.len()).filter(|&i| self.stream.shards[i].end.is_none()).collect();
        let parents = if self.below(2) == 0 && open.len() > 2 { &open[..2] } else { &open[..1] };
        for &parent in parents {
            let id = u32::try_from(parent).unwrap();
            let last =
                self.stream.times.range((id, 0)..(id + 1, 0)).next_back().map_or(0, |(place, _)| place.1);
            self.stream.shards[parent].end = Some(at(last + 1));
        }
        let ids: Vec<ShardId> = parents.iter().map(|&i| ShardId(u32::try_from(i).unwrap())).collect();
        for _ in 0..3 - parents.len() {
            let id = ShardId(u32::try_from(self.stream.shards.len()).unwrap());
            self.stream.shards.push(ShardView { id, parents: ids.clone(), end: None });
        }
        self.core.set_shards(&self.stream.shards);
    }

    pub(super) fn expire(&mut self) {
        self.stream.not_before_ms = self.stream.not_before_ms.max(self.now_ms.saturating_sub(6_000));
        self.sweep();
    }

    /// Lets core and truth forget what the stream no longer has.
    pub(super) fn sweep(&mut self) {
        for shard in self.core.shards_with_open() {
            let mut all = self.stream.times.range((shard.0, 0)..(shard.0 + 1, 0));
            let first = all
                .find(|(_, time_ms)| **time_ms >= self.stream.not_before_ms)
                .map_or(u64::MAX, |(p, _)| p.1);
            self.core.expire_before(shard, at(first));
        }
        let over: Vec<Place> =
            self.truth.records.keys().copied().filter(|&place| self.is_over(place)).collect();
        for place in over {
            let state = self.truth.records.get_mut(&place).unwrap();
            if matches!(state, State::Open(_)) {
                *state = State::Done;
            }
        }
    }
}
