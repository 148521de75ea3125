//! The same load and checks against a machine elsewhere whose power is switched by commands: a relay before a Raspberry Pi.
//!
//! In: where its gateway listens, a command that switches power on and one that switches it off. Out: a line a cut; the first broken
//! promise ends it. Always: load has ended before power comes back, so that no connection lives through a cut.
//! Not here: what a cut takes. That is the real disk's decision.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use system_tests::kinesis::{Kinesis, get};
use system_tests::wait_until;

use crate::ledger::{Ledger, Report};
use crate::load::{Load, STREAM};
use crate::{machine, power, seed};

/// The first argument.
pub(crate) const COMMAND: &str = "remote";

/// What follows it.
pub(crate) const ARGUMENTS: &str =
    "--mqtt <address> --kinesis <address> --http <address> --on <command> --off <command> --cuts <number>";

/// How long a machine may take from power to a healthy gateway: a file system check on an old card takes minutes.
const BOOT_PATIENCE: Duration = Duration::from_secs(300);

/// Records that must be acknowledged before a cut is worth something.
const ACKED_MIN: u64 = 100;

/// How long that may take.
const LOAD_PATIENCE: Duration = Duration::from_secs(60);

/// Longest time under load before the cut; the seed picks.
const LOAD_MS_MAX: u64 = 10_000;

/// How long power stays off: capacitors keep a small board running for a while.
const OFF: Duration = Duration::from_secs(5);

/// A machine whose power commands switch.
pub(crate) struct Remote {
    mqtt: SocketAddr,
    kinesis: SocketAddr,
    http: SocketAddr,
    on: String,
    off: String,
    cuts: u64,
    seed: u64,
}

impl Remote {
    /// Reads the arguments; each must be there once.
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let usage = |what: String| format!("{what}\nusage: power-rig {COMMAND} {ARGUMENTS}");
        let mut given: BTreeMap<&str, &str> = BTreeMap::new();
        for pair in args.chunks(2) {
            match pair {
                [key, value] if ARGUMENTS.contains(&format!("{key} <")) => given.insert(key, value),
                _ => return Err(usage(format!("found {pair:?}"))),
            };
        }
        let get = |key: &str| given.get(key).copied().ok_or_else(|| usage(format!("no {key}")));
        let address = |key: &str| -> Result<SocketAddr, String> {
            let text = get(key)?;
            text.parse().map_err(|_| usage(format!("{key} is {text:?}, expected address:port")))
        };
        let cuts = get("--cuts")?;
        Ok(Self {
            mqtt: address("--mqtt")?,
            kinesis: address("--kinesis")?,
            http: address("--http")?,
            on: get("--on")?.to_owned(),
            off: get("--off")?.to_owned(),
            cuts: cuts.parse().map_err(|_| usage(format!("--cuts is {cuts:?}, expected a number")))?,
            seed: seed(),
        })
    }

    /// All cuts, then a last check. Power stays on.
    pub(crate) fn run(&self) -> Result<String, String> {
        let mut ledger = Ledger::default();
        for cut in 0..self.cuts {
            let report = self.start(&mut ledger).map_err(|why| format!("before cut {cut}: {why}"))?;
            println!("cut {cut}: {} acknowledged so far, {} found, 0 missing", report.acked, report.found);
            ledger.acked(self.cut(cut)?);
        }
        let report = self.start(&mut ledger).map_err(|why| format!("after the last cut: {why}"))?;
        Ok(format!("{} cuts: {} acknowledged, {} found, 0 missing", self.cuts, report.acked, report.found))
    }

    /// Load, and power off at a moment of the seed. What was acknowledged.
    fn cut(&self, cut: u64) -> Result<Vec<String>, String> {
        let load = Load::new(self.mqtt, self.kinesis, &format!("remote-{}-{cut:05}", self.seed));
        let flowing = wait_until(LOAD_PATIENCE, || {
            let (mqtt, kinesis) = load.acked();
            mqtt > 0 && kinesis > 0 && mqtt + kinesis >= ACKED_MIN
        });
        if !flowing {
            return Err(format!(
                "acknowledged by PUBACK and by PutRecords in {LOAD_PATIENCE:?}: {:?}",
                load.acked()
            ));
        }
        std::thread::sleep(power::chance(self.seed, cut).millis(0, LOAD_MS_MAX));
        sh(&self.off)?;
        let acked = load.finish();
        std::thread::sleep(OFF);
        Ok(acked)
    }

    /// Power on, a healthy gateway, and a check of everything.
    fn start(&self, ledger: &mut Ledger) -> Result<Report, String> {
        sh(&self.on)?;
        let mut body = None;
        wait_until(BOOT_PATIENCE, || {
            body = get(self.http, "/health").ok().filter(|(status, _)| *status == 200).map(|(_, body)| body);
            body.is_some()
        });
        let body = body
            .ok_or_else(|| format!("http://{}/health does not say 200 after {BOOT_PATIENCE:?}", self.http))?;
        let recovery = machine::recovery(&body)?;
        let report = ledger.check(&Kinesis::new(self.kinesis).read_all(STREAM));
        if recovery.alarm() || !report.clean() {
            return Err(format!("{report:?}\n{recovery:?}"));
        }
        Ok(report)
    }
}

fn sh(command: &str) -> Result<(), String> {
    match Command::new("sh").args(["-c", command]).status() {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("{command}: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Remote, String> {
        Remote::parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_argument_is_wanted_once_and_none_else() {
        let all = "--mqtt 127.0.0.1:1 --kinesis 127.0.0.1:2 --http 127.0.0.1:3 --on on --off off --cuts 4";
        let remote = parse(all).ok().unwrap();
        assert_eq!((remote.http.port(), remote.off.as_str(), remote.cuts), (3, "off", 4));
        for (wrong, said) in [
            (all.replace("--off off ", ""), "no --off"),
            (all.replace("--cuts 4", "--cuts four"), "expected a number"),
            (all.replace(":1 ", " "), "expected address:port"),
            (format!("{all} --more 1"), "found"),
            (format!("{all} --more"), "found"),
        ] {
            let why = parse(&wrong).err().unwrap();
            assert!(why.contains(said) && why.contains("usage"), "{wrong}: {why}");
        }
    }
}
