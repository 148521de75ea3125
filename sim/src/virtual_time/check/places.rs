//! The places of one boot, as a shard tells them: where the line stands, and the holes behind it.
//!
//! In: runs of places in the order of the shard. Out: whether each is the next one, a late one or a repeat; holes that nobody
//! filled. Invariant: a place is taken once; every place before `next` that is in no hole was told.

/// One boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Its number.
    pub(super) boot: u32,
    /// The place after the last one told.
    pub(super) next: u64,
    /// First place of each hole and the first one after it, ascending.
    holes: Vec<(u64, u64)>,
}

/// What a run of places is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// It goes on where the line stood, or leaves a hole.
    Next,
    /// It fills a hole: it stands after what comes later.
    Late,
    /// Some of it was told before.
    Repeat,
}

impl Places {
    pub(super) fn of(boot: u32) -> Self {
        Self { boot, ..Self::default() }
    }

    /// Takes `count` places from `first` on. Of a repeat nothing is taken.
    pub(super) fn take(&mut self, first: u64, count: u64) -> Run {
        let end = first + count;
        if first >= self.next {
            if first > self.next {
                self.holes.push((self.next, first));
            }
            self.next = end;
            return Run::Next;
        }
        let Some(at) = self.holes.iter().position(|&(from, to)| from <= first && end <= to) else {
            return Run::Repeat;
        };
        let (from, to) = self.holes.remove(at);
        let rest = [(from, first), (end, to)].into_iter().filter(|(from, to)| from < to);
        self.holes.splice(at..at, rest);
        Run::Late
    }

    /// First place and number of places of each hole.
    pub(super) fn holes(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.holes.iter().map(|&(from, to)| (from, to - from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_late_and_in_parts_and_never_twice() {
        let mut places = Places::of(1);
        assert_eq!([places.take(0, 5), places.take(5, 1), places.take(20, 10)], [Run::Next; 3]);
        assert_eq!(places.take(10, 4), Run::Late);
        assert_eq!(places.holes().collect::<Vec<_>>(), [(6, 4), (14, 6)]);
        assert_eq!([places.take(13, 2), places.take(5, 2), places.take(29, 2)], [Run::Repeat; 3]);
        assert_eq!([places.take(6, 4), places.take(14, 6)], [Run::Late; 2]);
        assert_eq!((places.holes().count(), places.next), (0, 30));
        assert_eq!(places.take(30, 1), Run::Next);
    }
}
