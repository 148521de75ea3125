//! Streams that routes name and nobody has created yet.
//!
//! In: names. Out: streams in the configured shape, created beside the calls that need them, which come again.
//! Invariants: one creation of a name at a time, and never more streams than the limit by topics; a call never waits for
//! a stream that cannot be: what stands behind it would wait as well.

use super::limits::{REFUSED_FOR, STREAMS_MAX};
use super::router::RouterError;
use super::take::{Refusal, Rules};
use crate::config::Stream;
use headwater_engine::{Engine, NewStream, StreamError, StreamName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Creates streams beside the calls that need them.
pub(super) struct Creation {
    pub(super) engine: Engine,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) shapes: BTreeMap<String, Stream>,
    pub(super) defaults: Stream,
    pub(super) allowed: bool,
    pub(super) attempts: Arc<Mutex<Attempts>>,
}

/// Names that calls asked for.
#[derive(Default)]
pub(super) struct Attempts {
    underway: BTreeSet<StreamName>,
    /// When each was refused for a reason that trying again does not change.
    refused: BTreeMap<StreamName, Instant>,
}

impl Attempts {
    /// Whether `name` was refused a short while ago.
    fn is_refused(&self, name: &StreamName) -> bool {
        self.refused.get(name).is_some_and(|at| at.elapsed() < REFUSED_FOR)
    }

    fn refuse(&mut self, name: &StreamName) {
        self.refused.retain(|_, at| at.elapsed() < REFUSED_FOR);
        if self.refused.len() < STREAMS_MAX {
            self.refused.insert(name.clone(), Instant::now());
        }
    }
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
        let mut attempts = self.attempts();
        if attempts.underway.contains(name) {
            return Refusal::Later;
        }
        let no_room =
            || Refusal::Never(format!("stream {name} cannot be created: there are as many as may be"));
        if attempts.is_refused(name) {
            return no_room();
        }
        if self.engine.streams().len() + attempts.underway.len() >= STREAMS_MAX {
            attempts.refuse(name);
            return no_room();
        }
        attempts.underway.insert(name.clone());
        let (creation, name) = (Arc::clone(self), name.clone());
        self.runtime.spawn(async move {
            let created = creation.create(&name).await;
            let mut attempts = creation.attempts();
            if let Err(error) = created {
                tracing::warn!(stream = %name, %error, "stream not created");
                // Full, busy and failed pass or are told elsewhere.
                if matches!(error, StreamError::Shards { .. } | StreamError::Retention(_)) {
                    attempts.refuse(&name);
                }
            }
            attempts.underway.remove(&name);
        });
        Refusal::Later
    }

    /// What was refused under former settings may be asked for again.
    pub(super) fn forgive(&self) {
        self.attempts().refused.clear();
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
