//! One world from its seed to its end.

use crate::inhabitant::Broken;
use crate::logs::Logs;
use crate::trace::Trace;
use crate::world::World;
use std::fmt;
use tracing_subscriber::layer::SubscriberExt;

/// Lines of the trace that a failure shows.
const LINES_SHOWN: usize = 60;

/// A world that broke a promise.
#[derive(Debug)]
pub struct Failure {
    /// Its seed: the same one fails the same way.
    pub seed: u64,
    /// What was broken.
    pub broken: Broken,
    /// What happened until then.
    pub trace: Trace,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.trace.last(LINES_SHOWN) {
            writeln!(f, "  {line}")?;
        }
        write!(f, "seed {}: {}", self.seed, self.broken)
    }
}

/// Lives a world with synthetic publishers to its end. Gives its trace.
///
/// # Errors
/// The first promise that is broken.
pub fn run(seed: u64) -> Result<Trace, Box<Failure>> {
    run_in(seed, Trace::default())
}

pub(crate) fn run_in(seed: u64, trace: Trace) -> Result<Trace, Box<Failure>> {
    live(seed, trace, |logs| World::new(seed, logs), |_| {})
}

/// As [`run`], with devices and agents: from their flash to the target.
///
/// # Errors
/// The first promise that is broken.
pub fn run_whole(seed: u64) -> Result<Trace, Box<Failure>> {
    run_whole_in(seed, Trace::default())
}

pub(crate) fn run_whole_in(seed: u64, trace: Trace) -> Result<Trace, Box<Failure>> {
    live(seed, trace, |logs| World::with_edge(seed, logs), |_| {})
}

/// As [`run`], with whoever `settle` lets live there besides; told to a trace that somebody may read along.
///
/// # Errors
/// The first promise that is broken.
pub fn run_with(seed: u64, trace: Trace, settle: impl FnOnce(&mut World)) -> Result<Trace, Box<Failure>> {
    live(seed, trace, |logs| World::new(seed, logs), settle)
}

pub(crate) fn live(
    seed: u64,
    trace: Trace,
    make: impl FnOnce(Logs) -> Result<World, Broken>,
    settle: impl FnOnce(&mut World),
) -> Result<Trace, Box<Failure>> {
    let logs = Logs::default();
    let subscriber = tracing_subscriber::registry().with(logs.clone());
    tracing::subscriber::with_default(subscriber, || {
        let failed = |broken, trace| Box::new(Failure { seed, broken, trace });
        let mut world = make(logs).map_err(|broken| failed(broken, Trace::default()))?;
        world.follow(trace);
        settle(&mut world);
        match world.live() {
            Ok(()) => Ok(world.trace().clone()),
            Err(broken) => Err(failed(broken, world.trace().clone())),
        }
    })
}
