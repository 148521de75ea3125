//! One agent: its machine, its disk, its lines, and what happens to them.
//!
//! In: the time, bytes of devices. Out: bytes for devices, connections to the gateway, the first broken promise.
//! Invariants: between two lives only the disk remains; what is staged becomes durable here, and nowhere else; after the storm the machine
//! runs on. Not here: what devices do (`fleet`), what the network does (`network`), which promises there are (`ledger`).

mod machine;

use self::machine::Machine;
use super::Sums;
use super::ledger::{Answered, Ledger};
use super::network::{Network, due};
use super::plan::{Plan, Planted, agent_config};
use crate::chance::Chance;
use crate::clock::EPOCH_MS;
use crate::front::Front;
use crate::inhabitant::{Broken, Moment, Phase};
use crate::trace::Trace;
use headwater_agent::Config as AgentConfig;
use headwater_agent::simulation::{self, Utc};
use headwater_journal::storage::{Fault, Operation, SimDisk};
use headwater_sim::virtual_time::simulation::Fleet;
use headwater_telemetry::CommandResult;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// The longest time an agent is away, ms.
const AWAY_MS_MAX: u64 = 8_000;

/// A power cut that was to happen inside a write happens after this if there was none, ms.
const PATIENCE_MS: u64 = 2_000;

/// See the module.
pub(super) struct Station {
    index: usize,
    config: AgentConfig,
    plan: Plan,
    chance: Chance,
    disk: SimDisk,
    /// What the disk was asked until it was told last.
    told: u64,
    machine: Option<Machine>,
    /// When a machine that is off starts.
    start_at_ms: u64,
    fault_at_ms: u64,
    /// When the power goes, if it did not go inside a write before.
    cut_at_ms: u64,
    /// When the disk has room again.
    room_at_ms: u64,
    /// Faults of the disk are planned that did not happen yet.
    is_doomed: bool,
    devices: Vec<usize>,
    network: Network,
    ledger: Ledger,
    answered: Arc<Mutex<Answered>>,
    now_ms: Arc<AtomicU64>,
    sums: Sums,
}

impl Station {
    pub(super) fn new(index: usize, plan: &Plan, devices: Vec<usize>, mut chance: Chance) -> Self {
        let fault_at_ms = due(&mut chance, 0, plan.agent_fault_ms);
        Self {
            index,
            config: agent_config(index, plan.spool_bytes),
            plan: plan.clone(),
            disk: SimDisk::new(chance.draw()),
            told: 0,
            machine: None,
            start_at_ms: chance.below(3_000),
            fault_at_ms,
            cut_at_ms: u64::MAX,
            room_at_ms: u64::MAX,
            is_doomed: false,
            devices,
            network: Network::new(plan, chance.fork("network")),
            ledger: Ledger::new(format!("agent-{index}")),
            answered: Arc::default(),
            now_ms: Arc::default(),
            sums: Sums::default(),
            chance,
        }
    }

    /// Lives through one tick.
    pub(super) fn tick(
        &mut self,
        moment: Moment,
        fleet: &Fleet,
        front: &Front,
        trace: &mut Trace,
    ) -> Result<(), Broken> {
        let now_ms = moment.world_ms;
        self.now_ms.store(now_ms, Relaxed);
        if self.machine.is_none() && now_ms >= self.start_at_ms {
            self.start(now_ms, trace)?;
        }
        for &device in &self.devices {
            for (boot, through) in fleet.take_released(device) {
                self.ledger.handle_released(&Fleet::name(device), boot, through)?;
            }
        }
        match &mut self.machine {
            None => {
                for &device in &self.devices {
                    let bytes = fleet.take(device);
                    if !bytes.is_empty() {
                        trace.fold(format_args!("{} up, to nobody", Fleet::name(device)), &bytes);
                    }
                }
            }
            Some(machine) => {
                machine.live(moment, fleet, &mut self.ledger, &self.answered, &mut self.chance, trace)?;
            }
        }
        self.network.tick(moment, front, &mut self.ledger, trace)?;
        self.meet_fate(moment, trace);
        let asked = self.disk.digest();
        if std::mem::replace(&mut self.told, asked) != asked {
            trace.count(format_args!("agent-{}'s disk", self.index), asked);
        }
        Ok(())
    }

    /// Results of commands that the gateway took since this was asked last, with the devices they are of.
    pub(super) fn take_results(&self) -> Vec<(String, CommandResult)> {
        lock(&self.answered).take_results()
    }

    /// What its devices said of their starts: whether each was asked for, by name and boot.
    pub(super) fn births(&self) -> &BTreeMap<(String, u32), bool> {
        self.ledger.births()
    }

    /// What happened to it.
    pub(super) fn sums(&self) -> Sums {
        let full = self.machine.as_ref().map_or(0, Machine::spool_full_events);
        Sums {
            repeats: self.ledger.repeats(),
            connections: self.network.connections(),
            spool_full: self.sums.spool_full + full,
            ..self.sums
        }
    }

    /// Whether it holds nothing that the gateway does not have.
    pub(super) fn is_drained(&self) -> bool {
        self.machine.as_ref().is_some_and(Machine::is_synced) && self.ledger.is_empty()
    }

    fn start(&mut self, now_ms: u64, trace: &mut Trace) -> Result<(), Broken> {
        let clock = Arc::clone(&self.now_ms);
        let utc = Utc(Arc::new(move || EPOCH_MS + clock.load(Relaxed)));
        let planted = match self.plan.planted {
            Some(Planted::AckBeforeSync) => Some(simulation::Planted::AckBeforeSync),
            Some(Planted::CheckpointBeforePuback) => Some(simulation::Planted::CheckpointBeforePuback),
            Some(Planted::ReleaseBeforeAck | Planted::CommandRenumbered) | None => None,
        };
        let answered = Arc::clone(&self.answered);
        let seen =
            Arc::new(move |topic: &str, payload: &[u8], reason| lock(&answered).note(topic, payload, reason));
        let seed = self.chance.draw();
        let (disk, way) = (self.disk.clone(), self.network.way());
        let mistake = self.plan.planted;
        match Machine::start(disk, &self.config, utc, seed, planted, &self.devices, way, seen, mistake) {
            Ok(machine) => {
                let checkpoint = machine.checkpoint();
                trace.note(now_ms, format_args!("agent-{} starts at {checkpoint}", self.index));
                machine.look(&mut self.ledger, &self.answered)?;
                self.machine = Some(machine);
            }
            // A disk that fails while it is opened: the next start has another.
            Err(error) if self.is_doomed => {
                trace.note(now_ms, format_args!("agent-{} does not start: {error}", self.index));
                self.end(now_ms, true, trace);
            }
            Err(error) => return Err(Broken(format!("agent-{} does not start: {error}", self.index))),
        }
        Ok(())
    }

    /// What happens to it at the end of a tick.
    fn meet_fate(&mut self, moment: Moment, trace: &mut Trace) {
        let now_ms = moment.world_ms;
        if moment.phase == Phase::Calm {
            if self.room_at_ms != u64::MAX {
                self.give_room();
            }
            if self.is_doomed {
                // What was planned and did not happen is forgotten with this life.
                self.end(now_ms, self.cut_at_ms != u64::MAX, trace);
            }
        } else if now_ms >= self.fault_at_ms && self.machine.is_some() {
            self.fault_at_ms = due(&mut self.chance, now_ms, self.plan.agent_fault_ms);
            self.plan_fault(now_ms, trace);
        }
        if now_ms >= self.room_at_ms {
            self.give_room();
        }
        if now_ms >= self.cut_at_ms {
            return self.end(now_ms, true, trace);
        }
        if let Some(reason) = self.machine.as_ref().and_then(Machine::failure) {
            trace.note(now_ms, format_args!("agent-{}: {reason}", self.index));
            self.end(now_ms, self.cut_at_ms != u64::MAX, trace);
        }
    }

    fn plan_fault(&mut self, now_ms: u64, trace: &mut Trace) {
        let which = self.chance.below(7);
        trace.note(now_ms, format_args!("agent-{}: fault {which}", self.index));
        let skip = self.chance.below(12);
        match which {
            0 => self.end(now_ms, false, trace),
            1 => self.end(now_ms, true, trace),
            2 | 3 => {
                self.disk.fail_step(skip, Fault::PowerOff);
                self.cut_at_ms = now_ms + PATIENCE_MS;
                self.is_doomed = true;
            }
            4 => {
                self.disk.fail_operation(Operation::Sync, skip % 4, Fault::Error);
                self.is_doomed = true;
            }
            5 => {
                self.disk
                    .fail_step(skip, if skip.is_multiple_of(2) { Fault::ShortWrite } else { Fault::Error });
                self.is_doomed = true;
            }
            _ => {
                // Somebody else fills the disk, and what is on it cannot leave.
                self.disk.limit_bytes(1);
                self.room_at_ms = now_ms + self.chance.between(1_000, 60_000);
                self.network.silence(self.room_at_ms);
            }
        }
    }

    fn give_room(&mut self) {
        self.disk.limit_bytes(u64::MAX);
        self.room_at_ms = u64::MAX;
    }

    /// Ends this life, with or without its power.
    fn end(&mut self, now_ms: u64, is_power_cut: bool, trace: &mut Trace) {
        self.sums.lives += 1;
        self.sums.power_cuts += u64::from(is_power_cut);
        self.sums.spool_full += self.machine.as_ref().map_or(0, Machine::spool_full_events);
        self.machine = None;
        let seed = self.chance.draw();
        self.disk = if is_power_cut { self.disk.power_cut(seed) } else { self.disk.kill() };
        self.start_at_ms = now_ms + self.chance.between(100, AWAY_MS_MAX);
        (self.cut_at_ms, self.is_doomed) = (u64::MAX, false);
        let how = if is_power_cut { "loses power" } else { "ends" };
        trace.note(now_ms, format_args!("agent-{} {how}, starts at {} ms", self.index, self.start_at_ms));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
