//! Streams that routes name and nobody has created yet.
//!
//! In: names. Out: streams in the configured shape, created beside the calls that need them, which come again.
//! Invariant: one creation of a name at a time, and never more streams than the limit by topics.

use super::limits::STREAMS_MAX;
use super::router::RouterError;
use super::take::{Refusal, Rules};
use crate::config::Stream;
use headwater_engine::{Engine, NewStream, StreamError, StreamName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Creates streams beside the calls that need them.
pub(super) struct Creation {
    pub(super) engine: Engine,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) shapes: BTreeMap<String, Stream>,
    pub(super) defaults: Stream,
    pub(super) allowed: bool,
    pub(super) underway: Mutex<BTreeSet<StreamName>>,
}

impl Creation {
    /// Streams with a shape of their own and the dead letters always; those that routes name when they may be created.
    pub(super) async fn create_known(&self, rules: &Rules) -> Result<(), RouterError> {
        let mut names = BTreeSet::from([rules.dead_letter.clone()]);
        for name in self.shapes.keys() {
            names.insert(StreamName::parse(name).map_err(|_| RouterError::Name)?);
        }
        if self.allowed {
            names.extend(rules.names.iter().flatten().cloned());
        }
        for name in names {
            let created = self.create(&name).await;
            created.map_err(|source| RouterError::Stream { name: name.to_string(), source })?;
        }
        Ok(())
    }

    async fn create(&self, name: &StreamName) -> Result<(), StreamError> {
        if self.engine.stream(name).is_some() {
            return Ok(());
        }
        let shape = self.shapes.get(name.as_str()).copied().unwrap_or(self.defaults);
        let mut new = NewStream::new(name.clone(), shape.shards);
        new.retention_hours = shape.retention_hours;
        match self.engine.create(new).await {
            Ok(_) | Err(StreamError::Exists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Begins to create a stream that a call found missing.
    pub(super) fn ask_for(self: &Arc<Self>, name: &StreamName) -> Refusal {
        if !self.allowed && !self.shapes.contains_key(name.as_str()) {
            return Refusal::Never(format!("stream {name} does not exist and may not be created"));
        }
        let mut underway = self.underway.lock().unwrap_or_else(PoisonError::into_inner);
        if self.engine.streams().len() + underway.len() >= STREAMS_MAX && !underway.contains(name) {
            return Refusal::Never(format!("stream {name} cannot be created: there are {STREAMS_MAX}"));
        }
        if underway.insert(name.clone()) {
            let (creation, name) = (Arc::clone(self), name.clone());
            self.runtime.spawn(async move {
                if let Err(error) = creation.create(&name).await {
                    tracing::warn!(stream = %name, %error, "stream not created");
                }
                creation.underway.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            });
        }
        Refusal::Later
    }
}
