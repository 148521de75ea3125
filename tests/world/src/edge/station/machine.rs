//! An agent that runs: its runtime, the agent itself, its ends of the lines.
//!
//! In: ticks. Out: what the agent does. Invariant: the disk is written between two ticks of the agent's tasks, as by its journal's threads.
//! Not here: how it ends (`station`).

use crate::chance::Chance;
use crate::clock::EPOCH_MS;
use crate::edge::ledger::{Answered, Ledger};
use crate::edge::plan::Planted as Mistake;
use crate::edge::stream::{ROOM_BYTES, read_now, write_now};
use crate::host::Host;
use crate::inhabitant::{Broken, Moment};
use crate::trace::Trace;
use headwater_agent::Config as AgentConfig;
use headwater_agent::simulation::{Planted, Seen, SimulatedAgent, Utc, Way};
use headwater_journal::storage::SimDisk;
use headwater_journal::{OpenError, Ticket};
use headwater_sim::virtual_time::simulation::Fleet;
use headwater_telemetry::limits::FRAME_BYTES_MAX;
use headwater_telemetry::{Command, CommandId, Deframer, Down, Up, decode_body, encode_frame};
use std::collections::BTreeSet;
use std::sync::Mutex;
use tokio::io::{DuplexStream, duplex};

/// Bytes that wait at a serial port; what comes then is lost, as in a UART's driver.
const PORT_BYTES_MAX: usize = 4 * 1024;

/// The longest time until something is durable, ms, and of one in twenty: what a flash card does now and then.
const SYNC_MS_MAX: (u64, u64) = (60, 600);

/// Time between two looks of upkeep, ms.
const UPKEEP_MS: u64 = 50;

/// Steps of upkeep at one look.
const UPKEEP_STEPS_MAX: usize = 16;

/// See the module.
pub(super) struct Machine {
    host: Host,
    agent: SimulatedAgent,
    lines: Vec<Line>,
    /// When what is staged becomes durable; none while nothing is.
    sync_at_ms: Option<u64>,
    upkeep_at_ms: u64,
    /// What was durable when the ledger last looked.
    looked_at: Ticket,
    mistake: Option<Mistake>,
}

/// The far end of a serial line, and what comes over it.
struct Line {
    device: usize,
    name: String,
    stream: DuplexStream,
    unread: Vec<u8>,
    acks: Deframer,
    batches: Deframer,
    /// Commands that came down.
    commands: BTreeSet<CommandId>,
}

impl Machine {
    #[expect(clippy::too_many_arguments, reason = "the parts of a machine, named")]
    pub(super) fn start(
        disk: SimDisk,
        config: &AgentConfig,
        utc: Utc,
        seed: u64,
        planted: Option<Planted>,
        devices: &[usize],
        way: Way,
        seen: Seen,
        mistake: Option<Mistake>,
    ) -> Result<Self, OpenError> {
        let host = Host::start();
        let entered = host.handle().enter();
        let agent = SimulatedAgent::open(disk, config, utc, seed, planted)?;
        drop(entered);
        host.handle().spawn(agent.uplink(way, seen));
        let looked_at = agent.journal().durable();
        let (lines, sync_at_ms, upkeep_at_ms) = (Vec::new(), None, 0);
        let mut machine = Self { host, agent, lines, sync_at_ms, upkeep_at_ms, looked_at, mistake };
        machine.lines = devices.iter().map(|device| machine.line(*device)).collect();
        Ok(machine)
    }

    fn line(&self, device: usize) -> Line {
        let (ours, theirs) = duplex(ROOM_BYTES);
        let name = Fleet::name(device);
        self.host.handle().spawn(self.agent.link(theirs, name.clone()));
        Line {
            device,
            name,
            stream: ours,
            unread: Vec::new(),
            acks: Deframer::new(),
            batches: Deframer::new(),
            commands: BTreeSet::new(),
        }
    }

    /// Lives through one tick.
    pub(super) fn live(
        &mut self,
        moment: Moment,
        fleet: &Fleet,
        ledger: &mut Ledger,
        answered: &Mutex<Answered>,
        chance: &mut Chance,
        trace: &mut Trace,
    ) -> Result<(), Broken> {
        for line in &mut self.lines {
            line.read(fleet, self.mistake == Some(Mistake::ReleaseBeforeAck), trace);
        }
        self.host.tick(moment.tick_ms);
        self.keep(moment.world_ms, ledger, answered, chance)?;
        for index in 0..self.lines.len() {
            let line = &mut self.lines[index];
            if line.write(fleet, ledger, self.mistake, trace)? {
                trace.note(moment.world_ms, format_args!("{}: the link ends", line.name));
                self.lines[index] = self.line(self.lines[index].device);
            }
        }
        Ok(())
    }

    /// What the journal's threads do elsewhere.
    fn keep(
        &mut self,
        now_ms: u64,
        ledger: &mut Ledger,
        answered: &Mutex<Answered>,
        chance: &mut Chance,
    ) -> Result<(), Broken> {
        let journal = self.agent.journal();
        match self.sync_at_ms {
            None if journal.barrier() > journal.durable() => {
                let longest = if chance.one_in(20) { SYNC_MS_MAX.1 } else { SYNC_MS_MAX.0 };
                self.sync_at_ms = Some(now_ms + chance.below(longest));
            }
            Some(sync_at_ms) if now_ms >= sync_at_ms => {
                self.sync_at_ms = None;
                // A failure is found at the end of the tick.
                let _ = journal.commit();
            }
            _ => {}
        }
        if now_ms >= self.upkeep_at_ms {
            self.upkeep_at_ms = now_ms + UPKEEP_MS;
            for _ in 0..UPKEEP_STEPS_MAX {
                if !self.agent.journal().maintain(EPOCH_MS + now_ms) {
                    break;
                }
            }
        }
        // Upkeep flushes too, now and then.
        let durable = self.agent.journal().durable();
        if durable != self.looked_at {
            self.looked_at = durable;
            self.look(ledger, answered)?;
        }
        Ok(())
    }

    /// More is durable than before.
    pub(super) fn look(&self, ledger: &mut Ledger, answered: &Mutex<Answered>) -> Result<(), Broken> {
        ledger.handle_durable(&self.agent, &super::lock(answered))
    }

    /// How often its spool was full.
    pub(super) fn spool_full_events(&self) -> u64 {
        self.agent.counters().spool_full_events.get()
    }

    /// Where its checkpoint stands.
    pub(super) fn checkpoint(&self) -> u64 {
        self.agent.checkpoint()
    }

    /// Why it can do nothing more.
    pub(super) fn failure(&self) -> Option<String> {
        self.agent.failure()
    }

    /// Whether everything that is staged is durable.
    pub(super) fn is_synced(&self) -> bool {
        self.agent.journal().barrier() == self.agent.journal().durable()
    }
}

impl Line {
    /// Takes what the device sent.
    fn read(&mut self, fleet: &Fleet, releases: bool, trace: &mut Trace) {
        let bytes = fleet.take(self.device);
        if !bytes.is_empty() {
            trace.fold(format_args!("{} up", self.name), &bytes);
        }
        if releases {
            self.forge_acks(&bytes, fleet);
        }
        if self.unread.len() < PORT_BYTES_MAX {
            self.unread.extend(bytes);
        }
        // A link that has ended takes nothing; it is made anew at the end of the tick.
        let taken = write_now(&mut self.stream, &self.unread).unwrap_or(0);
        self.unread.drain(..taken);
    }

    /// Sends what the agent has to say; true when the link has ended.
    fn write(
        &mut self,
        fleet: &Fleet,
        ledger: &mut Ledger,
        mistake: Option<Mistake>,
        trace: &mut Trace,
    ) -> Result<bool, Broken> {
        let (bytes, is_ended) = read_now(&mut self.stream);
        for &byte in &bytes {
            let Some(Ok(body)) = self.acks.push(byte) else { continue };
            match decode_body::<Down>(body) {
                Ok(Down::Ack { boot, through }) => ledger.handle_ack(&self.name, boot.0, through.0)?,
                // The mistake: what comes again is another command.
                Ok(Down::Command(command))
                    if mistake == Some(Mistake::CommandRenumbered) && !self.commands.insert(command.id) =>
                {
                    let again = Command { id: CommandId(command.id.0 ^ 1), ..command };
                    give(fleet, self.device, &Down::Command(again));
                }
                _ => {}
            }
        }
        if !bytes.is_empty() {
            trace.fold(format_args!("{} down", self.name), &bytes);
            fleet.give(self.device, &bytes);
        }
        Ok(is_ended)
    }

    /// The mistake: an ack that no agent gave.
    fn forge_acks(&mut self, bytes: &[u8], fleet: &Fleet) {
        for &byte in bytes {
            let Some(Ok(body)) = self.batches.push(byte) else { continue };
            if let Ok(Up::Batch(batch)) = decode_body::<Up>(body)
                && let Some(through) = batch.through()
            {
                give(fleet, self.device, &Down::Ack { boot: batch.boot, through });
            }
        }
    }
}

fn give(fleet: &Fleet, device: usize, message: &Down) {
    let mut buf = [0u8; FRAME_BYTES_MAX];
    let frame = encode_frame(message, &mut buf).expect("acks and commands fit a frame");
    fleet.give(device, frame);
}
