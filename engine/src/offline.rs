//! The streams of an engine that does not run, for looking at.
//!
//! In: a journal that is looked at, the directory of wrapped keys, master keys. Out: streams with their shards; keys in the journal's
//! memory, or why not. Invariant: nothing is written: no key is wrapped anew, none is made, no change that a crash interrupted is
//! finished.
//! Not here: reading records (journal).

use crate::keys::{KeyFileError, KeySource, sealed_streams};
use crate::names::StreamNumber;
use crate::storage::{AppendError, BoxFuture, MetaError, MetaStore, Versioned};
use crate::stream::{Registry, StreamHandle};
use headwater_journal::{self as journal, Offline};
use std::path::Path;
use std::sync::Arc;

/// All streams that `journal` speaks of, in order of their names. A definition that cannot be read is named in the log.
#[must_use]
pub fn streams(journal: &Arc<Offline>, region: &str, account: &str) -> Vec<StreamHandle> {
    Registry::load(&ReadMeta(Arc::clone(journal)), region, account).list()
}

/// A key of a stream that records cannot be read with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedKey {
    /// The stream.
    pub stream: StreamNumber,
    /// Which of its keys.
    pub key: u16,
    /// Why, in the words of AWS KMS.
    pub reason: String,
}

/// Gives `journal` every key of the engine in `dir` that the master keys of `source` open; returns the others.
///
/// # Errors
/// [`KeyFileError`] when there is a file of master keys and it cannot be used, or the wrapped keys cannot be read.
pub fn learn_keys(
    journal: &Offline,
    dir: &Path,
    source: &KeySource,
    (region, account): (&str, &str),
) -> Result<Vec<ClosedKey>, KeyFileError> {
    let mut closed = Vec::new();
    for (stream, key, opened) in
        sealed_streams(source, &dir.join(crate::engine::KEYS_DIR), (region, account))?
    {
        match opened {
            Ok(secret) => journal.keys().set(stream.0, key, journal::StreamKey::new(secret.bytes())),
            Err(reason) => closed.push(ClosedKey { stream, key, reason }),
        }
    }
    Ok(closed)
}

/// Metadata that is not changed.
struct ReadMeta(Arc<Offline>);

fn versioned(value: journal::MetaValue) -> Versioned {
    Versioned { version: value.version, value: value.value }
}

fn refused<T: Send + 'static>() -> BoxFuture<'static, Result<T, MetaError>> {
    let error = AppendError::Failed("a journal that is looked at takes no change".into());
    Box::pin(std::future::ready(Err(error.into())))
}

impl MetaStore for ReadMeta {
    fn get(&self, key: &[u8]) -> Option<Versioned> {
        self.0.meta_get(key).map(versioned)
    }

    fn list(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Versioned)> {
        self.0.meta_list(prefix).into_iter().map(|(key, value)| (key, versioned(value))).collect()
    }

    fn put(&self, _: &[u8], _: &[u8], _: u64) -> BoxFuture<'static, Result<u64, MetaError>> {
        refused()
    }

    fn delete(&self, _: &[u8], _: u64) -> BoxFuture<'static, Result<(), MetaError>> {
        refused()
    }
}
