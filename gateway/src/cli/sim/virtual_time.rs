//! `headwater sim --virtual`: a fleet in virtual time, its progress, its verdict and what it cost.
//!
//! ```text
//! headwater sim --virtual --devices 3000 --duration 22m --seed 7 --reboot 6/h --offline 5%
//! ```
//! The same line gives the same digest on every machine, at every run. With `--keep DIR` the shards stay, and
//! `STATE_DIRECTORY=DIR headwater run` serves them.

use super::shards::Shards;
use crate::cli::signals::Stop;
use crate::cli::{Exit, say};
use crate::config::{Config, DurabilityMode, Sim};
use clap::Args;
use headwater_sim::virtual_time::{self, SinkError, VirtualConfig, VirtualProgress, VirtualSummary};
use headwater_sim::{Faults, SimError};
use rustix::time::{ClockId, clock_gettime};
use std::fmt;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What the command line says of a fleet in virtual time.
#[derive(Debug, Args)]
pub(super) struct VirtualOptions {
    /// Virtual time: devices, links and clocks run as fast as this machine can, the same at every run of a seed, into shards of
    /// their own. Needs no gateway. Power cuts fall inside flash writes too; clocks are 50 ppm wrong unless said otherwise.
    #[arg(long = "virtual", conflicts_with_all = ["start", "agent", "mqtt", "foreign", "count"])]
    pub(super) is_virtual: bool,
    /// Keep the shards of a fleet in virtual time in this directory, which must hold none yet; `headwater run` with it as state
    /// directory serves them. Their records are from September 2026.
    #[arg(long, value_name = "DIR", requires = "is_virtual")]
    keep: Option<PathBuf>,
    /// One byte in so many is lost or flipped on the lines of a fleet in virtual time; 0 is none.
    #[arg(long, value_name = "N", default_value_t = 2_000, requires = "is_virtual")]
    damage: u64,
}

/// A fleet whose end nobody set runs for this long.
const DURATION: Duration = Duration::from_secs(600);

/// How often a journal that is thrown away is synced.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How often a terminal gets a new line, and how often a log.
const TERMINAL_EVERY: Duration = Duration::from_millis(500);
const PLAIN_EVERY: Duration = Duration::from_secs(5);

impl VirtualOptions {
    fn over(&self, sim: &Sim) -> VirtualConfig {
        let duration = if sim.duration.is_zero() { DURATION } else { sim.duration };
        let crystal = VirtualConfig::new(sim.devices, duration);
        let skew = if sim.clock_skew.is_zero() { crystal.faults.clock_skew } else { sim.clock_skew };
        VirtualConfig {
            rate_per_sec: sim.rate.per_second(),
            seed: sim.seed,
            faults: Faults {
                offline: f64::from(sim.offline_percent) / 100.0,
                reboots_per_hour: sim.reboot.per_second() * 3_600.0,
                clock_skew: skew,
            },
            damaged_1_in: self.damage,
            ..crystal
        }
    }
}

pub(super) async fn drive(mut config: Config, sim: &Sim, options: VirtualOptions, stop: Stop) -> Exit {
    let fleet = options.over(sim);
    if options.keep.is_none() {
        // Nothing of it outlasts this process, so no power cut of this machine can take anything: four commits a virtual second
        // need not wait for the disk.
        config.journal.durability = DurabilityMode::Interval(SYNC_EVERY);
    }
    // Beside each other they do not meet.
    let own = config.gateway.state.join(format!("sim-{}", std::process::id()));
    let home = options.keep.clone().unwrap_or_else(|| own.clone());
    let journal = home.join("journal");
    if holds_something(&journal) {
        eprintln!("{} holds shards already; name another directory (--keep)", journal.display());
        return Exit::Data;
    }
    let outcome = match Shards::open(&config, &journal).await {
        Ok(shards) => run(fleet, shards, stop).await,
        Err(error) => Err(SimError::Sink(error)),
    };
    if options.keep.is_none()
        && let Err(error) = std::fs::remove_dir_all(&own)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %own.display(), %error, "the shards of this fleet stay");
    }
    verdict(outcome, options.keep.as_deref())
}

fn holds_something(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

async fn run(
    config: VirtualConfig,
    mut shards: Shards,
    stop: Stop,
) -> Result<(VirtualSummary, Cost), SimError> {
    let told = Arc::new(AtomicBool::new(false));
    let (tell, stopped) = (Arc::clone(&told), tokio::spawn(stop.wait()));
    let watch = tokio::spawn(async move {
        let _ = stopped.await;
        tell.store(true, Relaxed);
    });
    // The world is one thread for as long as it lasts.
    let world = tokio::task::spawn_blocking(move || {
        let mut show = Show::new(config);
        let summary = virtual_time::run(config, &mut shards, &mut |progress| {
            show.handle(progress);
            if told.load(Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (summary, show.cost(), shards)
    });
    let ended = world.await;
    watch.abort();
    let (summary, cost, shards) =
        ended.map_err(|error| SimError::Thread(format!("the world ended early: {error}")))?;
    shards.close().await;
    Ok((summary?, cost))
}

fn verdict(outcome: Result<(VirtualSummary, Cost), SimError>, kept: Option<&Path>) -> Exit {
    match outcome {
        Ok((summary, cost)) => {
            say(&summary);
            say(&cost);
            for example in &summary.findings.examples {
                say(format_args!("  {example}"));
            }
            if let Some(dir) = kept {
                say(format_args!("The shards are in {}.", dir.display()));
            }
            if summary.is_good() { Exit::Ok } else { Exit::Failure }
        }
        Err(SimError::Sink(SinkError(text))) => {
            eprintln!("shards of the fleet: {text}");
            Exit::Io
        }
        Err(error) => {
            eprintln!("{error}");
            if matches!(error, SimError::Config(_)) { Exit::Usage } else { Exit::Unavailable }
        }
    }
}

/// Shows progress and measures.
struct Show {
    config: VirtualConfig,
    is_terminal: bool,
    began: Instant,
    shown: Instant,
    cpu_before: Duration,
    memory_before: Option<u64>,
    /// At the last progress: virtual time, CPU time and time of the world; memory at the end of sampling.
    world: (Duration, Duration, Duration),
    memory: Option<u64>,
}

impl Show {
    fn new(config: VirtualConfig) -> Self {
        let (began, memory_before) = (Instant::now(), memory());
        Self {
            config,
            is_terminal: std::io::stdout().is_terminal(),
            began,
            shown: began,
            cpu_before: cpu(),
            memory_before,
            world: Default::default(),
            memory: None,
        }
    }

    fn handle(&mut self, progress: VirtualProgress) {
        let real = self.began.elapsed();
        self.world = (progress.elapsed, cpu() - self.cpu_before, real);
        if !progress.is_draining {
            self.memory = memory();
        }
        let every = if self.is_terminal { TERMINAL_EVERY } else { PLAIN_EVERY };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let line = Line { config: &self.config, progress: &progress, real };
        let mut out = std::io::stdout().lock();
        let written = match self.is_terminal {
            // Erase to the end: the line before may have been longer.
            true => write!(out, "\r{line}\x1b[K"),
            false => writeln!(out, "{line}"),
        };
        // A closed pipe is no reason to fail.
        let _ = written.and_then(|()| out.flush());
    }

    fn cost(&self) -> Cost {
        if self.is_terminal {
            say("");
        }
        let (elapsed, world_cpu, real) = self.world;
        let grown = self.memory.zip(self.memory_before).map(|(now, before)| now.saturating_sub(before));
        Cost {
            device_hours: elapsed.as_secs_f64() / 3_600.0 * f64::from(self.config.devices),
            speed: elapsed.as_secs_f64() / real.as_secs_f64().max(0.001),
            world_cpu,
            cpu: cpu() - self.cpu_before,
            device_bytes: grown.map(|bytes| bytes / u64::from(self.config.devices.max(1))),
        }
    }
}

/// What a fleet cost.
struct Cost {
    device_hours: f64,
    speed: f64,
    /// CPU time of the world with routes and shards, and of everything, reading back included.
    world_cpu: Duration,
    cpu: Duration,
    device_bytes: Option<u64>,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = self.world_cpu.as_secs_f64();
        let per_hour_ms = world * 1_000.0 / self.device_hours.max(f64::MIN_POSITIVE);
        write!(
            f,
            "{world:.1} s of CPU time, {per_hour_ms:.1} ms a virtual device-hour, {:.0} times as fast as real time, {:.1} s more \
             for reading the shards back",
            self.speed,
            (self.cpu - self.world_cpu).as_secs_f64(),
        )?;
        match self.device_bytes {
            Some(bytes) => write!(f, ", {} KiB of memory a device", bytes.div_ceil(1024)),
            None => Ok(()),
        }
    }
}

/// CPU time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

/// Bytes of memory this process has, where the system tells.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

struct Line<'a> {
    config: &'a VirtualConfig,
    progress: &'a VirtualProgress,
    real: Duration,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VirtualProgress { elapsed, is_draining, boots, readings, bad_frames, .. } = self.progress;
        let phase = if *is_draining { "draining: " } else { "" };
        let (seconds, of) = (elapsed.as_secs(), self.config.duration.as_secs());
        let speed = elapsed.as_secs_f64() / self.real.as_secs_f64().max(0.001);
        write!(
            f,
            "{phase}{}m{:02}s of {}m{:02}s, {speed:.0} times real time, {} devices, {boots} boots, {readings} readings, \
             {bad_frames} bad frames",
            seconds / 60,
            seconds % 60,
            of / 60,
            of % 60,
            self.config.devices
        )
    }
}
