//! A setting that is changed by calls: after a cut it is what the last answered call made it, or what the one under way would have.

use std::fmt::Debug;

/// What a setting may be.
#[derive(Clone, Debug)]
pub(super) struct Settable<V> {
    settled: V,
    asked: Option<V>,
    /// Changes that were answered.
    pub(super) changes: u64,
}

impl<V: Clone + Debug + PartialEq> Settable<V> {
    /// It is this.
    pub(super) fn new(settled: V) -> Self {
        Self { settled, asked: None, changes: 0 }
    }

    /// What the last answered call, or the last check, made it.
    pub(super) fn settled(&self) -> &V {
        &self.settled
    }

    /// A call goes out.
    pub(super) fn ask(&mut self, value: V) {
        self.asked = Some(value);
    }

    /// It was answered.
    pub(super) fn answered(&mut self, done: bool) {
        if let Some(value) = self.asked.take()
            && done
        {
            self.settled = value;
            self.changes += 1;
        }
    }

    /// It was found to be this after a start.
    pub(super) fn found(&mut self, what: &str, value: V) -> Result<(), String> {
        if value == self.settled || self.asked.as_ref() == Some(&value) {
            self.settled = value;
            self.asked = None;
            return Ok(());
        }
        let (settled, asked) = (&self.settled, &self.asked);
        Err(format!("{what} is {value:?} after a cut, answered was {settled:?}, under way {asked:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_cut_only_the_answered_and_the_one_under_way_are_right() {
        let mut count = Settable::new(4);
        count.ask(2);
        count.answered(true);
        count.ask(6);
        let mut other = count.clone();
        assert!(count.found("count", 2).is_ok());
        assert!(other.found("count", 6).is_ok() && *other.settled() == 6);
        assert!(other.found("count", 2).is_err(), "what was found must stay");
        count.ask(8);
        count.answered(false);
        assert!(count.found("count", 8).unwrap_err().contains("answered was 2, under way None"));
    }
}
