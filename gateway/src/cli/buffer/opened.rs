//! The journal of a gateway that does not run, with the names of its streams.
//!
//! In: where it is. Out: streams and shards by name, positions as sequence numbers. Invariant: nothing on the disk changes.

use super::{Failed, Place};
use crate::config::Config;
use crate::gateway::journal_config;
use headwater_engine::keys::KeySource;
use headwater_engine::storage::Position;
use headwater_engine::{SequenceNumber, ShardId, StreamHandle, StreamNumber, offline};
use headwater_journal::{self as journal, Offline, ShardKey};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What is looked at.
pub(super) struct Opened {
    pub(super) dir: PathBuf,
    pub(super) journal: Arc<Offline>,
    pub(super) streams: BTreeMap<u32, StreamHandle>,
    scope: (String, String),
}

/// The directory of the journal: inside a state directory, or what `headwater kinesis --dir` was given.
pub(super) fn journal_dir(config: &Config, place: &Place) -> PathBuf {
    let state = place.dir.as_deref().unwrap_or(&config.gateway.state);
    let inside = state.join("journal");
    if inside.is_dir() || place.dir.is_none() { inside } else { state.into() }
}

/// Settings that a start would have.
pub(super) fn settings(config: &Config) -> journal::Config {
    journal_config(&config.journal)
}

impl Opened {
    pub(super) fn open(config: &Config, place: &Place) -> Result<Self, Failed> {
        let dir = journal_dir(config, place);
        let journal = Offline::open(&dir, settings(config)).map_err(|error| Failed::opening(error, &dir))?;
        let journal = Arc::new(journal);
        let scope = (config.kinesis.region.clone(), config.kinesis.account.clone());
        let streams = offline::streams(&journal, &scope.0, &scope.1);
        let streams = streams.into_iter().map(|stream| (stream.number().0, stream)).collect();
        Ok(Self { dir, journal, streams, scope })
    }

    /// Gives the journal the keys of encrypted streams. Returns, by stream and key, why others do not open.
    pub(super) fn unlock(
        &self,
        config: &Config,
        place: &Place,
    ) -> Result<BTreeMap<(u32, u16), String>, Failed> {
        let source = match &place.master_keys {
            Some(path) => KeySource::File { path: path.clone(), create: false },
            None => config.key_source(),
        };
        let scope = (self.scope.0.as_str(), self.scope.1.as_str());
        let closed = offline::learn_keys(&self.journal, &self.dir, &source, scope).map_err(Failed::Keys)?;
        Ok(closed.into_iter().map(|closed| ((closed.stream.0, closed.key), closed.reason)).collect())
    }

    /// The name of a stream; its number when no definition names it any more.
    pub(super) fn name(&self, stream: u32) -> String {
        match self.streams.get(&stream) {
            Some(stream) => stream.name().to_string(),
            None if stream == journal::META_STREAM => "(metadata)".to_owned(),
            None => format!("#{stream}"),
        }
    }

    /// The stream of a name, or of `#` and a number.
    pub(super) fn number(&self, name: &str) -> Result<u32, Failed> {
        let numbered = || name.strip_prefix('#')?.parse().ok();
        let named = self.streams.values().find(|stream| stream.name().as_str() == name);
        named.map(|stream| stream.number().0).or_else(numbered).ok_or_else(|| {
            let names: Vec<_> = self.streams.values().map(|stream| stream.name().to_string()).collect();
            Failed::Asked(match names.len() {
                0 => format!("there is no stream `{name}`, nor any other"),
                _ => format!("there is no stream `{name}`; there are {}", names.join(", ")),
            })
        })
    }

    /// The sequence number of a record, as the API gives it; `None` for shards that no stream speaks of.
    pub(super) fn number_at(&self, key: ShardKey, position: u64) -> Option<SequenceNumber> {
        let state = self.streams.get(&key.stream)?.state();
        let shard = state.shards.get(ShardId(key.shard))?;
        Some(SequenceNumber {
            generation: shard.generation,
            position: Position { position, index: 0 },
            stream: StreamNumber(key.stream),
            shard: ShardId(key.shard),
        })
    }

    /// A record's number for people: as the API gives it, else its place in the shard.
    pub(super) fn number_text(&self, key: ShardKey, position: u64) -> String {
        self.number_at(key, position).map_or_else(|| position.to_string(), |number| number.to_string())
    }

    /// The same in JSON.
    pub(super) fn number_json(&self, key: ShardKey, position: u64) -> Value {
        self.number_at(key, position).map_or(Value::Null, |number| json!(number.to_string()))
    }
}
