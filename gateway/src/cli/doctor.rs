//! `headwater doctor`: is everything there that a gateway needs.
//!
//! In: the configuration, this machine, and a gateway that may run on it. Out: findings, each with what to do about it.
//! Invariants: nothing is changed (a file for timing is made in the state directory, and gone at the end); secrets are never
//! shown. Not here: how a running gateway does (`status`).

mod bench;
mod certificates;
mod clock;
mod der;
mod disk;
mod files;
mod ports;
mod report;
mod sinks;

use self::report::{Finding, Report};
use super::Exit;
use super::signals::with_signals;
use super::status::seen::Seen;
use crate::config::Loaded;
use clap::Args;
use std::path::Path;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Ask nothing that needs a network: names, credentials, targets of sinks.
    #[arg(long)]
    offline: bool,
}

/// What the checks look at.
struct Subject<'a> {
    config: &'a crate::config::Config,
    /// The gateway that runs here, if one does.
    running: Option<Seen>,
}

pub(super) fn doctor(loaded: Loaded, file: Option<&Path>, options: &Options) -> Exit {
    with_signals(|stop| async move {
        tokio::select! {
            exit = examine(&loaded, file, options) => exit,
            () = stop.wait() => Exit::Temporary,
        }
    })
}

async fn examine(loaded: &Loaded, file: Option<&Path>, options: &Options) -> Exit {
    let mut report = Report::default();
    let shown = file.map_or_else(|| "built-in defaults".to_owned(), |file| file.display().to_string());
    report.add(Finding::ok("config", format!("{shown}: valid")));
    for warning in &loaded.warnings {
        report.add(Finding::warn("config", warning.to_string(), "see `headwater validate`"));
    }
    let running = Seen::ask(loaded.config.http.listen).await.ok();
    let subject = Subject { config: &loaded.config, running };
    report.add(match &subject.running {
        Some(seen) => {
            Finding::ok("gateway", format!("{} runs, state {}", seen.health.name, seen.health.state))
        }
        None => Finding::ok("gateway", "does not run".to_owned()),
    });
    report.all(clock::check(&subject).await);
    report.all(files::check(&subject, file));
    // Files and timing them are for another thread than the one that signals are waited for on.
    let state = loaded.config.gateway.state.clone();
    let measured = tokio::task::spawn_blocking(move || bench::measure(&state)).await;
    report.all(disk::check(&subject, measured.ok().as_ref()));
    report.all(ports::check(&subject));
    report.all(certificates::check(&subject));
    report.all(match options.offline {
        true => sinks::skipped(&subject),
        false => sinks::check(&subject).await,
    });
    report.end()
}
