//! Which world: of synthetic publishers, of devices and agents alone, of everything.

use crate::run::{Failure, run_in, run_whole_in};
use crate::trace::Trace;
use std::str::FromStr;

/// Which world a seed is lived in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Gateway, sinks and target, with synthetic publishers.
    Sinks,
    /// Devices and agents, with a gateway of routes and an engine alone.
    Edge,
    /// From the flash of devices to the target.
    Whole,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sinks, Self::Edge, Self::Whole];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sinks => "sinks",
            Self::Edge => "edge",
            Self::Whole => "whole",
        }
    }

    /// Lives a seed to its end. Gives its trace.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn live(self, seed: u64) -> Result<Trace, Box<Failure>> {
        self.live_in(seed, Trace::default())
    }

    /// As [`live`](Self::live), told to a trace that somebody may read along.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn live_in(self, seed: u64, trace: Trace) -> Result<Trace, Box<Failure>> {
        match self {
            Self::Sinks => run_in(seed, trace),
            Self::Edge => crate::edge::alone::run_in(seed, trace),
            Self::Whole => run_whole_in(seed, trace),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("no world {name:?}, there are sinks, edge and whole"))
    }
}
