//! A fleet of simulated devices, as `sim` and `demo` run it: options, live progress, the verdict.

use super::signals::Stop;
use super::{Exit, say};
use crate::config::{Rate, Sim, parse_duration, parse_percent};
use clap::Args;
use headwater_sim::{Faults, Fleet, Phase, Progress, SimConfig, SimError, Summary};
use std::collections::VecDeque;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What the command line says of a fleet; each overrides its key in `[sim]`.
#[derive(Debug, Default, Args)]
pub(super) struct FleetOptions {
    /// Simulated devices.
    #[arg(long, value_name = "N")]
    devices: Option<u32>,
    /// Readings of one device, such as 1/s or 6/m.
    #[arg(long, value_parser = rate)]
    rate: Option<Rate>,
    /// Stop after so many readings of each device; 0 is no end.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop after this time, such as 60s; 0s is no end.
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Same seed, same fleet.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Devices speak MQTT themselves instead of a link to an agent.
    #[arg(long)]
    mqtt: bool,
    /// More publishers of plain JSON.
    #[arg(long, value_name = "N")]
    foreign: Option<u32>,
    /// Share of time a device is cut off, such as 5%.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    offline: Option<u8>,
    /// How often a device restarts, such as 1/h.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    reboot: Option<Rate>,
    /// Device clocks run wrong by up to this in a day, such as 90s.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    clock_skew: Option<Duration>,
}

fn rate(text: &str) -> Result<Rate, &'static str> {
    Rate::parse(text).ok_or("expected a rate such as 1/s, 6/m or 1/h")
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("expected a duration with its unit, such as 60s")
}

fn percent(text: &str) -> Result<u8, &'static str> {
    parse_percent(text).filter(|percent| *percent <= 90).ok_or("expected a share such as 5%, at most 90%")
}

impl FleetOptions {
    /// The fleet of `[sim]` with these options over it.
    pub(super) fn over(&self, sim: &Sim) -> Sim {
        Sim {
            devices: self.devices.unwrap_or(sim.devices),
            rate: self.rate.unwrap_or(sim.rate),
            duration: self.duration.unwrap_or(sim.duration),
            count: self.count.unwrap_or(sim.count),
            seed: self.seed.unwrap_or(sim.seed),
            mqtt: self.mqtt || sim.mqtt,
            foreign: self.foreign.unwrap_or(sim.foreign),
            offline_percent: self.offline.unwrap_or(sim.offline_percent),
            reboot: self.reboot.unwrap_or(sim.reboot),
            clock_skew: self.clock_skew.unwrap_or(sim.clock_skew),
        }
    }
}

/// Longest wait for what devices still hold when a fleet ends; a person who pressed Ctrl-C waits for it.
const DRAIN: Duration = Duration::from_secs(20);

/// A fleet that sends to the gateway at `mqtt` and is checked at `kinesis`. Its agent keeps its spool in `agent`.
pub(super) fn settings(sim: &Sim, agent: PathBuf, mqtt: SocketAddr, kinesis: SocketAddr) -> SimConfig {
    let (devices, mqtt_devices) = if sim.mqtt { (0, sim.devices) } else { (sim.devices, 0) };
    SimConfig {
        devices,
        mqtt_devices,
        foreign: sim.foreign,
        rate_per_sec: sim.rate.per_second(),
        duration: Some(sim.duration).filter(|duration| !duration.is_zero()),
        count: Some(sim.count).filter(|count| *count > 0),
        seed: sim.seed,
        faults: Faults {
            offline: f64::from(sim.offline_percent) / 100.0,
            reboots_per_hour: sim.reboot.per_second() * 3_600.0,
            clock_skew: sim.clock_skew,
        },
        drain: DRAIN,
        ..SimConfig::new(agent, mqtt, kinesis)
    }
}

/// Runs a fleet to its end or until told to stop, and shows how it does.
pub(super) async fn run(config: SimConfig, stop: Stop) -> Result<Summary, SimError> {
    let (sender, receiver) = watch::channel(Progress::default());
    let shown = tokio::spawn(show(receiver));
    let summary = Fleet::run(config, sender, stop.wait()).await;
    // The sender is gone, so this ends.
    let _ = shown.await;
    summary
}

/// Prints the summary; its promise decides the exit code.
pub(super) fn verdict(outcome: Result<Summary, SimError>) -> Exit {
    match outcome {
        Ok(summary) => {
            say(&summary);
            for example in &summary.examples {
                say(format_args!("  {example}"));
            }
            if summary.is_good() { Exit::Ok } else { Exit::Failure }
        }
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("{error}{cause}");
            match error {
                SimError::Config(_) => Exit::Usage,
                _ => Exit::Unavailable,
            }
        }
    }
}

/// How often the line on a terminal is written anew, and how often a log gets one.
const TERMINAL_EVERY: Duration = Duration::from_millis(500);
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Readings per second are taken over this many looks.
const RATE_LOOKS: usize = 10;

async fn show(mut progress: watch::Receiver<Progress>) {
    let terminal = std::io::stdout().is_terminal();
    let every = if terminal { TERMINAL_EVERY } else { PLAIN_EVERY };
    let mut looks = VecDeque::from([(Instant::now(), 0)]);
    loop {
        let over = tokio::time::timeout(every, closed(&mut progress)).await.is_ok();
        let now = progress.borrow().clone();
        looks.push_back((Instant::now(), now.readings));
        if looks.len() > RATE_LOOKS {
            looks.pop_front();
        }
        let line = Line { progress: &now, per_second: per_second(&looks) };
        if terminal {
            // Erase to the end: the line before may have been longer.
            print_now(&format!("\r{line}\x1b[K{}", if over { "\n" } else { "" }));
        } else if now.phase != Phase::Starting {
            print_now(&format!("{line}\n"));
        }
        if over {
            return;
        }
    }
}

/// Resolves when the fleet is over.
async fn closed(progress: &mut watch::Receiver<Progress>) {
    while progress.changed().await.is_ok() {}
}

fn per_second(looks: &VecDeque<(Instant, u64)>) -> f64 {
    let (Some((from, before)), Some((to, after))) = (looks.front(), looks.back()) else { return 0.0 };
    let elapsed = to.saturating_duration_since(*from).as_secs_f64();
    let readings = u32::try_from(after.saturating_sub(*before)).unwrap_or(u32::MAX);
    if elapsed > 0.0 { f64::from(readings) / elapsed } else { 0.0 }
}

fn print_now(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

struct Line<'a> {
    progress: &'a Progress,
    per_second: f64,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { phase, devices, acked, stored, waiting, lost, .. } = self.progress;
        let phase = match phase {
            Phase::Starting => "starting: ",
            Phase::Sampling | Phase::Done => "",
            Phase::Draining => "draining: ",
            Phase::Checking => "reading the shards back: ",
        };
        let per_second = self.per_second;
        write!(
            f,
            "{phase}{devices} devices, {per_second:.0} readings/s, {acked} acked, {waiting} waiting, {stored} in shards, \
             lost = {lost}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_line_says_what_people_ask_first() {
        let progress = Progress {
            phase: Phase::Sampling,
            devices: 20,
            acked: 900,
            waiting: 3,
            stored: 880,
            ..Progress::default()
        };
        assert_eq!(
            Line { progress: &progress, per_second: 19.6 }.to_string(),
            "20 devices, 20 readings/s, 900 acked, 3 waiting, 880 in shards, lost = 0"
        );
    }

    #[test]
    fn options_win_over_the_file() {
        let file = crate::config::Config::default().sim;
        let options = FleetOptions {
            devices: Some(5),
            mqtt: true,
            offline: Some(5),
            reboot: Rate::parse("2/h"),
            ..FleetOptions::default()
        };
        let addr = "127.0.0.1:1".parse().unwrap();
        let config = settings(&options.over(&file), PathBuf::from("/x"), addr, addr);
        assert_eq!((config.devices, config.mqtt_devices, config.duration), (0, 5, None));
        assert_eq!((config.faults.offline, config.faults.reboots_per_hour), (0.05, 2.0));
    }
}
