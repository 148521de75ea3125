//! What faults do, and which of them are going on.

use super::World;
use crate::gateway::Told;
use crate::inhabitant::{Broken, Phase};
use crate::plan::Sink;
use crate::reading;
use crate::storm::{Fault, Which};
use crate::way::{ADDRESSES, Weather};
use headwater_engine::Engine;
use headwater_journal::Storage;
use headwater_journal::storage::{Fault as DiskFault, Operation};
use tokio::runtime::Handle;

/// A disk without a limit, for the arithmetic of full ones.
const DISK_BYTES: u64 = 1 << 40;
/// A planned power cut that meets no operation of the disk comes after this.
const CUT_AFTER_MS: u64 = 1_000;
/// How soon a machine is tried again that did not start.
const BOOT_AGAIN_MS: u64 = 200;

/// What is going on. All times are of the world, ms.
#[derive(Default)]
pub(super) struct Troubles {
    gateway_boots_at: u64,
    target_boots_at: u64,
    /// The power of the gateway goes: at the latest at this time, then it is off for so long.
    cut: Option<(u64, u64)>,
    /// Off for so long after its disk fails.
    off_ms: u64,
    /// Somebody did something to the disk in this life of the gateway.
    is_gateway_disk_bad: bool,
    full_until: Option<u64>,
    slow_disk_until: Option<u64>,
    weather_until: [Option<u64>; ADDRESSES],
    has_booted: bool,
    has_set_clock: bool,
}

impl Troubles {
    /// Whether a fault explains an ERROR line.
    pub(super) fn explain(&self, who: &str, line: &str, sinks: &[Sink]) -> bool {
        let of_disk = [
            "journal stopped",
            "a sink's cursor or dead letter is not stored",
            "cannot open a segment",
            "cannot read a segment",
            "cannot read a snapshot",
            "cannot read metadata",
        ];
        let of_line = |line: &str| {
            let line = line.to_owned();
            sinks.iter().filter(move |sink| line.contains(&format!("sink=\"{}\"", sink.name)))
        };
        let may_expire = |line: &str| of_line(line).any(|sink| !sink.is_required);
        match who {
            // Agents, whose own ledgers hold what their disks promised; faults of these disks are their station's.
            "inhabitants" => of_disk.iter().any(|text| line.starts_with(text)),
            "gateway" if of_disk.iter().any(|text| line.starts_with(text)) => self.is_gateway_disk_bad,
            // An operation of the API that changes shards finds the disk full.
            "gateway" if line.starts_with("request failed error=the log is full") => {
                self.full_until.is_some()
            }
            // A machine whose power goes while it starts cannot read, and takes records for gone; it stores nothing of that any more.
            "gateway" if self.cut.is_some() && line.starts_with("records ") => true,
            "gateway" if line.starts_with("record becomes a dead letter") => {
                of_line(line).any(|sink| sink.has_poison)
            }
            "gateway" if line.starts_with("dead letter is not taken") => {
                self.full_until.is_some() || self.is_gateway_disk_bad
            }
            // A clock that was set makes records too old; only a required sink keeps them all the same.
            "gateway" if line.starts_with("records expired before") => self.has_set_clock && may_expire(line),
            "gateway" if line.starts_with("records are lost to a sink") => {
                let is_quota = line.contains("reason=\"quota\"") && of_line(line).any(|sink| sink.may_drop);
                is_quota || (line.contains("reason=\"age\"") && self.has_set_clock && may_expire(line))
            }
            _ => false,
        }
    }
}

impl Troubles {
    /// Shards that cannot be read are broken, unless the disk is.
    pub(super) fn check_readable(&self, is_read: bool) -> Result<(), Broken> {
        match is_read || self.is_gateway_disk_bad {
            true => Ok(()),
            false => Err(Broken("the gateway's shards cannot be read".to_owned())),
        }
    }
}

impl World {
    /// Faults that begin or end now, machines that come back.
    pub(super) fn faults(&mut self, now: u64) -> Result<(), Broken> {
        if self.phase == Phase::Stormy
            && let Some(fault) = self.storm.poll(now)
        {
            self.trace.note(now, format_args!("fault: {fault:?}"));
            self.begin(now, fault);
        }
        self.end_faults(now);
        if let Some((at, off_ms)) = self.troubles.cut
            && now >= at
        {
            self.end_gateway(now, true, off_ms);
        }
        if !self.target.station.is_up() && now >= self.troubles.target_boots_at {
            self.logs.speaking("target");
            if let Err(error) = self.target.boot() {
                self.trace.note(now, format_args!("target does not start: {error}"));
                self.end_target(now, true, BOOT_AGAIN_MS);
            }
        }
        if !self.gateway.station.is_up() && now >= self.troubles.gateway_boots_at {
            self.boot_gateway(now)?;
        }
        Ok(())
    }

    fn boot_gateway(&mut self, now: u64) -> Result<(), Broken> {
        self.logs.speaking("gateway");
        if let Err(error) = self.gateway.boot() {
            self.trace.note(now, format_args!("gateway does not start: {error}"));
            if !self.troubles.is_gateway_disk_bad && self.troubles.full_until.is_none() {
                return Err(Broken(format!("the gateway does not start: {error}")));
            }
            self.end_gateway(now, true, BOOT_AGAIN_MS);
            return Ok(());
        }
        self.trace.note(now, "gateway starts");
        if let Some(engine) = self.gateway.station.engine()
            && self.troubles.has_booted
        {
            let seen = self.books.handle_boot(engine);
            if self.gateway.station.disk.list().is_err() {
                // The power went while the books were read: what was read says nothing.
                self.trace.note(now, "gateway has no power");
                self.logs.forget("gateway");
                self.end_gateway(now, true, BOOT_AGAIN_MS);
                return Ok(());
            }
            self.troubles.check_readable(seen?)?;
        }
        self.troubles.has_booted = true;
        Ok(())
    }

    pub(super) fn handle_gateway(&mut self, now: u64, told: Told) -> Result<(), Broken> {
        match told {
            Told::Nothing | Told::Flushed => {}
            Told::Stopped => {
                self.trace.note(now, "gateway has stopped");
                if self.troubles.is_gateway_disk_bad {
                    // What was planned may have come while it closed its files.
                    self.end_gateway(now, self.troubles.cut.is_some(), BOOT_AGAIN_MS);
                }
            }
            Told::Broken(why) => {
                self.trace.note(now, format_args!("gateway is broken: {why}"));
                let is_explained = self.troubles.is_gateway_disk_bad || self.troubles.full_until.is_some();
                if !is_explained {
                    return Err(Broken(format!("the gateway breaks without a fault: {why}")));
                }
                let (is_cut, off_ms) = match self.troubles.cut {
                    Some((_, off_ms)) => (true, off_ms),
                    None => (false, self.troubles.off_ms.max(BOOT_AGAIN_MS)),
                };
                self.end_gateway(now, is_cut, off_ms);
            }
        }
        Ok(())
    }

    fn end_gateway(&mut self, now: u64, is_cut: bool, off_ms: u64) {
        self.gateway.end(is_cut);
        self.troubles.cut = None;
        self.troubles.is_gateway_disk_bad = false;
        self.troubles.gateway_boots_at = now + off_ms;
    }

    pub(super) fn end_target(&mut self, now: u64, is_cut: bool, off_ms: u64) {
        self.target.end(is_cut);
        self.troubles.target_boots_at = now + off_ms;
    }

    fn begin(&mut self, now: u64, fault: Fault) {
        let is_up = self.gateway.station.is_up();
        match fault {
            Fault::PowerCut { skip, off_ms } => {
                self.gateway.station.disk.fail_step(skip, DiskFault::PowerOff);
                self.troubles.is_gateway_disk_bad = true;
                self.troubles.cut = Some((now + CUT_AFTER_MS, off_ms));
            }
            Fault::Kill { off_ms } if is_up => self.end_gateway(now, self.troubles.cut.is_some(), off_ms),
            Fault::Restart { off_ms } => {
                self.troubles.gateway_boots_at = now + off_ms;
                self.gateway.stop();
            }
            Fault::DiskError { is_sync, skip, off_ms } if is_up => {
                let operation = if is_sync { Operation::Sync } else { Operation::Write };
                self.gateway.station.disk.fail_operation(operation, skip, DiskFault::Error);
                self.troubles.is_gateway_disk_bad = true;
                self.troubles.off_ms = off_ms;
            }
            Fault::DiskFull { bytes, for_ms } => {
                self.gateway.station.disk.limit_bytes(DISK_BYTES);
                let used = DISK_BYTES - self.gateway.station.disk.free_bytes().unwrap_or(DISK_BYTES);
                self.gateway.station.disk.limit_bytes(used + bytes);
                self.troubles.full_until = Some(now + for_ms);
            }
            Fault::SlowDisk { flush_ms, for_ms } => {
                self.gateway.station.flush_ms = flush_ms;
                self.troubles.slow_disk_until = Some(now + for_ms);
            }
            Fault::Clock { ahead_ms } => {
                self.troubles.has_set_clock = true;
                self.gateway.station.clock.set_ahead(ahead_ms);
            }
            Fault::Away { which, for_ms } => {
                self.weather(which, now + for_ms, |_| Weather { is_away: true, ..Weather::default() });
            }
            Fault::Weather { lose_answer, reset, error, silence, cut_answer, which, for_ms } => {
                self.weather(which, now + for_ms, |before| Weather {
                    lose_answer,
                    reset,
                    error,
                    silence,
                    cut_answer,
                    ..before
                });
            }
            Fault::SlowWay { ms, which, for_ms } => {
                self.weather(which, now + for_ms, |before| Weather { slow_ms: ms, ..before });
            }
            Fault::TargetEnds { is_cut, off_ms } => self.end_target(now, is_cut, off_ms),
            Fault::TargetShards { stream, shards } => {
                let names: Vec<String> = self.books.target_streams();
                resize(self.target.station.engine(), self.target.station.host(), &names, stream, shards);
            }
            Fault::SourceShards { stream, shards } => {
                let station = &self.gateway.station;
                resize(station.engine(), station.host(), &self.plan.streams, stream, shards);
            }
            Fault::Kill { .. } | Fault::DiskError { .. } => {}
        }
    }

    fn weather(&mut self, which: Which, until: u64, change: impl Fn(Weather) -> Weather) {
        for address in (0..ADDRESSES).filter(|address| which.is_none_or(|which| which == *address)) {
            self.target.way.set(address, change(self.target.way.weather(address)));
            self.troubles.weather_until[address] = Some(until);
        }
    }

    fn end_faults(&mut self, now: u64) {
        let is_over = |until: &mut Option<u64>| until.take_if(|until| now >= *until).is_some();
        if is_over(&mut self.troubles.full_until) {
            self.gateway.station.disk.limit_bytes(DISK_BYTES);
        }
        if is_over(&mut self.troubles.slow_disk_until) {
            self.gateway.station.flush_ms = 0;
        }
        for (address, until) in self.troubles.weather_until.iter_mut().enumerate() {
            if is_over(until) {
                self.target.way.set(address, Weather::default());
            }
        }
    }

    /// Ends every fault. What is broken is started anew as ever.
    pub(super) fn heal(&mut self) {
        self.end_faults(u64::MAX);
        self.gateway.station.clock.set_ahead(0);
        self.target.way.calm();
        let now = self.clock.world_ms();
        self.trace.note(now, "calm");
        // A fault that is planned on a disk goes with its life.
        if self.troubles.is_gateway_disk_bad {
            let is_cut = self.troubles.cut.is_some();
            self.end_gateway(now, is_cut, BOOT_AGAIN_MS);
        }
    }
}

/// Asks an engine to give one of its streams so many shards; it may have other worries.
fn resize(
    engine: Option<&Engine>,
    host: Option<&crate::host::Host>,
    names: &[String],
    which: u64,
    shards: u64,
) {
    let (Some(engine), Some(host)) = (engine, host) else { return };
    let Some(name) =
        usize::try_from(which % names.len().max(1) as u64).ok().and_then(|place| names.get(place))
    else {
        return;
    };
    if reading::stream(engine, name).is_none() {
        return;
    }
    let body = format!(
        "{{\"StreamName\":\"{name}\",\"TargetShardCount\":{shards},\"ScalingType\":\"UNIFORM_SCALING\"}}"
    );
    let (engine, handle): (Engine, &Handle) = (engine.clone(), host.handle());
    handle.spawn(async move {
        engine.call("UpdateShardCount", body.as_bytes()).await;
    });
}
