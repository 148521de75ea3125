//! The edge before a gateway of routes and an engine alone, whose disk loses power, whose process dies.
//!
//! In: a seed, a mistake. Out: what happened. Not here: sinks, targets, set clocks ([`crate::World`]).

mod gateway;

use self::gateway::Gateway;
use super::{Edge, Plan, Planted, Sums};
use crate::chance::Chance;
use crate::front::Front;
use crate::inhabitant::{Broken, Inhabitant, Moment, Phase};
use crate::run::Failure;
use crate::trace::Trace;

const TICK_MS: u64 = 5;
/// Virtual time in which things go wrong.
const STORM_MS: u64 = 120_000;
/// Virtual time that it may take until nobody holds anything: a device's whole ring goes up one batch a sync.
const DRAIN_MS_MAX: u64 = 900_000;

/// What became of a life.
#[derive(Debug)]
pub struct End {
    /// What happened, counted.
    pub sums: Sums,
    /// Readings and gaps that the gateway's streams hold.
    pub stored: u64,
    /// Virtual time from the end of the storm until nobody held anything, ms.
    pub drain_ms: u64,
    /// The first promise that was broken.
    pub result: Result<(), Broken>,
    /// What happened, in order.
    pub trace: Trace,
}

/// Lives a seed to its end, with a mistake in it or without.
#[must_use]
pub fn live(seed: u64, planted: Option<Planted>, mut trace: Trace) -> End {
    let mut chance = Chance::new(seed);
    let mut plan = Plan::of(&mut chance);
    if let Some(planted) = planted {
        plan = plan.with(planted);
    }
    let mut edge = Edge::new(&plan, &chance.fork("edge"));
    let mut gateway = Gateway::new(chance.fork("gateway"));
    let lived = storm_and_drain(&mut edge, &mut gateway, &mut trace);
    let result = match &lived {
        Ok(_) => edge.compare(&mut gateway.stored().into_iter()),
        Err(broken) => Err(broken.clone()),
    };
    let sums = edge.sums();
    let stored = edge.findings().map_or(0, |findings| findings.stored + findings.gaps);
    End { sums, stored, drain_ms: lived.unwrap_or(0), result, trace }
}

/// As [`live`], without a mistake, for whoever wants nothing but its trace.
pub(crate) fn run_in(seed: u64, trace: Trace) -> Result<Trace, Box<Failure>> {
    let End { result, trace, .. } = live(seed, None, trace);
    match result {
        Ok(()) => Ok(trace),
        Err(broken) => Err(Box::new(Failure { seed, broken, trace })),
    }
}

fn storm_and_drain(edge: &mut Edge, gateway: &mut Gateway, trace: &mut Trace) -> Result<u64, Broken> {
    let (front, mut now_ms) = (Front::default(), 0);
    while now_ms < STORM_MS + DRAIN_MS_MAX {
        now_ms += TICK_MS;
        let phase = if now_ms <= STORM_MS { Phase::Stormy } else { Phase::Calm };
        let moment = Moment { world_ms: now_ms, tick_ms: TICK_MS, phase };
        gateway.tick(moment, &front, trace);
        edge.tick(moment, &front, trace)?;
        trace.end_step(now_ms);
        if phase == Phase::Calm && now_ms % 1_000 == 0 && edge.is_drained() {
            return Ok(now_ms - STORM_MS);
        }
    }
    Err(Broken("devices and agents hold records long after the storm".to_owned()))
}
