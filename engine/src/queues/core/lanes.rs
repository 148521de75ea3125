//! Open records of a shard by what may happen to them next, each in order of the time it may.

use super::Entry;
use crate::storage::Position;
use std::collections::BTreeSet;

/// What an open record waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// To be received again.
    Normal,
    /// To become a dead letter: it was received as often as it may.
    Last,
    /// To be received as a dead letter.
    Dead,
}

impl Lane {
    pub(super) fn of(entry: &Entry, receives_max: Option<u32>) -> Lane {
        match receives_max {
            _ if entry.dead => Lane::Dead,
            Some(most) if entry.count() >= most => Lane::Last,
            _ => Lane::Normal,
        }
    }
}

/// The three lanes, each ordered by time and then by position.
#[derive(Debug, Default)]
pub(super) struct Lanes([BTreeSet<(u64, Position)>; 3]);

impl Lanes {
    fn of(&self, lane: Lane) -> &BTreeSet<(u64, Position)> {
        &self.0[lane as usize]
    }

    pub(super) fn insert(&mut self, lane: Lane, entry: &Entry, position: Position) {
        self.0[lane as usize].insert((entry.until_ms, position));
    }

    pub(super) fn remove(&mut self, lane: Lane, entry: &Entry, position: Position) {
        self.0[lane as usize].remove(&(entry.until_ms, position));
    }

    /// Positions that nobody holds now, those that were let go first at the front.
    pub(super) fn visible(&self, lane: Lane, now_ms: u64) -> impl Iterator<Item = Position> + '_ {
        self.of(lane)
            .iter()
            .take_while(move |(until_ms, _)| *until_ms <= now_ms)
            .map(|&(_, position)| position)
    }

    /// The next time after now at which one is let go.
    pub(super) fn next_ms(&self, lane: Lane, now_ms: u64) -> Option<u64> {
        let least = Position { position: 0, index: 0 };
        let after = (now_ms.saturating_add(1), least);
        self.of(lane).range(after..).next().map(|&(until_ms, _)| until_ms)
    }

    pub(super) fn clear(&mut self) {
        self.0.iter_mut().for_each(BTreeSet::clear);
    }
}
