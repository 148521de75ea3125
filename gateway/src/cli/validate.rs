//! `headwater validate`.

use super::{Exit, not_loaded, say};
use crate::config;
use clap::Args;
use std::path::Path;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Take warnings for errors.
    #[arg(long)]
    deny_warnings: bool,
}

pub(super) fn validate(path: Option<&Path>, options: &Options) -> Exit {
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(error) => return not_loaded(&error),
    };
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    let file = path.map_or_else(|| "built-in defaults".to_owned(), |path| path.display().to_string());
    let (routes, streams) = (loaded.config.routes.len(), loaded.config.streams.len());
    let (users, warnings) = (loaded.config.mqtt.users.len(), loaded.warnings.len());
    if options.deny_warnings && warnings > 0 {
        return Exit::Config;
    }
    say(format_args!(
        "{file}: valid, {routes} routes, {streams} streams of their own shape, {users} users, {warnings} warnings"
    ));
    Exit::Ok
}
