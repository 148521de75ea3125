//! `headwater run`: a gateway as a service. SIGHUP reads its configuration again.

use super::signals::{Stop, with_signals};
use super::{Exit, Global, begin, load, logging, say};
use crate::config::Config;
use crate::gateway::{Gateway, StartError};
use headwater_engine::OpenError;
use headwater_engine::storage::LogState;
use headwater_journal as journal;
use headwater_notify::Notify;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the journal is asked whether it still takes writes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(global: &Global) -> Exit {
    with_signals(|stop| async move {
        // Before anything else: one that comes early must not kill, and counts when there is a gateway.
        let Ok(hangup) = signal(SignalKind::hangup()) else {
            tracing::error!("signals cannot be received");
            return Exit::Unavailable;
        };
        match begin(global) {
            Ok(loaded) => serve(global, loaded.config, stop, hangup).await,
            Err(exit) => exit,
        }
    })
}

async fn serve(global: &Global, config: Config, stop: Stop, hangup: Signal) -> Exit {
    let notify = Notify::from_env();
    let gateway = match Gateway::start(&config).await {
        Ok(gateway) => gateway,
        Err(error) => return not_started(&error),
    };
    let ledger = || gateway.ledger().to_string();
    notify.ready(ledger());
    let failed = tokio::select! {
        () = reload(global, &gateway, &notify, stop, hangup) => None,
        reason = failure(&gateway) => Some(reason),
        never = notify.attend(|| gateway.engine().barrier(), ledger) => match never {},
    };
    notify.stopping();
    let ledger = gateway.stop().await;
    say(&ledger);
    match failed {
        // Only a new start may touch the journal again, so end and let the supervisor do that.
        Some(reason) => {
            tracing::error!(reason, "the journal failed; start again to reopen it");
            Exit::Io
        }
        None => Exit::Ok,
    }
}

/// Reads the configuration again with each hangup, until it is time to stop. One that is being taken up then is taken up to its end,
/// which takes seconds at most.
async fn reload(global: &Global, gateway: &Gateway, notify: &Notify, stop: Stop, mut hangup: Signal) {
    loop {
        tokio::select! {
            () = stop.clone().wait() => return,
            _ = hangup.recv() => {}
        }
        notify.reloading();
        tracing::info!("reading the configuration again");
        let loaded = load(global);
        let level = loaded.as_ref().ok().map(|loaded| loaded.config.gateway.log);
        if gateway.reload(loaded).await.is_ok()
            && let Some(level) = level
        {
            logging::change(level);
        }
        notify.ready(gateway.ledger());
    }
}

/// Resolves when the journal refuses writes for good.
async fn failure(gateway: &Gateway) -> String {
    loop {
        if let LogState::Failed { reason } = gateway.engine().state() {
            return reason;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Says why a gateway did not start, and what to do about it.
pub(super) fn not_started(error: &StartError) -> Exit {
    eprintln!("{error}");
    match error {
        StartError::Tls(_) | StartError::Sinks(_) => Exit::Config,
        StartError::Listen { key, source, .. } => {
            if source.kind() == ErrorKind::AddrInUse {
                eprintln!("another program has this port; stop it, or set {key} to another one");
            }
            Exit::Unavailable
        }
        StartError::Open { source: OpenError::Config(_) | OpenError::Keys(_), .. } => Exit::Config,
        StartError::Open { source: OpenError::Journal(error), .. } => match error {
            journal::OpenError::Config { .. } => Exit::Config,
            journal::OpenError::Io { source, .. } if source.kind() == ErrorKind::ResourceBusy => {
                eprintln!(
                    "another gateway uses this directory; stop it, or set gateway.state to another one"
                );
                Exit::Temporary
            }
            _ => Exit::Io,
        },
        StartError::Routes(_) => Exit::Unavailable,
    }
}
