//! The digest of a life at some of its times, as many for a long one as for a short one.

/// Marks that are kept at most: a life of minutes is known to a second or less.
const MARKS_MAX: usize = 512;

/// Digests of a trace, each with the time it is of. Two lives differ behind the last mark that they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    marks: Vec<(u64, u64)>,
    /// Steps from one mark to the next; doubled when there are too many.
    every: u64,
    steps: u64,
}

impl Default for Marks {
    fn default() -> Self {
        Self { marks: Vec::new(), every: 1, steps: 0 }
    }
}

impl Marks {
    pub(super) fn note(&mut self, at_ms: u64, digest: u64) {
        self.steps += 1;
        if !self.steps.is_multiple_of(self.every) {
            return;
        }
        if self.marks.len() == MARKS_MAX {
            self.every *= 2;
            let mut is_kept = false;
            self.marks.retain(|_| {
                is_kept = !is_kept;
                // The second of each two, whose step the new distance divides.
                !is_kept
            });
            if !self.steps.is_multiple_of(self.every) {
                return;
            }
        }
        self.marks.push((at_ms, digest));
    }

    /// Between which times, ms since the world began, two lives began to differ; none where no mark shows it.
    #[must_use]
    pub fn differ_within(&self, other: &Self) -> Option<(u64, u64)> {
        let mut alike = 0;
        for (at_ms, digest) in &self.marks {
            let theirs = other.marks.binary_search_by_key(at_ms, |mark| mark.0);
            let Ok(place) = theirs else { continue };
            if other.marks[place].1 != *digest {
                return Some((alike, *at_ms));
            }
            alike = *at_ms;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(steps: u64, other_from: u64) -> Marks {
        let mut marks = Marks::default();
        for step in 1..=steps {
            marks.note(step * 5, step + if step >= other_from { 1_000_000 } else { 0 });
        }
        marks
    }

    #[test]
    fn a_long_life_has_no_more_marks_and_still_shows_where_two_part() {
        let (one, other) = (marks(100_000, u64::MAX), marks(100_000, 70_000));
        assert!(one.marks.len() <= MARKS_MAX);
        assert_eq!(one.differ_within(&one), None);
        let (from, to) = one.differ_within(&other).expect("they differ");
        assert!(from < 350_000 && 350_000 <= to && to - from <= 2_000, "{from} to {to}");
    }

    #[test]
    fn lives_of_other_lengths_are_compared_where_both_have_marks() {
        // Of the longer one each sixteenth step is known.
        assert_eq!(marks(100, u64::MAX).differ_within(&marks(5_000, 30)), Some((80, 160)));
    }
}
