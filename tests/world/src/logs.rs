//! What the product logs while the world runs: every ERROR, with who said it.
//!
//! In: events of `tracing` on the world's thread. Out: lines, for the world to explain or to fail by. Not here: what explains which line
//! ([`crate::world`]).

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer};

/// Collects ERROR lines. Cheap to clone; clones are one collection.
#[derive(Debug, Clone, Default)]
pub struct Logs(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    who: &'static str,
    lines: Vec<(&'static str, String)>,
}

impl Logs {
    /// Whoever logs from now on is `who`.
    pub(crate) fn speaking(&self, who: &'static str) {
        self.lock().who = who;
    }

    /// The lines since this was asked last, with who said them.
    pub(crate) fn take(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.lock().lines)
    }

    /// Nothing that this one said since then counts.
    pub(crate) fn forget(&self, who: &str) {
        self.lock().lines.retain(|(of, _)| *of != who);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let written = match field.name() {
            "message" => {
                self.0.insert_str(0, &format!("{value:?}"));
                Ok(())
            }
            name => write!(self.0, " {name}={value:?}"),
        };
        debug_assert!(written.is_ok(), "a String takes everything");
    }
}

impl<S: Subscriber> Layer<S> for Logs {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::ERROR)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let mut state = self.lock();
        let who = state.who;
        state.lines.push((who, text.0));
    }
}
