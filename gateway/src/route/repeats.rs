//! Which entries of a device were stored already.
//!
//! In: ranges of sequence numbers of one boot. Out: the parts of them that are new; bytes for the metadata.
//! Invariant: what is called a repeat was covered before: a range is never widened over numbers that were not
//! stored. What does not fit is forgotten, so that a repeat of it is stored twice. A duplicate is better than a loss.
//!
//! ```text
//! mark  | version 1 | boots | per boot: boot u32 | ranges u8 | per range: first u32, last u32 |   little endian
//!       boots from the one heard of least recently to the most recent
//! ```

use super::limits::{BOOTS_PER_DEVICE_MAX, RANGES_PER_BOOT_MAX};
use headwater_telemetry::{BootId, Seq};

const VERSION: u8 = 1;

/// Both ends are part of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeqRange {
    pub(crate) first: Seq,
    pub(crate) last: Seq,
}

impl SeqRange {
    pub(crate) fn new(first: Seq, last: Seq) -> Self {
        debug_assert!(first <= last, "a range has at least one number");
        SeqRange { first, last }
    }
}

/// What is known of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Most recent last.
    boots: Vec<Boot>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Boot {
    id: BootId,
    len: usize,
    /// The first `len` are in use: ascending, apart by at least one number.
    ranges: [SeqRange; RANGES_PER_BOOT_MAX],
}

/// What had to be forgotten to remember something new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Forgotten {
    pub(crate) boots: u64,
    pub(crate) ranges: u64,
}

impl Seen {
    /// The parts of `asked` that were not stored yet, ascending.
    pub(crate) fn fresh(&self, boot: BootId, asked: SeqRange) -> impl Iterator<Item = SeqRange> + '_ {
        let known = self.boots.iter().find(|known| known.id == boot).map_or(&[][..], Boot::ranges);
        let mut known =
            known.iter().filter(move |range| range.last >= asked.first && range.first <= asked.last);
        // Where the part that is not yet looked at begins; `None` when nothing is left.
        let mut from = Some(asked.first);
        std::iter::from_fn(move || {
            loop {
                let start = from?;
                let Some(range) = known.next() else {
                    from = None;
                    return Some(SeqRange::new(start, asked.last));
                };
                from = range.last.0.checked_add(1).map(Seq).filter(|next| *next <= asked.last);
                if range.first > start {
                    return Some(SeqRange::new(start, Seq(range.first.0 - 1)));
                }
            }
        })
    }

    /// Remembers that all of `stored` is stored.
    pub(crate) fn cover(&mut self, boot: BootId, stored: SeqRange) -> Forgotten {
        let mut forgotten = Forgotten::default();
        let at = match self.boots.iter().position(|known| known.id == boot) {
            Some(at) => at,
            None => {
                if self.boots.len() == BOOTS_PER_DEVICE_MAX {
                    self.boots.remove(0);
                    forgotten.boots = 1;
                }
                self.boots.push(Boot { id: boot, len: 0, ranges: [stored; RANGES_PER_BOOT_MAX] });
                self.boots.len() - 1
            }
        };
        forgotten.ranges = self.boots[at].cover(stored);
        self.boots[at..].rotate_left(1);
        forgotten
    }

    /// A device says that it is in `boot`. If later boots are known its counter went back: it was erased and counts
    /// anew, and the marks of `boot` and after would take its new entries for repeats. Returns how many boots were
    /// forgotten for that.
    pub(crate) fn handle_boot(&mut self, boot: BootId) -> u64 {
        let before = self.boots.len();
        if self.boots.iter().any(|known| known.id > boot) {
            self.boots.retain(|known| known.id < boot);
        }
        (before - self.boots.len()) as u64
    }

    /// Appends the mark's bytes to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let small = |n: usize| u8::try_from(n).expect("boots and ranges are bounded far below 256");
        out.extend([VERSION, small(self.boots.len())]);
        for boot in &self.boots {
            out.extend(boot.id.0.to_le_bytes());
            out.push(small(boot.len));
            for range in boot.ranges() {
                out.extend(range.first.0.to_le_bytes());
                out.extend(range.last.0.to_le_bytes());
            }
        }
    }

    /// Reads a mark; `None` when the bytes are none that [`Seen::encode`] writes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Seen> {
        let mut bytes = Bytes(bytes);
        if bytes.byte()? != VERSION {
            return None;
        }
        let mut seen = Seen::default();
        for _ in 0..bytes.byte()? {
            let id = BootId(bytes.number()?);
            let len = usize::from(bytes.byte()?);
            let mut boot = Boot { id, len, ranges: [SeqRange::new(Seq(0), Seq(0)); RANGES_PER_BOOT_MAX] };
            for range in boot.ranges.get_mut(..len)? {
                let (first, last) = (Seq(bytes.number()?), Seq(bytes.number()?));
                *range = (first <= last).then_some(SeqRange { first, last })?;
            }
            seen.boots.push(boot);
        }
        let ordered = |boot: &Boot| boot.ranges().windows(2).all(|pair| pair[0].last < pair[1].first);
        let valid = bytes.0.is_empty() && seen.boots.len() <= BOOTS_PER_DEVICE_MAX;
        (valid && seen.boots.iter().all(ordered)).then_some(seen)
    }
}

/// Bytes not yet read.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*number))
    }
}

impl Boot {
    fn ranges(&self) -> &[SeqRange] {
        &self.ranges[..self.len]
    }

    /// Joins `stored` with every range it touches; returns how many ranges were forgotten for it.
    fn cover(&mut self, stored: SeqRange) -> u64 {
        let touches = |range: &SeqRange| {
            range.first.0 <= stored.last.0.saturating_add(1)
                && stored.first.0 <= range.last.0.saturating_add(1)
        };
        let mut joined = stored;
        let mut kept = Vec::with_capacity(RANGES_PER_BOOT_MAX + 1);
        for range in self.ranges() {
            if touches(range) {
                joined = SeqRange::new(joined.first.min(range.first), joined.last.max(range.last));
            } else {
                kept.push(*range);
            }
        }
        let at = kept.partition_point(|range| range.first < joined.first);
        kept.insert(at, joined);
        // The lowest numbers are the oldest entries: the least likely to be sent again.
        let excess = kept.len().saturating_sub(RANGES_PER_BOOT_MAX);
        self.len = kept.len() - excess;
        self.ranges[..self.len].copy_from_slice(&kept[excess..]);
        excess as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::testing::Random;
    use std::collections::{BTreeMap, BTreeSet};

    fn range(first: u32, last: u32) -> SeqRange {
        SeqRange::new(Seq(first), Seq(last))
    }

    fn fresh(seen: &Seen, boot: u32, first: u32, last: u32) -> Vec<(u32, u32)> {
        seen.fresh(BootId(boot), range(first, last)).map(|range| (range.first.0, range.last.0)).collect()
    }

    #[test]
    fn a_counter_that_went_back_forgets_what_it_will_count_again() {
        let mut seen = Seen::default();
        for boot in 1..=4 {
            seen.cover(BootId(boot), range(0, 9));
        }
        assert_eq!(seen.handle_boot(BootId(4)), 0, "the same boot again, as at every connection");
        assert_eq!(seen.handle_boot(BootId(5)), 0);
        assert_eq!(seen.handle_boot(BootId(2)), 3);
        assert_eq!(fresh(&seen, 1, 0, 9), []);
        assert_eq!(fresh(&seen, 2, 0, 9), [(0, 9)]);
    }

    #[test]
    fn covered_parts_are_cut_out() {
        let mut seen = Seen::default();
        seen.cover(BootId(1), range(10, 19));
        seen.cover(BootId(1), range(30, 39));
        assert_eq!(fresh(&seen, 1, 10, 19), []);
        assert_eq!(fresh(&seen, 1, 12, 35), [(20, 29)]);
        assert_eq!(fresh(&seen, 1, 0, 50), [(0, 9), (20, 29), (40, 50)]);
        assert_eq!(fresh(&seen, 1, 19, 20), [(20, 20)]);
        assert_eq!(fresh(&seen, 2, 10, 19), [(10, 19)]);
        seen.cover(BootId(1), range(20, 29));
        assert_eq!(fresh(&seen, 1, 9, 40), [(9, 9), (40, 40)]);
    }

    #[test]
    fn the_ends_of_the_line_are_numbers_like_others() {
        let mut seen = Seen::default();
        seen.cover(BootId(1), range(u32::MAX - 1, u32::MAX));
        seen.cover(BootId(1), range(0, 0));
        assert_eq!(fresh(&seen, 1, 0, u32::MAX), [(1, u32::MAX - 2)]);
        seen.cover(BootId(1), range(0, u32::MAX));
        assert_eq!(fresh(&seen, 1, 0, u32::MAX), []);
    }

    #[test]
    fn the_boot_heard_of_least_recently_goes_first() {
        let mut seen = Seen::default();
        for boot in 0..8 {
            assert_eq!(seen.cover(BootId(boot), range(0, 9)), Forgotten::default());
        }
        seen.cover(BootId(0), range(10, 10));
        assert_eq!(seen.cover(BootId(8), range(0, 0)), Forgotten { boots: 1, ranges: 0 });
        assert_eq!(fresh(&seen, 0, 0, 10), []);
        assert_eq!(fresh(&seen, 1, 0, 9), [(0, 9)]);
    }

    #[test]
    fn marks_survive_their_bytes_and_other_bytes_are_refused() {
        let mut seen = Seen::default();
        for n in 0..8u32 {
            for hole in 0..4 {
                seen.cover(BootId(n), range(hole * 100, hole * 100 + n));
            }
        }
        let mut bytes = Vec::new();
        seen.encode(&mut bytes);
        assert_eq!(bytes.len(), 2 + 8 * (5 + 4 * 8));
        assert_eq!(Seen::decode(&bytes), Some(seen));
        for cut in 0..bytes.len() {
            assert_eq!(Seen::decode(&bytes[..cut]), None);
        }
        let mut random = Random::new(11);
        for _ in 0..10_000 {
            let mut damaged = bytes.clone();
            let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
            damaged[at] = u8::try_from(random.below(256)).unwrap();
            let _ = Seen::decode(&damaged);
        }
    }

    // Golden bytes: a gateway of a later version must read marks of this one. If this fails, the code is wrong.
    #[test]
    fn golden_mark() {
        let mut seen = Seen::default();
        seen.cover(BootId(0x0102_0304), range(5, 9));
        let mut bytes = Vec::new();
        seen.encode(&mut bytes);
        assert_eq!(bytes, [1, 1, 4, 3, 2, 1, 1, 5, 0, 0, 0, 9, 0, 0, 0]);
    }

    /// Random ranges, repeats and restarts (encode, decode) against a set of every number: nothing new is ever
    /// called a repeat, and with few holes and boots no repeat is ever called new.
    #[test]
    fn random_histories_agree_with_a_naive_set() {
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let generous = seed % 2 == 0;
            let (mut seen, mut model) = (Seen::default(), BTreeMap::<u32, BTreeSet<u32>>::new());
            let mut forgotten = Forgotten::default();
            for _ in 0..200 {
                let boot = u32::try_from(random.below(if generous { 3 } else { 12 })).unwrap();
                let first = u32::try_from(random.below(if generous { 30 } else { 120 })).unwrap();
                let last = first + u32::try_from(random.below(12)).unwrap();
                let stored = model.entry(boot).or_default();
                let new: BTreeSet<u32> =
                    fresh(&seen, boot, first, last).into_iter().flat_map(|(a, b)| a..=b).collect();
                for seq in first..=last {
                    let is_new = new.contains(&seq);
                    assert!(is_new || stored.contains(&seq), "seed {seed}: {boot}/{seq} was never stored");
                    if forgotten == Forgotten::default() {
                        assert_eq!(is_new, !stored.contains(&seq), "seed {seed}: {boot}/{seq}");
                    }
                }
                // A failed append: nothing may be marked.
                if random.below(4) == 0 {
                    continue;
                }
                let more = seen.cover(BootId(boot), range(first, last));
                forgotten.boots += more.boots;
                forgotten.ranges += more.ranges;
                stored.extend(first..=last);
                if random.below(10) == 0 {
                    let mut bytes = Vec::new();
                    seen.encode(&mut bytes);
                    seen = Seen::decode(&bytes).unwrap();
                }
            }
            assert!(generous || forgotten.boots > 0, "the small memory was tried");
        }
    }
}
