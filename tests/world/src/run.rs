//! One world from its seed to its end.

use crate::inhabitant::Broken;
use crate::logs::Logs;
use crate::trace::Trace;
use crate::world::World;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
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
    run_with(seed, |_| {})
}

/// As [`run`], with devices and agents: from their flash to the target.
///
/// # Errors
/// The first promise that is broken.
pub fn run_whole(seed: u64) -> Result<Trace, Box<Failure>> {
    live(seed, |logs| World::with_edge(seed, logs), |_| {})
}

/// As [`run`], with whoever `settle` lets live there besides.
///
/// # Errors
/// The first promise that is broken.
pub fn run_with(seed: u64, settle: impl FnOnce(&mut World)) -> Result<Trace, Box<Failure>> {
    live(seed, |logs| World::new(seed, logs), settle)
}

/// Lives the worlds of these seeds, as many at a time as the machine has cores, and tells standard error of each. Gives the seeds of those
/// that broke a promise.
pub fn run_many(seeds: Range<u64>, one: impl Fn(u64) -> Result<Trace, Box<Failure>> + Sync) -> Vec<u64> {
    let (next, failures) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let live = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                return;
            }
            match one(seed) {
                Ok(trace) => {
                    let end = trace.last(1).next().unwrap_or_default();
                    eprintln!("seed {seed}: {:016x} {end}", trace.digest());
                }
                Err(failure) => {
                    eprintln!("{failure}");
                    failures.lock().unwrap_or_else(PoisonError::into_inner).push(seed);
                }
            }
        }
    };
    // A world is one thread; there may be several worlds.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(live))));
    failures.into_inner().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn live(
    seed: u64,
    make: impl FnOnce(Logs) -> Result<World, Broken>,
    settle: impl FnOnce(&mut World),
) -> Result<Trace, Box<Failure>> {
    let logs = Logs::default();
    let subscriber = tracing_subscriber::registry().with(logs.clone());
    tracing::subscriber::with_default(subscriber, || {
        let failed = |broken, trace| Box::new(Failure { seed, broken, trace });
        let mut world = make(logs).map_err(|broken| failed(broken, Trace::default()))?;
        settle(&mut world);
        match world.live() {
            Ok(()) => Ok(world.trace().clone()),
            Err(broken) => Err(failed(broken, world.trace().clone())),
        }
    })
}
