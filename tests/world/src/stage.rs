//! Many lives, and some of them lived again.
//!
//! In: seeds. Out: those that broke a promise, and the first that two processes live differently. Not here: what a life is ([`Kind`]).

use crate::kind::Kind;
use crate::run::Failure;
use crate::trace::Trace;
use crate::twins::{Twin, compare};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Lives that were lived to their ends.
#[derive(Debug, Default)]
pub struct Stage {
    /// Seeds of those that broke a promise.
    pub failures: Vec<u64>,
    /// Digests of the others, by seed.
    pub kept: BTreeMap<u64, u64>,
}

/// Lives these seeds, as many at a time as the machine has cores, and tells standard error of each.
pub fn run_many(seeds: Range<u64>, one: impl Fn(u64) -> Result<Trace, Box<Failure>> + Sync) -> Stage {
    let (next, stage) = (AtomicU64::new(seeds.start), Mutex::new(Stage::default()));
    let live = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                return;
            }
            let lived = one(seed);
            let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
            match lived {
                Ok(trace) => {
                    let end = trace.last(1).next().unwrap_or_default();
                    eprintln!("seed {seed}: {:016x} {end}", trace.digest());
                    stage.kept.insert(seed, trace.digest());
                }
                Err(failure) => {
                    eprintln!("{failure}");
                    stage.failures.push(seed);
                }
            }
        }
    };
    // A world is one thread; there may be several worlds.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(live))));
    stage.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    /// Lives `count` of the lives again, in two other processes, step by step beside each other. `program`: one that calls
    /// [`tell`](crate::tell). Gives how many were compared.
    ///
    /// # Errors
    /// The first whose two lives differ, and where.
    pub fn relive(&self, kind: Kind, count: usize, program: &str) -> Result<usize, String> {
        // Spread over all of them.
        let every = self.kept.len().div_ceil(count.max(1)).max(1);
        let seeds: Vec<u64> = self.kept.keys().copied().step_by(every).collect();
        for &seed in &seeds {
            let twin = |who: &str| Twin::in_process(who, program, kind, seed);
            let alike = compare(&twin("in one process"), &twin("in another"));
            let alike = alike.map_err(|found| format!("{} seed {seed}: {found}", kind.name()))?;
            if alike.steps == 0 {
                return Err(format!("{} seed {seed} was not lived: {program} tells nothing", kind.name()));
            }
        }
        Ok(seeds.len())
    }
}
