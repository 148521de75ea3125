//! The log on standard error.

use crate::config::LogFormat;
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Libraries whose own log is about their inside; they are shown from `warn` on, or from `debug` when asked for it.
const TALKATIVE: [&str; 3] = ["rumqttd", "rumqttc", "hyper"];

/// The filter of the log that was started.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts the log. A second start changes nothing, so that tests may call it as they like.
pub(super) fn start(level: LevelFilter, format: LogFormat) {
    let terminal = std::io::stderr().is_terminal();
    let (filter, handle) = reload::Layer::new(filter(level));
    let text = match format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let writer = std::io::stderr;
    let started = if text {
        registry.with(fmt::layer().with_writer(writer).with_ansi(terminal).with_target(false)).try_init()
    } else {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(writer)).try_init()
    };
    if started.is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Shows lines from `level` on from now on.
pub(super) fn change(level: LevelFilter) {
    if let Some(handle) = FILTER.get()
        && let Err(error) = handle.reload(filter(level))
    {
        tracing::error!(%error, "the level of the log is not changed");
    }
}

fn filter(level: LevelFilter) -> Targets {
    let quiet = if level >= LevelFilter::DEBUG { level } else { level.min(LevelFilter::WARN) };
    Targets::new().with_default(level).with_targets(TALKATIVE.map(|target| (target, quiet)))
}
