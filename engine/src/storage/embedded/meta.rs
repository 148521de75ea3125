//! Metadata on the journal's stream 0.

use super::commits::Commits;
use super::{EmbeddedLog, refusal};
use crate::storage::{BoxFuture, MetaError, MetaStore, Versioned};
use headwater_journal::{self as journal, FileStorage, Journal, Storage};
use std::sync::Arc;

/// A [`MetaStore`] on the journal of an [`EmbeddedLog`].
pub struct EmbeddedMeta<S: Storage = FileStorage> {
    journal: Journal<S>,
    commits: Arc<Commits>,
}

impl<S: Storage> EmbeddedMeta<S> {
    /// The metadata in the journal of `log`.
    #[must_use]
    pub fn new(log: &EmbeddedLog<S>) -> Self {
        EmbeddedMeta { journal: log.journal.clone(), commits: Arc::clone(&log.commits) }
    }

    fn change(&self, change: impl FnOnce(&mut journal::AppendSet)) -> Result<journal::Ticket, MetaError> {
        let mut set = journal::AppendSet::default();
        change(&mut set);
        // Metadata has no arrival time. It changes with operations on streams alone, which are few and take several commits each.
        match self.journal.append_at_once(&set, 0) {
            Ok(appended) => Ok(appended.ticket),
            Err(journal::AppendError::Conflict { found, expected, .. }) => {
                Err(MetaError::Conflict { found, expected })
            }
            Err(error) => Err(refusal(error).into()),
        }
    }
}

fn versioned(value: journal::MetaValue) -> Versioned {
    Versioned { version: value.version, value: value.value }
}

impl<S: Storage> MetaStore for EmbeddedMeta<S> {
    fn get(&self, key: &[u8]) -> Option<Versioned> {
        self.journal.meta_get(key).map(versioned)
    }

    fn list(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Versioned)> {
        let found = self.journal.meta_list(prefix);
        found.into_iter().map(|(key, value)| (key, versioned(value))).collect()
    }

    fn put(&self, key: &[u8], value: &[u8], expect: u64) -> BoxFuture<'static, Result<u64, MetaError>> {
        let staged = self.change(|set| set.put(key, value, Some(expect)));
        let (journal, commits, key) = (self.journal.clone(), Arc::clone(&self.commits), key.to_vec());
        Box::pin(async move {
            commits.durable(staged?.0, Vec::new()).await?;
            Ok(journal.meta_get(&key).map_or(0, |value| value.version))
        })
    }

    fn delete(&self, key: &[u8], expect: u64) -> BoxFuture<'static, Result<(), MetaError>> {
        let staged = self.change(|set| set.delete(key, Some(expect)));
        let commits = Arc::clone(&self.commits);
        Box::pin(async move {
            commits.durable(staged?.0, Vec::new()).await?;
            Ok(())
        })
    }
}
