//! Two lives of one seed, step by step beside each other: in one process, or in two.
//!
//! In: lives that tell their steps as they live. Out: nothing, or the first step in which they differ, with the lines of both. Invariant:
//! a few steps of either are held at a time, however long the lives are. Not here: what goes into a trace ([`crate::Trace`]).

mod process;

use crate::kind::Kind;
use crate::trace::{Step, Trace};
use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

pub use process::tell;

/// Steps that one may be ahead of the other.
const AHEAD_MAX: usize = 256;
/// Lines of both before the first that differs, and of each from there on, that are shown.
const LINES_SHOWN: usize = 12;

/// A life that is lived now, somewhere.
#[derive(Debug)]
pub struct Twin {
    who: String,
    steps: Receiver<Step>,
}

impl Twin {
    /// A life in a thread of this process. What becomes of it, it tells by its steps alone.
    ///
    /// # Panics
    /// The system gives no thread.
    pub fn in_thread(who: impl Into<String>, life: impl FnOnce(Trace) + Send + 'static) -> Self {
        let (sender, steps) = sync_channel(AHEAD_MAX);
        let thread = std::thread::Builder::new().name("twin".to_owned());
        thread.spawn(move || life(Trace::told_to(sender))).expect("a thread for a life");
        Self { who: who.into(), steps }
    }

    /// The life of a seed in another process: `program` is one that calls [`tell`].
    ///
    /// # Panics
    /// The program cannot be started.
    pub fn in_process(who: impl Into<String>, program: &str, kind: Kind, seed: u64) -> Self {
        let (sender, steps) = sync_channel(AHEAD_MAX);
        process::start(program, kind, seed, sender);
        Self { who: who.into(), steps }
    }

    fn next(&self) -> Option<Step> {
        self.steps.recv().ok()
    }
}

/// What two lives had that do not differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alike {
    /// Steps of either.
    pub steps: u64,
    /// Of everything in either.
    pub digest: u64,
}

/// The first step in which two lives differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which step it is, from 1 on.
    pub step: u64,
    /// When it ends, ms since the world began.
    pub at_ms: u64,
    /// The last lines that are the same.
    pub before: Vec<String>,
    /// Who lived, and the lines of this step from the first on that differs; none where the other has more.
    pub of_each: [(String, Vec<String>); 2],
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, ms) = (self.at_ms / 1_000, self.at_ms % 1_000);
        writeln!(f, "step {} at {s}.{ms:03} s is the first that differs, after", self.step)?;
        self.before.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        for (who, lines) in &self.of_each {
            writeln!(f, "  {who}:")?;
            lines.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        Ok(())
    }
}

/// Reads two lives to their ends, or to the first difference.
///
/// # Errors
/// They differ.
pub fn compare(one: &Twin, other: &Twin) -> Result<Alike, Box<Difference>> {
    let (mut alike, mut before) = (Alike { steps: 0, digest: 0 }, VecDeque::new());
    loop {
        let (first, second) = match (one.next(), other.next()) {
            (None, None) => return Ok(alike),
            (Some(first), Some(second)) if first == second => (first, second),
            (first, second) => {
                let (at_ms, number) =
                    (first.as_ref().or(second.as_ref()).map_or(0, |step| step.at_ms), alike.steps + 1);
                let mut lines = [first, second].map(|step| step.map_or_else(ended, |step| shown(&step)));
                let same = lines[0].iter().zip(&lines[1]).take_while(|(one, other)| one == other).count();
                before.extend(lines[0].drain(..same));
                lines[1].drain(..same);
                lines.iter_mut().for_each(|lines| lines.truncate(LINES_SHOWN));
                let skipped = before.len().saturating_sub(LINES_SHOWN);
                let [of_one, of_other] = lines;
                return Err(Box::new(Difference {
                    step: number,
                    at_ms,
                    before: before.into_iter().skip(skipped).collect(),
                    of_each: [(one.who.clone(), of_one), (other.who.clone(), of_other)],
                }));
            }
        };
        drop(second);
        (alike.steps, alike.digest) = (alike.steps + 1, first.digest);
        before.extend(first.lines);
        before.drain(..before.len().saturating_sub(LINES_SHOWN));
    }
}

fn shown(step: &Step) -> Vec<String> {
    let end = format!("(step ends at {} ms, digest {:016x})", step.at_ms, step.digest);
    step.lines.iter().cloned().chain([end]).collect()
}

fn ended() -> Vec<String> {
    vec!["(has ended)".to_owned()]
}

/// Who hears the steps of a life.
pub(crate) type Reader = SyncSender<Step>;

#[cfg(test)]
mod tests {
    use super::*;

    fn twin(lines: &'static [&'static str]) -> Twin {
        Twin::in_thread("one of them", move |mut trace| {
            for (step, line) in (1..).zip(lines) {
                line.split(',').for_each(|line| trace.note(step * 5, line));
                trace.end_step(step * 5);
            }
        })
    }

    #[test]
    fn lives_that_are_the_same_are_alike_to_the_last_step() {
        let alike = compare(&twin(&["a", "b,c", "d"]), &twin(&["a", "b,c", "d"]));
        assert_eq!(alike.map(|alike| alike.steps), Ok(3));
    }

    #[test]
    fn the_first_line_that_differs_is_shown_with_what_came_before() {
        let found =
            compare(&twin(&["a", "b,c,d", "e"]), &twin(&["a", "b,x,d", "e"])).expect_err("they differ");
        assert_eq!((found.step, found.at_ms), (2, 10));
        assert_eq!(found.before, ["0.005 a", "0.010 b"]);
        assert_eq!(found.of_each[0].1[..2], ["0.010 c", "0.010 d"]);
        assert_eq!(found.of_each[1].1[..2], ["0.010 x", "0.010 d"]);
        let text = found.to_string();
        assert!(text.contains("step 2 at 0.010 s") && text.contains("one of them:"), "{text}");
    }

    #[test]
    fn a_life_that_ends_before_the_other_differs_there() {
        let found = compare(&twin(&["a"]), &twin(&["a", "b"])).expect_err("they differ");
        assert_eq!((found.step, found.of_each[0].1[0].as_str()), (2, "(has ended)"));
    }
}
