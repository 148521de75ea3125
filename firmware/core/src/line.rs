//! Where in the line of all entries of all boots something stands, and what is missing from it.
//!
//! In: places of what was delivered and of what was lost. Out: gaps. Invariant: inside a boot, what is delivered plus
//! what is told as gaps has no holes, because a gap always begins where the line stands. Pure; nothing about flash.

use crate::limits::LOSSES_MAX;
use headwater_telemetry::{BootId, Seq, Uptime};
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// A place between two entries: everything of earlier boots, and of `boot` before `next`, is behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Line {
    /// The boot.
    pub boot: BootId,
    /// The place in it.
    pub next: Seq,
}

impl Line {
    /// The place after `through`.
    pub fn after(boot: BootId, through: Seq) -> Self {
        // The end of a line of 2^32 entries stays its end: the device starts anew before it gets there.
        Self { boot, next: Seq(through.0.saturating_add(1)) }
    }

    /// Where the line of `boot` is expected to go on: where it stands, or at the beginning of a boot not reached yet.
    pub(crate) fn expected(self, boot: BootId) -> Seq {
        if boot == self.boot { self.next } else { Seq(0) }
    }

    /// The entries missing between here and `first` of `boot`.
    pub(crate) fn missing(self, boot: BootId, first: Seq) -> Option<(Seq, u32)> {
        let expected = self.expected(boot);
        first.0.checked_sub(expected.0).filter(|&count| count > 0).map(|count| (expected, count))
    }
}

/// Everything of `end.boot` before `end` is no longer in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loss {
    pub(crate) end: Line,
    /// Uptime of the first lost entry.
    pub(crate) at: Uptime,
}

/// Losses that nobody was told of yet, oldest first, one a boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Losses(Vec<Loss, LOSSES_MAX>);

impl Losses {
    /// Entries up to `end` are lost. True when two boots had to be merged for it.
    pub(crate) fn add(&mut self, end: Line, at: Uptime) -> bool {
        if let Some(last) = self.0.last_mut()
            && last.end.boot == end.boot
        {
            last.end = last.end.max(end);
            return false;
        }
        let full = self.0.is_full();
        if full {
            // The second oldest boot is over and gone whole, or the oldest would not be lost to its end. So its
            // entries can be counted on at the end of the oldest without meeting anything that was delivered.
            let second = self.0.remove(1);
            self.0[0].end.next.0 = self.0[0].end.next.0.saturating_add(second.end.next.0);
        }
        let pushed = self.0.push(Loss { end, at });
        assert!(pushed.is_ok(), "a full list was shortened above");
        full
    }

    /// The first loss past `line`.
    pub(crate) fn past(&self, line: Line) -> Option<Loss> {
        self.0.iter().copied().find(|loss| loss.end > line)
    }

    /// Forgets what `line` has passed.
    pub(crate) fn prune(&mut self, line: Line) {
        self.0.retain(|loss| loss.end > line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(boot: u32, next: u32) -> Line {
        Line { boot: BootId(boot), next: Seq(next) }
    }

    /// Everything the list tells from `at` on, as (boot, first, count).
    fn told(losses: &Losses, mut at: Line) -> std::vec::Vec<(u32, u32, u32)> {
        let mut told = std::vec::Vec::new();
        while let Some(loss) = losses.past(at) {
            let (first, count) = at.missing(loss.end.boot, loss.end.next).unwrap();
            told.push((loss.end.boot.0, first.0, count));
            at = loss.end;
        }
        told
    }

    #[test]
    fn a_loss_begins_where_the_line_stands() {
        let mut losses = Losses::default();
        losses.add(line(3, 40), Uptime(1));
        losses.add(line(3, 60), Uptime(2));
        losses.add(line(4, 5), Uptime(3));
        assert_eq!(told(&losses, line(3, 12)), [(3, 12, 48), (4, 0, 5)]);
        assert_eq!(told(&losses, line(2, 7)), [(3, 0, 60), (4, 0, 5)]);
        losses.prune(line(3, 60));
        assert_eq!(told(&losses, line(3, 60)), [(4, 0, 5)]);
    }

    #[test]
    fn losses_of_many_boots_are_merged_but_counted_exactly() {
        let mut losses = Losses::default();
        for boot in 1..=50 {
            losses.add(line(boot, 10), Uptime(0));
            losses.add(line(boot, 10 + boot), Uptime(0));
        }
        let told = told(&losses, line(1, 4));
        assert_eq!(told.len(), LOSSES_MAX);
        let all: u32 = (1..=50).map(|boot| 10 + boot).sum();
        assert_eq!(told.iter().map(|gap| gap.2).sum::<u32>(), all - 4);
        assert_eq!(told[0].1, 4, "the oldest boot keeps its place in the line");
    }
}
