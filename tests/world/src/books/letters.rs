//! The gateway's stream of dead letters, as far as it is durable.

use crate::identity::{Identity, Names};
use crate::inhabitant::Broken;
use crate::plan::Sink;
use crate::reading;
use crate::trace::Trace;
use crate::way::poison::Poison;
use headwater_engine::Engine;
use std::collections::{BTreeMap, BTreeSet};

/// The stream's name where the configuration says nothing.
const STREAM: &str = "dead-letter";
/// So many times its tries are left to a record that nobody stands beside.
const ALONE: u64 = headwater_relay::limits::ALONE_FACTOR as u64;

#[derive(Default)]
pub(super) struct Letters {
    next: BTreeMap<u32, u64>,
    /// By sink and stream: records that were set aside, each perhaps more than once.
    set_aside: BTreeMap<(String, String), BTreeSet<Identity>>,
}

impl Letters {
    /// Reads what is new; each letter must be one of a record that is never taken, with the reason. False when it cannot be read.
    pub(super) fn read(
        &mut self,
        engine: &Engine,
        sinks: &[Sink],
        names: &mut Names,
        trace: &mut Trace,
    ) -> Result<bool, Broken> {
        let Some(handle) = reading::stream(engine, STREAM) else { return Ok(true) };
        for id in reading::shards(&handle) {
            let next = self.next.entry(id.0).or_default();
            match reading::end(engine, &handle, id) {
                Some(end) if end > *next => {}
                Some(end) if end < *next => {
                    return Err(Broken(format!(
                        "dead letters {end} to {} were durable and are gone",
                        *next - 1
                    )));
                }
                _ => continue,
            }
            let mut found = Vec::new();
            let Some(read) = reading::read(engine, &handle, id, *next, &mut found) else { return Ok(false) };
            *next = read;
            for record in found {
                trace.fold("dead letter", &record.data);
                self.take(&record.data, sinks, names)?;
            }
        }
        Ok(true)
    }

    fn take(&mut self, letter: &[u8], sinks: &[Sink], names: &mut Names) -> Result<(), Broken> {
        let broken = |what: &str| Broken(format!("{what}: {}", String::from_utf8_lossy(letter)));
        let told: serde_json::Value =
            serde_json::from_slice(letter).map_err(|_| broken("a dead letter is no JSON"))?;
        let text = |field: &str| told.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
        if text("kind") == "dropped" {
            return Ok(());
        }
        let record = base64_simd::STANDARD.decode_to_vec(text("payload")).unwrap_or_default();
        let sink = sinks.iter().find(|sink| sink.name == text("sink") && sink.has_poison);
        let (Some(sink), Some(poison), Some(id)) = (sink, Poison::of(&record), names.identify(&record))
        else {
            return Err(broken("a record becomes a dead letter that its target would take"));
        };
        let tries = text("reason")
            .strip_prefix("the target failed to take it ")
            .and_then(|rest| rest.strip_suffix(" times")?.parse::<u64>().ok());
        let is_reason = match tries {
            Some(tries) => poison == Poison::Failing && (sink.tries..=sink.tries * ALONE).contains(&tries),
            None => text("reason") == "the target refuses it",
        };
        if !is_reason {
            return Err(broken("a dead letter has another reason than its record"));
        }
        self.set_aside.entry((text("sink").to_owned(), text("stream").to_owned())).or_default().insert(id);
        Ok(())
    }

    /// Whether a record of a stream is where a sink puts what it cannot deliver.
    pub(super) fn has(&self, sink: &str, stream: &str, id: Identity) -> bool {
        self.of(sink, stream).is_some_and(|set_aside| set_aside.contains(&id))
    }

    /// How many records of a stream are.
    pub(super) fn count(&self, sink: &str, stream: &str) -> u64 {
        self.of(sink, stream).map_or(0, |set_aside| set_aside.len() as u64)
    }

    fn of(&self, sink: &str, stream: &str) -> Option<&BTreeSet<Identity>> {
        self.set_aside.get(&(sink.to_owned(), stream.to_owned()))
    }
}
