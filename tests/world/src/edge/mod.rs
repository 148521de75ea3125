//! Devices, links and agents of the simulated world.
//!
//! In: a [`Plan`], ticks, the [`Front`]. Out: publishes over MQTT, the first broken promise, in the end a comparison of what the gateway's
//! streams hold with what devices had in their flash.
//!
//! What runs: the device core on a flash model, with its own wrong clock, on a serial line that loses bytes and flips bits; the agent's
//! sessions, spool and uplink on a simulated disk; rumqttc's packets and state; the MQTT front of the gateway. Of rumqttc only the event
//! loop is another, and of the way down to subscribers the bus. Somebody gives devices commands (`operator`).
//!
//! Held after each step: a device is acked only what is durable in its agent's spool, and lets go only what it was acked; what was durable
//! in a spool stays there until the checkpoint passes it; the durable checkpoint never goes back and never passes a record whose PUBACK did
//! not come; what it passed is not sent again. Held in the end ([`Inhabitant::compare`]): each boot of each device is told without a hole
//! and without a repeat, to the last place that was surely in flash, in its order.
//!
//! Not here: what the gateway does with a publish.

pub mod alone;
mod ledger;
mod network;
mod operator;
mod plan;
mod station;
mod stream;

pub use plan::{Plan, Planted};

use self::operator::Operator;
use self::station::Station;
use crate::chance::Chance;
use crate::clock::EPOCH_MS;
use crate::front::Front;
use crate::inhabitant::{Broken, Inhabitant, Moment, Phase, Stored};
use crate::trace::Trace;
use headwater_sim::virtual_time::{self, Findings, simulation::Fleet};
use headwater_telemetry::CommandId;
use std::collections::BTreeMap;

/// See the module.
pub struct Edge {
    /// None once it was compared.
    fleet: Option<Fleet>,
    stations: Vec<Station>,
    operator: Operator,
    /// What devices did, once they were compared.
    done: Sums,
    now_ms: u64,
    is_calm: bool,
    /// Times in records are not compared: the gateway's clock may be wrong.
    is_timeless: bool,
    findings: Option<Findings>,
}

/// The stream of devices in a world with a gateway.
pub(crate) const STREAM: &str = "edge";

/// The routes to it. They come first.
pub(crate) const ROUTES: &str = r#"
[streams.edge]
shards = 3
[[routes]]
match = "headwater/{device}/birth"
codec = "headwater"
to = ["downlink"]
[[routes]]
match = "headwater/{device}/batch"
codec = "headwater"
stream = "edge"
partition_key = "{device}"
to = ["stream"]
[[routes]]
match = "headwater/{device}/result"
codec = "headwater"
stream = "edge"
partition_key = "{device}"
to = ["stream"]
[[routes]]
match = "headwater/{device}/log"
codec = "headwater"
stream = "edge"
partition_key = "{device}"
to = ["stream"]
"#;

/// A record without its time.
fn without_time(data: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(data);
    let found =
        text.find("\"time\":\"").and_then(|from| Some((from, from + 8 + text[from + 8..].find('"')?)));
    match found {
        Some((from, to)) => {
            format!("{}{}", &text[..from], text[to + 1..].trim_start_matches(',')).into_bytes()
        }
        None => data.to_vec(),
    }
}

/// What happened, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Starts of devices.
    pub boots: u64,
    /// Readings they took.
    pub readings: u64,
    /// Ends of agents, with their power or without.
    pub lives: u64,
    /// Of those, power cuts.
    pub power_cuts: u64,
    /// Times that a spool was full.
    pub spool_full: u64,
    /// Connections that agents opened.
    pub connections: u64,
    /// Batches that agents sent again.
    pub repeats: u64,
    /// Commands that devices were given.
    pub commands: u64,
    /// Boots that showed a period that was ordered before them, known once they were compared.
    pub periods: u64,
}

impl Sums {
    /// Nothing.
    pub const NONE: Self = Self {
        boots: 0,
        readings: 0,
        lives: 0,
        power_cuts: 0,
        spool_full: 0,
        connections: 0,
        repeats: 0,
        commands: 0,
        periods: 0,
    };

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            boots: self.boots + other.boots,
            readings: self.readings + other.readings,
            lives: self.lives + other.lives,
            power_cuts: self.power_cuts + other.power_cuts,
            spool_full: self.spool_full + other.spool_full,
            connections: self.connections + other.connections,
            repeats: self.repeats + other.repeats,
            commands: self.commands + other.commands,
            periods: self.periods + other.periods,
        }
    }
}

impl Edge {
    /// Devices and agents by a plan; chance decides when what happens.
    ///
    /// # Panics
    /// The plan is not one that [`Plan::of`] gives.
    #[must_use]
    pub fn new(plan: &Plan, chance: &Chance) -> Self {
        let fleet = Fleet::new(plan.fleet).expect("plans are within the limits of a fleet");
        let station = |index: usize| {
            let devices = (0..fleet.len()).filter(|device| device % plan.agents == index).collect();
            Station::new(index, plan, devices, chance.fork(&format!("agent-{index}")))
        };
        let stations = (0..plan.agents).map(station).collect();
        let has_power_cuts = plan.fleet.faults.reboots_per_hour > 0.0;
        let operator = Operator::new(chance.fork("operator"), plan.command_ms, fleet.len(), has_power_cuts);
        Self {
            fleet: Some(fleet),
            stations,
            operator,
            done: Sums::default(),
            now_ms: 0,
            is_calm: false,
            is_timeless: false,
            findings: None,
        }
    }

    /// The same, in a world where the gateway's clock may be wrong: times in records are not compared.
    #[must_use]
    pub fn without_times(mut self) -> Self {
        self.is_timeless = true;
        self
    }

    /// What the comparison found, once it was made.
    #[must_use]
    pub fn findings(&self) -> Option<&Findings> {
        self.findings.as_ref()
    }

    /// What happened so far.
    #[must_use]
    pub fn sums(&self) -> Sums {
        let of_devices = (self.done.boots, self.done.readings);
        let (boots, readings) = self.fleet.as_ref().map_or(of_devices, Fleet::sums);
        let devices = Sums { boots, readings, commands: self.operator.counts(), ..self.done };
        self.stations.iter().map(Station::sums).fold(devices, Sums::plus)
    }
}

impl Inhabitant for Edge {
    fn tick(&mut self, moment: Moment, front: &Front, trace: &mut Trace) -> Result<(), Broken> {
        self.now_ms = moment.world_ms;
        let Some(fleet) = &mut self.fleet else { return Ok(()) };
        if moment.phase == Phase::Calm && !self.is_calm {
            self.is_calm = true;
            fleet.calm();
        }
        fleet.run_until(moment.world_ms);
        for station in &mut self.stations {
            station.tick(moment, fleet, front, trace)?;
            for (name, result) in station.take_results() {
                self.operator.handle_result(&name, result, moment.world_ms, trace)?;
            }
        }
        self.operator.tick(moment, fleet, front, trace)
    }

    fn is_drained(&self) -> bool {
        let is_fleet_drained =
            self.fleet.as_ref().is_none_or(|fleet| fleet.are_drained() && self.operator.is_drained(fleet));
        is_fleet_drained && self.stations.iter().all(Station::is_drained)
    }

    fn compare(&mut self, stored: &mut dyn Iterator<Item = Stored>) -> Result<(), Broken> {
        let Some(fleet) = self.fleet.take() else {
            return Err(Broken("devices are compared once".to_owned()));
        };
        let names: Vec<String> = (0..fleet.len()).map(Fleet::name).collect();
        for station in &self.stations {
            self.operator.check_births(&fleet, station.births())?;
        }
        let ((boots, readings), periods) =
            (fleet.sums(), self.operator.check_periods(&fleet, Fleet::channels())?);
        self.done = Sums { boots, readings, periods, ..Sums::default() };
        let mut results: BTreeMap<String, Vec<CommandId>> = BTreeMap::new();
        let mut comparison = fleet.compare();
        for (number, stored) in stored.enumerate() {
            let key = String::from_utf8_lossy(&stored.key);
            if !names.iter().any(|name| *name == key) {
                continue;
            }
            if let Some(id) = self.operator.check_stored(&key, &stored.data)? {
                results.entry(key.into_owned()).or_default().push(id);
                continue;
            }
            let timeless = self.is_timeless.then(|| without_time(&stored.data));
            comparison.handle(virtual_time::Stored {
                // Shards of one stream follow each other as parents and children do.
                shard: &stored.stream,
                number: &format!("{number:020}"),
                key: &key,
                arrived_ms: EPOCH_MS + self.now_ms,
                data: timeless.as_deref().unwrap_or(&stored.data),
            });
        }
        self.operator.check_all_stored(&results)?;
        let (findings, _) = comparison.end();
        let Findings { lost, repeated, misordered, wrong, .. } = findings;
        let is_good = lost + repeated + misordered + wrong == 0;
        let told = format!(
            "lost {lost}, repeated {repeated}, misordered {misordered}, wrong {wrong}: {}",
            findings.examples.join("; ")
        );
        self.findings = Some(findings);
        if is_good { Ok(()) } else { Err(Broken(told)) }
    }
}
