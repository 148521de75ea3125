//! What the benches share: arguments, the accounts of a process, tables, MQTT publishers, producers and readers of
//! records at full speed.
//!
//! Each bench has one canonical workload and compares within one run. What counts is CPU per record, bytes and flushes per
//! record and ratios; a rate alone says as much about the machine as about the program.

pub mod account;
pub mod contender;
pub mod producers;
pub mod publishers;
pub mod readers;
pub mod table;
pub mod wire;

use std::path::PathBuf;
use std::time::Duration;

/// What every bench is told on its command line.
#[derive(Debug, Clone)]
pub struct Args {
    /// `--small`: a second altogether, to see that it still works.
    pub small: bool,
    /// `--seconds N`: length of one measurement.
    pub seconds: f64,
    /// `--dir PATH`: where data goes; on the disk that is to be measured, never a memory file system.
    pub dir: PathBuf,
    /// `--gib N`: size of a backlog.
    pub gib: f64,
    /// Everything else, for the one bench that knows it.
    pub rest: Vec<String>,
}

impl Args {
    /// Reads the command line.
    ///
    /// # Errors
    /// When a value is missing or is not a number.
    pub fn parse() -> anyhow::Result<Self> {
        let mut given = std::env::args().skip(1);
        let mut args =
            Self { small: false, seconds: 3.0, dir: PathBuf::from("."), gib: 1.0, rest: Vec::new() };
        while let Some(arg) = given.next() {
            let mut value = || given.next().ok_or_else(|| anyhow::anyhow!("{arg} needs a value"));
            match arg.as_str() {
                "--small" => (args.small, args.seconds, args.gib) = (true, 0.3, 0.03),
                "--seconds" => args.seconds = value()?.parse()?,
                "--dir" => args.dir = value()?.into(),
                "--gib" => args.gib = value()?.parse()?,
                _ => args.rest.push(arg),
            }
        }
        Ok(args)
    }

    /// Length of one measurement.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// How often each case is repeated; the median is shown.
    #[must_use]
    pub fn rounds(&self) -> usize {
        if self.small { 1 } else { 3 }
    }

    /// Size of a backlog in bytes.
    #[must_use]
    pub fn backlog_bytes(&self) -> u64 {
        (self.gib * f64::from(1 << 30)) as u64
    }

    /// A fresh directory for data, removed when dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn scratch(&self) -> anyhow::Result<tempfile::TempDir> {
        std::fs::create_dir_all(&self.dir)?;
        Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(&self.dir)?)
    }
}
