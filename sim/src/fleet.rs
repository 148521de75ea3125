//! One fleet from start to verdict: make devices, let them sample, let them drain, read the shards back, compare.
//!
//! In: a [`SimConfig`], the word to stop. Out: [`Progress`] while it runs, a [`Summary`] at the end.
//! Always true: sampling ends before draining, and nothing is judged lost before devices and agent had their time.
//! Not here: what a device does (`device`), what counts as lost (`check`).

mod start;

use self::start::{run_name, start_agent};
use crate::check::{Acked, Census, Findings};
use crate::config::{AgentAt, SimConfig, SimError};
use crate::device::{DeviceHandle, Phase as Order};
use crate::foreign::ForeignLedger;
use crate::kinesis::Shards;
use crate::limits::{CHECK_EVERY_MS, PROGRESS_EVERY_MS};
use crate::summary::{Phase, Progress, Summary};
use headwater_telemetry::DeviceId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// How often the shards are read while devices sample.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// The check gets at least this, or as much as the drain, however long devices took.
const CHECK_AT_LEAST: Duration = Duration::from_secs(10);

/// Devices that are told to stop take no longer.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A simulated fleet.
#[derive(Debug)]
pub struct Fleet {
    config: SimConfig,
    prefix: String,
    devices: Vec<Member>,
    foreign: Vec<(String, Arc<ForeignLedger>)>,
    publishers: JoinSet<()>,
    publish: watch::Sender<Order>,
    shards: Shards,
    census: Census,
}

#[derive(Debug)]
struct Member {
    handle: DeviceHandle,
    order: watch::Sender<Order>,
}

impl Fleet {
    /// Runs a fleet until its duration or count is reached or `shutdown` ends, lets everything drain, reads the shards
    /// back and compares. `progress` is told four times a second. Needs a tokio runtime with IO and time.
    ///
    /// # Errors
    /// The fleet could not be run or checked. Broken promises are no error: see [`Summary::is_good`].
    pub async fn run(
        config: SimConfig,
        progress: watch::Sender<Progress>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<Summary, SimError> {
        config.check()?;
        let agent = match &config.agent {
            AgentAt::InProcess(state) if config.devices > 0 => Some(start_agent(&config, state).await?),
            AgentAt::InProcess(_) | AgentAt::External(_) => None,
        };
        let link = match (&config.agent, &agent) {
            (AgentAt::External(addr), _) => Some(*addr),
            (AgentAt::InProcess(_), Some(agent)) => agent.link_addrs().first().copied(),
            (AgentAt::InProcess(_), None) => None,
        };
        let mut shards = Shards::new(config.kinesis);
        // Before the first device speaks, or its first readings would be left out too.
        if let Err(error) = shards.skip_existing().await {
            tracing::debug!(%error, "shards are read from their oldest record on");
        }
        let mut fleet = Self::start(config, link, shards)?;
        fleet.sample(&progress, shutdown).await;
        let drain_until = Instant::now() + fleet.config.drain;
        fleet.drain(&progress, drain_until).await;
        let check_until = drain_until.max(Instant::now() + CHECK_AT_LEAST.min(fleet.config.drain));
        let checked = fleet.check(&progress, check_until).await;
        if let Some(agent) = agent {
            agent.stop().await;
        }
        let findings = checked?;
        let summary = fleet.summary(findings);
        progress.send_replace(Progress { lost: summary.lost, ..fleet.progress(Phase::Done) });
        Ok(summary)
    }

    fn start(config: SimConfig, link: Option<SocketAddr>, shards: Shards) -> Result<Self, SimError> {
        let run = config.run.clone().unwrap_or_else(run_name);
        let prefix = format!("sim-{run}-");
        let (publish, order) = watch::channel(Order::Run);
        let mut fleet = Self {
            census: Census::new(&prefix),
            shards,
            devices: Vec::new(),
            foreign: Vec::new(),
            publishers: JoinSet::new(),
            publish,
            prefix,
            config,
        };
        fleet.start_devices(link)?;
        fleet.start_foreign(&order);
        Ok(fleet)
    }

    /// Until the time is over, every device has its count, or the word to stop.
    async fn sample(&mut self, progress: &watch::Sender<Progress>, shutdown: impl Future<Output = ()>) {
        let until = self.config.duration.map(|duration| Instant::now() + duration);
        let mut tick = interval(Duration::from_millis(PROGRESS_EVERY_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut followed_at = Instant::now();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = &mut shutdown => return,
            }
            progress.send_replace(self.progress(Phase::Sampling));
            if until.is_some_and(|until| Instant::now() >= until) || self.is_count_reached() {
                return;
            }
            if followed_at.elapsed() >= FOLLOW_EVERY {
                followed_at = Instant::now();
                // A gateway that is being restarted is no reason to stop; the check at the end insists.
                tokio::select! {
                    followed = self.shards.read_on(|data| self.census.handle_record(data)) => if let Err(error) = followed {
                        tracing::debug!(%error, "shards not followed");
                    },
                    () = &mut shutdown => return,
                }
            }
        }
    }

    /// Lets devices that have their count stop sampling; true when all have.
    fn is_count_reached(&self) -> bool {
        let Some(count) = self.config.count else { return false };
        let mut all = true;
        for member in &self.devices {
            if member.handle.ledger.totals().sampled >= count {
                member.order.send_replace(Order::Drain);
            } else {
                all = false;
            }
        }
        let is_acked =
            |(_, ledger): &(String, Arc<ForeignLedger>)| ledger.acked.load(Ordering::Relaxed) >= count;
        all && self.foreign.iter().all(is_acked)
    }

    /// Sampling ends; what devices hold goes out.
    async fn drain(&mut self, progress: &watch::Sender<Progress>, until: Instant) {
        self.order(Order::Drain);
        while Instant::now() < until {
            progress.send_replace(self.progress(Phase::Draining));
            while self.publishers.try_join_next().is_some() {}
            if self.publishers.is_empty() && self.devices.iter().all(|member| member.handle.is_ended()) {
                break;
            }
            sleep(Duration::from_millis(PROGRESS_EVERY_MS)).await;
        }
        self.order(Order::Stop);
        let ended = async {
            for member in &mut self.devices {
                member.handle.ended().await;
            }
            while self.publishers.join_next().await.is_some() {}
        };
        // What is acked must not change any more once it is compared.
        if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
            tracing::warn!("devices do not stop");
        }
    }

    fn order(&self, order: Order) {
        for member in &self.devices {
            member.order.send_replace(order);
        }
        self.publish.send_replace(order);
    }

    /// Reads the shards until nothing is missing, or the time is over.
    async fn check(
        &mut self,
        progress: &watch::Sender<Progress>,
        until: Instant,
    ) -> Result<Findings, SimError> {
        let acked = self.acked();
        loop {
            let read = self.shards.read_on(|data| self.census.handle_record(data)).await;
            let findings = self.census.findings(&acked);
            let is_over = Instant::now() >= until;
            match read {
                Ok(()) if findings.lost == 0 || is_over => return Ok(findings),
                Err(error) if is_over => return Err(error),
                Ok(()) => {}
                Err(error) => tracing::debug!(%error, "shards not read"),
            }
            progress.send_replace(self.progress(Phase::Checking));
            sleep(Duration::from_millis(CHECK_EVERY_MS)).await;
        }
    }

    fn acked(&self) -> Acked {
        let mut acked = Acked::default();
        for member in &self.devices {
            for (boot, ledger) in member.handle.ledger.boots() {
                acked.lines.insert((member.handle.id.as_str().to_owned(), boot), u64::from(ledger.acked));
            }
        }
        for (name, ledger) in &self.foreign {
            acked.foreign.insert(name.clone(), ledger.acked.load(Ordering::Relaxed));
        }
        acked
    }

    fn progress(&self, phase: Phase) -> Progress {
        let devices = u64::try_from(self.devices.len() + self.foreign.len()).unwrap_or(u64::MAX);
        let mut progress = Progress { phase, devices, stored: self.census.stored(), ..Progress::default() };
        for member in &self.devices {
            let totals = member.handle.ledger.totals();
            progress.readings += totals.sampled;
            progress.acked += totals.acked;
            progress.waiting += totals.waiting();
            progress.gaps += totals.gap_entries;
            progress.reboots += totals.boots.saturating_sub(1);
            progress.connections += totals.connections;
        }
        for (_, ledger) in &self.foreign {
            let (published, acked) =
                (ledger.published.load(Ordering::Relaxed), ledger.acked.load(Ordering::Relaxed));
            progress.readings += published;
            progress.acked += acked;
            progress.waiting += published.saturating_sub(acked);
            progress.connections += ledger.connections.load(Ordering::Relaxed);
        }
        progress
    }

    fn summary(&self, mut findings: Findings) -> Summary {
        let progress = self.progress(Phase::Done);
        let mut silent = 0;
        for member in &self.devices {
            let totals = member.handle.ledger.totals();
            if totals.stored > 0 && totals.acked == 0 {
                silent += 1;
                findings.example(silenced(&member.handle.id, totals.refusal));
            }
        }
        Summary {
            devices: progress.devices,
            readings: progress.readings,
            acked: progress.acked,
            stored: findings.stored,
            waiting: progress.waiting,
            gaps: findings.gaps,
            lost: findings.lost,
            repeated: findings.repeated,
            misordered: findings.misordered,
            foreign_repeated: findings.foreign_repeated,
            reboots: progress.reboots,
            silent,
            examples: findings.examples,
        }
    }
}

/// What a device that delivered nothing heard about it.
fn silenced(id: &DeviceId, refusal: Option<u8>) -> String {
    let why = match refusal {
        None => "nobody answered".to_owned(),
        Some(0x97) => {
            "gateway has its most connections from one address (mqtt.connections_per_ip)".to_owned()
        }
        Some(0x89) => "gateway has its most connections (mqtt.connections)".to_owned(),
        Some(reason) => format!("gateway refuses with reason 0x{reason:02x}"),
    };
    format!("{} delivered nothing: {why}", id.as_str())
}
