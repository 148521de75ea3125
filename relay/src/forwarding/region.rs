//! A stretch of a source shard that is read from its beginning to its end.
//!
//! In: records in rising order, fates in any order. Out: how far it is done, and the counts of what is behind that.
//!
//! Always true: `from <= low <= every slot <= next`; `low` never moves back and never passes a slot without a fate.

use std::collections::{BTreeSet, VecDeque};

use crate::{DropReason, Ledger};

/// Whether something is of now or was left over from an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Live = 0,
    Backlog = 1,
}

impl Class {
    pub(super) const ALL: [Self; 2] = [Self::Live, Self::Backlog];
}

/// What became of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Open,
    Delivered,
    /// In the dead-letter stream, durable. Counted when it was confirmed.
    SetAside,
    /// Left the log. Such a slot stands for everything up to the next one.
    Dropped(DropReason),
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    offset: u64,
    size_bytes: u32,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Idle,
    Queued,
    Asked { places: usize, bytes_max: u64 },
}

#[derive(Debug)]
pub(super) struct Region {
    /// Names it for good, unlike its place in the list.
    pub(super) id: u32,
    /// Everything from here to `low` is done.
    pub(super) from: u64,
    /// Where reading goes on.
    pub(super) next: u64,
    /// Where it ends; the last region of a source has no end.
    pub(super) to: Option<u64>,
    pub(super) class: Class,
    pub(super) reading: Reading,
    /// Bytes of records without a fate.
    pub(super) open_bytes: u64,
    slots: VecDeque<Slot>,
    /// Number of the front slot, counted from the first there ever was.
    base: u64,
}

impl Region {
    pub(super) fn new(id: u32, from: u64, next: u64, to: Option<u64>, class: Class) -> Self {
        let slots = VecDeque::new();
        Self { id, from, next, to, class, reading: Reading::Idle, open_bytes: 0, slots, base: 0 }
    }

    /// The first offset that is not done.
    pub(super) fn low(&self) -> u64 {
        self.slots.front().map_or(self.next, |slot| slot.offset)
    }

    pub(super) fn is_done(&self) -> bool {
        self.to.is_some_and(|to| self.low() >= to)
    }

    /// Slots in memory, those with a fate behind an open one included.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Takes the next record; returns its number.
    pub(super) fn push(&mut self, offset: u64, size_bytes: u32, fate: Fate) -> u64 {
        debug_assert!(offset >= self.next, "a region is read forwards");
        self.slots.push_back(Slot { offset, size_bytes, fate });
        self.next = offset.saturating_add(1);
        if fate == Fate::Open {
            self.open_bytes = self.open_bytes.saturating_add(u64::from(size_bytes));
        }
        self.base.wrapping_add(self.slots.len() as u64 - 1)
    }

    /// Nothing is left in the log from where reading goes on up to `to`; true when that took a slot.
    pub(super) fn skip(&mut self, to: u64, reason: DropReason) -> bool {
        if to <= self.next {
            return false;
        }
        let goes_on = self.slots.back().is_some_and(|slot| slot.fate == Fate::Dropped(reason));
        if !goes_on {
            self.slots.push_back(Slot { offset: self.next, size_bytes: 0, fate: Fate::Dropped(reason) });
        }
        self.next = to;
        !goes_on
    }

    /// Gives a slot its fate.
    pub(super) fn settle(&mut self, number: u64, fate: Fate) {
        let index = usize::try_from(number.wrapping_sub(self.base)).expect("it is in the window");
        let slot = self.slots.get_mut(index).expect("a record without a fate is in the window");
        assert!(slot.fate == Fate::Open, "a record has one fate");
        slot.fate = fate;
        self.open_bytes = self.open_bytes.saturating_sub(u64::from(slot.size_bytes));
    }

    /// Moves `low` over everything that has a fate, counts it, and returns the number of slots given up.
    pub(super) fn advance(&mut self, ledger: &mut Ledger, set_aside: &mut BTreeSet<u64>) -> usize {
        let mut popped = 0;
        while let Some(slot) = self.slots.front().copied() {
            if slot.fate == Fate::Open {
                break;
            }
            self.slots.pop_front();
            self.base = self.base.wrapping_add(1);
            popped += 1;
            match slot.fate {
                Fate::Open => {}
                Fate::Delivered => {
                    ledger.delivered = ledger.delivered.saturating_add(1);
                    ledger.delivered_bytes =
                        ledger.delivered_bytes.saturating_add(u64::from(slot.size_bytes));
                }
                Fate::SetAside => {
                    set_aside.remove(&slot.offset);
                }
                Fate::Dropped(reason) => {
                    let span = slot.offset..self.low();
                    // What a start found in the dead-letter stream already is not lost a second time.
                    let known: Vec<u64> = set_aside.range(span.clone()).copied().collect();
                    for offset in &known {
                        set_aside.remove(offset);
                    }
                    let count = (span.end - span.start).saturating_sub(known.len() as u64);
                    ledger.count_dropped(reason, count);
                }
            }
        }
        popped
    }
}
