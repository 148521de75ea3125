//! `headwater keys`: the master keys in their file. A running gateway takes changes within a second of the next call that
//! uses an encrypted stream.

use super::{Exit, say};
use crate::config::Config;
use clap::{Args, Subcommand};
use headwater_engine::keys::{
    KeyFileError, KeyListError, KeySource, KeyState, MasterKey, MasterKeys, write_keys,
};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The key file; else the one of the configuration.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the keys: id, state, how many secrets, aliases. Never the secrets.
    List,
    /// Make a key; the file, too, when there is none. `alias/aws/kinesis` is the key of who names no other.
    Create {
        /// Names of the key, such as alias/plant.
        #[arg(required = true, value_name = "ALIAS")]
        aliases: Vec<String>,
    },
    /// Let a key be used again.
    Enable(Named),
    /// Let a key not be used: streams that are encrypted with it are refused until it is enabled.
    Disable(Named),
    /// Mark a key as going to be removed; it can be enabled again.
    ScheduleDeletion(Named),
    /// Give a key a new secret. Streams' keys are wrapped anew; the old secret stays in the file.
    Rotate(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// Its id or an alias.
    key: String,
}

pub(super) fn keys(config: &Config, options: Options) -> Exit {
    let source = match options.file {
        Some(path) => KeySource::File { path, create: false },
        None => config.key_source(),
    };
    match run(&source, options.command) {
        Ok(()) => Exit::Ok,
        Err(Failed::File(error)) => {
            eprintln!("{error}");
            if matches!(error, KeyFileError::Io { .. }) { Exit::Io } else { Exit::Data }
        }
        Err(Failed::Keys(error)) => {
            eprintln!("{error}");
            Exit::Data
        }
        Err(Failed::ReadOnly) => {
            eprintln!(
                "master keys come from a credential, which its service manager changes; name a file with --file"
            );
            Exit::Usage
        }
    }
}

/// Why a command did nothing.
enum Failed {
    File(KeyFileError),
    Keys(KeyListError),
    ReadOnly,
}

impl From<KeyFileError> for Failed {
    fn from(error: KeyFileError) -> Self {
        Failed::File(error)
    }
}

impl From<KeyListError> for Failed {
    fn from(error: KeyListError) -> Self {
        Failed::Keys(error)
    }
}

fn run(source: &KeySource, command: Command) -> Result<(), Failed> {
    let mut keys = source.read()?;
    match command {
        Command::List => {
            keys.keys().iter().for_each(|key| say(line(key)));
            return Ok(());
        }
        Command::Create { aliases } => {
            let aliases: Vec<_> = aliases.iter().map(String::as_str).collect();
            let id = keys.create(&aliases, now_ms())?;
            write(source, &keys)?;
            say(id);
        }
        Command::Enable(named) => {
            change(source, &mut keys, |keys| keys.set_state(&named.key, KeyState::Enabled))?
        }
        Command::Disable(named) => {
            change(source, &mut keys, |keys| keys.set_state(&named.key, KeyState::Disabled))?
        }
        Command::ScheduleDeletion(named) => {
            change(source, &mut keys, |keys| keys.set_state(&named.key, KeyState::PendingDeletion))?;
        }
        Command::Rotate(named) => change(source, &mut keys, |keys| keys.rotate(&named.key))?,
    }
    Ok(())
}

fn change(
    source: &KeySource,
    keys: &mut MasterKeys,
    change: impl FnOnce(&mut MasterKeys) -> Result<(), KeyListError>,
) -> Result<(), Failed> {
    change(keys)?;
    write(source, keys)
}

fn write(source: &KeySource, keys: &MasterKeys) -> Result<(), Failed> {
    match source {
        KeySource::File { path, .. } => Ok(write_keys(Path::new(path), keys)?),
        KeySource::None | KeySource::Credential { .. } => Err(Failed::ReadOnly),
    }
}

fn line(key: &MasterKey) -> String {
    let aliases: Vec<_> = key.aliases().collect();
    let secrets = key.versions();
    format!("{} {:<16} {secrets} {}", key.id(), key.state().as_str(), aliases.join(" "))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
