//! `headwater config init` and `headwater config keys`.

use super::{Exit, say};
use crate::config::{self, SAMPLE};
use clap::Args;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The file to write; it must not exist. Without one the sample is printed.
    file: Option<PathBuf>,
}

pub(super) fn init(options: &Options) -> Exit {
    let Some(path) = &options.file else {
        let _ = std::io::stdout().lock().write_all(SAMPLE.as_bytes());
        return Exit::Ok;
    };
    // Passwords may be put into it, so it is for its owner only from the start.
    let mut open = OpenOptions::new();
    open.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    let written = open.open(path).and_then(|mut file| file.write_all(SAMPLE.as_bytes()));
    match written {
        Ok(()) => {
            say(format_args!("wrote {0}; next: headwater run --config {0}", path.display()));
            Exit::Ok
        }
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            Exit::Io
        }
    }
}

/// Every key, when a change of it counts, and its default.
pub(super) fn keys() -> Exit {
    for key in config::keys() {
        let default = if key.default.is_empty() { String::new() } else { format!(" = {}", key.default) };
        say(format_args!("{:<8} {}{default}", key.takes.word(), key.path));
    }
    Exit::Ok
}
