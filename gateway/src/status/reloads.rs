//! Configurations that a running gateway was told to take up: how many, and what became of the last.

use super::metrics::Text;
use crate::gateway::{ReloadError, Reloaded};
use crate::route::time::Utc;
use serde_json::{Value, json};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What became of all of them.
#[derive(Debug, Default)]
pub(crate) struct Reloads(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    applied: u64,
    refused: u64,
    last: Option<Last>,
    /// Keys whose values in the file are not those that the gateway runs with.
    needs_restart: Vec<&'static str>,
}

#[derive(Debug)]
struct Last {
    at_ms: u64,
    /// Why it was refused.
    error: Option<String>,
}

impl Reloads {
    pub(crate) fn note(&self, outcome: &Result<Reloaded, ReloadError>) {
        let mut state = self.lock();
        let error = outcome.as_ref().err().map(ToString::to_string);
        state.last = Some(Last { at_ms: headwater_engine::Clock::system().now_ms(), error });
        match outcome {
            Ok(reloaded) => {
                state.applied += 1;
                state.needs_restart.clone_from(&reloaded.needs_restart);
            }
            Err(_) => state.refused += 1,
        }
    }

    pub(super) fn json(&self) -> Value {
        let state = self.lock();
        let last = state.last.as_ref().map(|last| {
            let result = if last.error.is_none() { "applied" } else { "refused" };
            json!({ "at": Utc(last.at_ms).to_string(), "result": result, "error": last.error })
        });
        json!({
            "applied": state.applied, "refused": state.refused, "last": last, "needs_restart": state.needs_restart,
        })
    }

    pub(super) fn render(&self, out: &mut Text) {
        let state = self.lock();
        let name = "headwater_config_reloads_total";
        out.head(
            name,
            "counter",
            "Configurations the gateway was told to take up while it runs, by what became of them.",
        );
        out.labelled(name, &[("result", "applied")], state.applied);
        out.labelled(name, &[("result", "refused")], state.refused);
        let is_good = state.last.as_ref().is_none_or(|last| last.error.is_none());
        let help = "0 when the last configuration was refused: the gateway runs with one before it.";
        out.metric("headwater_config_last_reload_applied", "gauge", help, u8::from(is_good));
        let help = "Keys whose values in the file wait for a restart.";
        out.metric("headwater_config_keys_waiting_for_restart", "gauge", help, state.needs_restart.len());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
