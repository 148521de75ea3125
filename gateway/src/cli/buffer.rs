//! `headwater buffer`: the data of a gateway that does not run: what is there, whether it is whole, mending, taking it out.
//!
//! In: the state directory. Out: what it holds, for people or as JSON. Invariant: `ls`, `verify`, `export` and `repair --dry-run` change
//! nothing on the disk; while a gateway runs on the directory nothing is done at all.
//! Not here: reading and verifying files (journal), streams and their keys (engine).

mod bound;
mod export;
mod form;
mod list;
mod opened;
mod repair;
mod verify;

use super::Exit;
use crate::config::Config;
use clap::{Args, Subcommand};
use headwater_engine::keys::KeyFileError;
use headwater_journal as journal;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Where the data is.
#[derive(Debug, Args)]
struct Place {
    /// The state directory, or a copy of one; else `gateway.state` of the configuration.
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The file of master keys; else the one of the configuration. Only `export` of encrypted streams needs it.
    #[arg(long, global = true, value_name = "FILE")]
    master_keys: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Streams and shards: how much is there, from when, what is held, and what waits for which sink.
    Ls(list::Options),
    /// Read everything and compare every checksum. Exit code 65 when something is damaged.
    Verify(verify::Options),
    /// Note what is lost, as a start and the readers would, and keep the damaged files aside. Asks for --yes.
    Repair(repair::Options),
    /// Write records out, oldest first, shard after shard.
    Export(export::Options),
}

pub(super) fn buffer(config: &Config, options: &Options) -> Exit {
    let done = match &options.command {
        Command::Ls(list) => list::list(config, &options.place, list),
        Command::Verify(verify) => verify::verify(config, &options.place, verify),
        Command::Repair(repair) => repair::repair(config, &options.place, repair),
        Command::Export(export) => export::export(config, &options.place, export),
    };
    done.unwrap_or_else(|failed| {
        eprintln!("{failed}");
        failed.exit()
    })
}

/// Why a command ended early; the text says what to do.
#[derive(Debug)]
enum Failed {
    /// There is no such directory, or no journal in it.
    Absent(PathBuf),
    /// A gateway runs.
    Busy(String),
    /// The journal does not open.
    Open(journal::OpenError),
    /// A file or standard output.
    Io(String, io::Error),
    /// The master keys.
    Keys(KeyFileError),
    /// Records are encrypted and the key is not to be had.
    Sealed(String),
    /// What was asked for is not there.
    Asked(String),
    /// Records cannot be read.
    Read(journal::ReadError),
}

impl Failed {
    fn opening(error: journal::OpenError, dir: &std::path::Path) -> Self {
        match &error {
            journal::OpenError::Io { source, .. } => match source.kind() {
                ErrorKind::NotFound => Failed::Absent(dir.into()),
                ErrorKind::ResourceBusy => Failed::Busy(source.to_string()),
                _ => Failed::Open(error),
            },
            _ => Failed::Open(error),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Failed::Absent(_) => Exit::Unavailable,
            Failed::Busy(_) => Exit::Temporary,
            Failed::Open(journal::OpenError::Config { .. }) | Failed::Sealed(_) => Exit::Config,
            Failed::Open(journal::OpenError::Version { .. }) | Failed::Read(_) => Exit::Data,
            Failed::Open(_) | Failed::Io(..) => Exit::Io,
            Failed::Keys(KeyFileError::Io { .. }) => Exit::Io,
            Failed::Keys(_) => Exit::Config,
            Failed::Asked(_) => Exit::Usage,
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Absent(dir) => write!(
                f,
                "{}: there is no journal; name the gateway's state directory with --dir, or its configuration with --config",
                dir.display()
            ),
            Failed::Busy(text) => write!(
                f,
                "{text}\na gateway runs on this directory: stop it first (systemctl stop headwater), or ask the running one with \
                 `headwater status` and over its Kinesis API"
            ),
            Failed::Open(error @ journal::OpenError::Io { source, .. }) => write!(f, "{error}: {source}"),
            Failed::Open(error) => write!(f, "{error}"),
            Failed::Io(what, error) => write!(f, "{what}: {error}"),
            Failed::Keys(error) => write!(f, "{error}"),
            Failed::Sealed(text) | Failed::Asked(text) => f.write_str(text),
            Failed::Read(error) => write!(f, "{error}"),
        }
    }
}

/// Bytes as people read them.
fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, 0);
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::bytes_text;

    #[test]
    fn bytes_are_shown_with_a_unit() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_600, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(bytes_text(bytes), expected);
        }
    }
}
