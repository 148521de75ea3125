//! The world: its time, who lives in it, and what it does to them.
//!
//! In: a seed. Out: the first broken promise. A step is: a fault, the inhabitants, the gateway and its disk, the target and its disk, and a
//! look at everything. Invariants: an ERROR line that no fault explains is a broken promise.

mod faults;

use crate::books::Books;
use crate::chance::Chance;
use crate::clock::WorldClock;
use crate::edge::{self, Edge};
use crate::front::Front;
use crate::gateway::{Gateway, Told};
use crate::inhabitant::{Broken, Inhabitant, Moment, Phase};
use crate::logs::Logs;
use crate::plan::{Plan, Sink};
use crate::promises::Promises;
use crate::publisher::Publishers;
use crate::station::{Plant, Station};
use crate::storm::Storm;
use crate::target::Target;
use crate::trace::Trace;
use crate::way::Way;
use faults::Troubles;
use headwater::forward::Carried;

/// How far time moves at once, ms. Nothing that crosses from one machine to another is faster.
const TICK_MS: u64 = 5;
/// Once faults stop, everything must have arrived within this time. Delays between tries end at 2 s, calls at 2 s.
const DRAIN_MS: u64 = 120_000;
/// A sink that has something new to show does so within this time.
const SHOWN_WITHIN_MS: u64 = 1_000;
/// Records that one sink may hold in memory for a stream, and their bytes (the forwarder's own bounds).
const HELD_MAX: (usize, u64) = (20_000, 17 << 20);

/// A world. Nothing happens in it but by [`World::advance`].
pub struct World {
    plan: Plan,
    clock: WorldClock,
    front: Front,
    trace: Trace,
    phase: Phase,
    logs: Logs,
    promises: Promises,
    books: Books,
    gateway: Gateway,
    target: Target,
    storm: Storm,
    troubles: Troubles,
    inhabitants: Vec<Box<dyn Inhabitant>>,
}

impl World {
    /// The world of a seed, with synthetic publishers. `logs` must be a layer of the thread's subscriber.
    ///
    /// # Errors
    /// The seed makes a configuration that the product does not take.
    pub fn new(seed: u64, logs: Logs) -> Result<Self, Broken> {
        Self::with_plant(seed, logs, None)
    }

    /// The world of a seed with devices and agents in it, from their flash to the target.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn with_edge(seed: u64, logs: Logs) -> Result<Self, Broken> {
        let chance = Chance::new(seed);
        let mut world = Self::of(seed, logs, Plan::draw(&mut chance.fork("plan"), true), None)?;
        let plan = edge::Plan::of(&mut chance.fork("edge plan"));
        world.settle(Edge::new(&plan, &chance.fork("edge")).without_times());
        Ok(world)
    }

    pub(crate) fn with_plant(seed: u64, logs: Logs, plant: Option<Plant>) -> Result<Self, Broken> {
        Self::of(seed, logs, Plan::draw(&mut Chance::new(seed).fork("plan"), false), plant)
    }

    fn of(seed: u64, logs: Logs, plan: Plan, plant: Option<Plant>) -> Result<Self, Broken> {
        let chance = Chance::new(seed);
        let loaded =
            headwater::config::parse("world", &plan.config).map_err(|error| Broken(error.to_string()))?;
        let (clock, front, promises) = (WorldClock::start(), Front::default(), Promises::default());
        let limits = headwater_engine::LimitProfile::None;
        let mut near = Station::new(clock.clone(), chance.fork("gateway"), plan.journal.clone(), limits);
        near.plant(plant);
        let far = Station::new(
            clock.of_other(),
            chance.fork("target"),
            plan.target_journal.clone(),
            plan.target_limits,
        );
        let has_poison =
            ["near", "side"].map(|name| plan.sinks.iter().any(|sink| sink.name == name && sink.has_poison));
        let way = Way::new(chance.fork("way"), has_poison);
        let gateway = Gateway::new(near, loaded.config, &way, seed, front.clone());
        let target = Target::new(far, way, plan.target_streams.clone());
        // Theirs are all but the one of the devices.
        let streams: Vec<String> =
            plan.streams.iter().filter(|name| *name != edge::STREAM).cloned().collect();
        let publishers =
            Publishers::new(&chance, &streams, plan.devices, plan.publish_every_ms, promises.clone());
        Ok(Self {
            books: Books::new(&plan, promises.clone()),
            storm: Storm::new(chance.fork("storm"), plan.fault_every_ms),
            troubles: Troubles::default(),
            inhabitants: vec![Box::new(publishers)],
            trace: Trace::default(),
            phase: Phase::Stormy,
            plan,
            clock,
            front,
            logs,
            promises,
            gateway,
            target,
        })
    }

    /// Tells this trace from now on.
    pub(crate) fn follow(&mut self, trace: Trace) {
        self.trace = trace;
    }

    /// Somebody more lives here from now on.
    pub fn settle(&mut self, inhabitant: impl Inhabitant) {
        self.inhabitants.push(Box::new(inhabitant));
    }

    /// Lives through the storm that the seed brings, lets everything drain, and compares.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn live(&mut self) -> Result<(), Broken> {
        self.advance(self.plan.storm_ms)?;
        self.calm();
        self.drain()?;
        if self.with_other_letters().is_some() {
            // It may have shown itself before the last of them.
            self.advance(SHOWN_WITHIN_MS)?;
        }
        self.compare()
    }

    /// Lets at least `ms` of virtual time pass.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn advance(&mut self, ms: u64) -> Result<(), Broken> {
        let until = self.clock.world_ms() + ms;
        while self.clock.world_ms() < until {
            self.step()?;
        }
        Ok(())
    }

    /// Ends all faults, and whatever is new.
    pub fn calm(&mut self) {
        self.phase = Phase::Calm;
        self.heal();
    }

    /// Lets everything arrive.
    ///
    /// # Errors
    /// A promise is broken: also that it does not take longer than two minutes.
    pub fn drain(&mut self) -> Result<(), Broken> {
        let until = self.clock.world_ms() + DRAIN_MS;
        while !self.is_drained() {
            if self.clock.world_ms() >= until {
                let missing = self.books.first_missing().unwrap_or_else(|| "what publishers have".to_owned());
                let count = self.missing_uncounted();
                return Err(Broken(format!(
                    "two minutes after the last fault {count} records are not at the target, {missing} first"
                )));
            }
            self.advance(100)?;
        }
        Ok(())
    }

    fn is_drained(&self) -> bool {
        let carried = self.gateway.carried();
        let streams: usize = self.plan.sinks.iter().map(|sink| sink.streams.len()).sum();
        self.front.is_open()
            && self.inhabitants.iter().all(|one| one.is_drained())
            && carried.iter().filter(|one| one.waiting == 0).count() == streams
            && self.missing_uncounted() == 0
    }

    /// Records that are neither at their target nor dead letters nor counted as dropped, of each sink for itself.
    fn missing_uncounted(&self) -> u64 {
        let carried = self.gateway.carried();
        let uncounted = |(sink, stream): (&str, &str)| {
            let mut dropped = carried.iter().filter(|one| one.sink == sink && one.stream == stream);
            let dropped = dropped.next().map_or(0, |one| one.ledger.dropped_total());
            self.books.missing(sink, stream).saturating_sub(dropped)
        };
        self.books.pairs().map(uncounted).sum()
    }

    /// A sink that shows another number of dead letters than there are.
    fn with_other_letters(&self) -> Option<Carried> {
        let differs = |carried: &Carried| {
            let set_aside = self.books.set_aside(&carried.sink, &carried.stream);
            // What was set aside before a crash may be dropped after it.
            let may_differ = carried.ledger.dropped_total() > 0 && carried.ledger.dead_lettered < set_aside;
            carried.ledger.dead_lettered != set_aside && !may_differ
        };
        self.gateway.carried().into_iter().find(differs)
    }

    fn compare(&mut self) -> Result<(), Broken> {
        let Some(engine) = self.gateway.station.engine() else { return Ok(()) };
        self.books.check_promises()?;
        let stored = self.books.stored(engine);
        for inhabitant in &mut self.inhabitants {
            inhabitant.compare(&mut stored.iter().cloned())?;
        }
        if let Some(carried) = self.with_other_letters() {
            let set_aside = self.books.set_aside(&carried.sink, &carried.stream);
            return Err(Broken(format!("{set_aside} records are dead letters: {carried}")));
        }
        for carried in self.gateway.carried() {
            let of_this = |sink: &&Sink| sink.name == carried.sink;
            let may_drop = |sink: &Sink| sink.may_drop || !sink.is_required;
            if carried.ledger.dropped_total() > 0
                && !self.plan.sinks.iter().find(of_this).is_some_and(may_drop)
            {
                return Err(Broken(format!("records are dropped that need not be: {carried}")));
            }
        }
        let (stored, arrived) = self.books.counts();
        let (promised, ended) = (self.promises.count(), self.clock.world_ms());
        let dead: u64 = self.books.pairs().map(|(sink, stream)| self.books.set_aside(sink, stream)).sum();
        self.trace.note(
            ended,
            format_args!("end: promised {promised}, stored {stored}, arrived {arrived}, dead {dead}"),
        );
        Ok(())
    }

    fn step(&mut self) -> Result<(), Broken> {
        self.clock.advance(TICK_MS);
        let now = self.clock.world_ms();
        self.faults(now)?;
        self.check_logs()?;
        self.logs.speaking("inhabitants");
        let moment = Moment { world_ms: now, tick_ms: TICK_MS, phase: self.phase };
        for inhabitant in &mut self.inhabitants {
            inhabitant.tick(moment, &self.front, &mut self.trace)?;
        }
        self.logs.speaking("gateway");
        let told = self.gateway.tick(TICK_MS);
        // Before the life ends whose faults explain them.
        self.check_logs()?;
        let is_settled = told == Told::Flushed;
        self.gateway.station.tell("gateway", &mut self.trace);
        self.handle_gateway(now, told)?;
        self.logs.speaking("target");
        if !self.target.tick(TICK_MS) {
            self.end_target(now, false, 50);
        }
        for told in self.target.way.told() {
            self.trace.note(now, told);
        }
        self.target.station.tell("target", &mut self.trace);
        self.logs.speaking("world");
        let engines = (self.gateway.station.engine(), self.target.station.engine());
        let is_read = self.books.look(engines.0, is_settled, engines.1, (now, &mut self.trace))?;
        self.troubles.check_readable(is_read)?;
        self.check_shown()?;
        self.check_logs()?;
        self.trace.end_step(now);
        Ok(())
    }

    fn check_shown(&self) -> Result<(), Broken> {
        for carried in self.gateway.carried() {
            if !carried.balances() {
                return Err(Broken(format!("the ledger does not add up: {carried}")));
            }
            if carried.held.0 > HELD_MAX.0 || carried.held.1 > HELD_MAX.1 {
                return Err(Broken(format!("{} holds {:?} in memory", carried.sink, carried.held)));
            }
        }
        Ok(())
    }

    fn check_logs(&mut self) -> Result<(), Broken> {
        let now = self.clock.world_ms();
        for (who, line) in self.logs.take() {
            self.trace.note(now, format_args!("{who} says: {line}"));
            if !self.troubles.explain(who, &line, &self.plan.sinks) {
                return Err(Broken(format!("{who} logs an ERROR that no fault explains: {line}")));
            }
        }
        Ok(())
    }

    /// The way to the gateway.
    #[must_use]
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// What publishers were promised; the world looks for it after every start of the gateway and at the end.
    #[must_use]
    pub fn promises(&self) -> &Promises {
        &self.promises
    }

    /// What has happened.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
}
