//! Keys of streams: made, wrapped by master keys, kept, given to the log that seals with them, and destroyed.
//!
//! In: master keys from their file, changes of streams. Out: keys in the log, and why a stream's records cannot be sealed or
//! read, in the words of AWS KMS. Invariants:
//! - Before a definition says that records are sealed with a key, the wrapped key is durable; before the log seals with a key,
//!   that definition is durable. So a crash at any step leaves a stream wholly before or wholly after.
//! - While a stream's key cannot be unwrapped, nothing of it is written in the open, and other streams are not affected.
//! - When a stream's deletion is answered, no file and no variable holds a key of it.
//!
//! Not here: sealing itself (the log), what clients are told otherwise (operations).

mod change;
mod file;
mod lookup;
mod master;
mod offline;
mod secret;
#[cfg(test)]
mod tests;
mod vault;

pub use file::{CREDENTIAL_NAME, KeyFileError, KeySource, write_keys};
pub use master::{DEFAULT_ALIAS, KeyListError, KeyState, MasterKey, MasterKeys};

pub(crate) use change::{start, stop};
pub(crate) use offline::sealed_streams;

use crate::api::{ApiError, ErrorType};
use crate::definition::StreamStatus;
use crate::engine::Engine;
use crate::limits;
use crate::names::StreamNumber;
use crate::storage::{ReadError, ShardLog};
use crate::stream::StreamHandle;
use file::Stamp;
use lookup::Scope;
use secret::Secret;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use vault::{StoredKey, Vault};

/// Why a key cannot be used, with AWS's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyRefusal {
    /// There is no such master key.
    NotFound(String),
    /// It is disabled.
    Disabled(String),
    /// It is going to be removed.
    InvalidState(String),
    /// It does not open what it is said to have wrapped, or that is gone.
    AccessDenied(String),
}

impl From<KeyRefusal> for ApiError {
    fn from(refusal: KeyRefusal) -> Self {
        let (error, message) = match refusal {
            KeyRefusal::NotFound(message) => (ErrorType::KmsNotFound, message),
            KeyRefusal::Disabled(message) => (ErrorType::KmsDisabled, message),
            KeyRefusal::InvalidState(message) => (ErrorType::KmsInvalidState, message),
            KeyRefusal::AccessDenied(message) => (ErrorType::KmsAccessDenied, message),
        };
        ApiError::new(error, message)
    }
}

/// The keys of an engine.
pub(crate) struct Keys {
    source: KeySource,
    vault: Option<Arc<Vault>>,
    region: Box<str>,
    account: Box<str>,
    /// One change of keys at a time. Taken before the lock on changes of streams, never after it.
    changing: tokio::sync::Mutex<()>,
    state: RwLock<State>,
    /// Whether any stream has a key: what spares all others the lock.
    any: AtomicBool,
    /// When the file of master keys was last looked at.
    looked_ms: AtomicU64,
}

#[derive(Default)]
struct State {
    masters: MasterKeys,
    stamp: Option<Stamp>,
    streams: BTreeMap<StreamNumber, StreamKeys>,
}

/// The keys of one stream.
#[derive(Default)]
struct StreamKeys {
    /// What new records are sealed with.
    sealing: Option<u16>,
    /// All keys, wrapped.
    stored: BTreeMap<u16, StoredKey>,
    /// Keys that the log does not have, with the reason.
    refused: BTreeMap<u16, KeyRefusal>,
}

impl Keys {
    /// An engine without keys.
    pub(crate) fn none(region: &str, account: &str) -> Keys {
        Keys {
            source: KeySource::None,
            vault: None,
            region: region.into(),
            account: account.into(),
            changing: tokio::sync::Mutex::new(()),
            state: RwLock::default(),
            any: AtomicBool::new(false),
            looked_ms: AtomicU64::new(0),
        }
    }

    /// The keys kept in `dir`, opened by master keys from `source`.
    ///
    /// # Errors
    /// [`KeyFileError`] when there are master keys that must not or cannot be used, or the directory cannot be read. Missing
    /// ones are no error: their streams are refused.
    pub(crate) fn open(
        source: KeySource,
        dir: &Path,
        (region, account): (&str, &str),
        now_ms: u64,
    ) -> Result<Keys, KeyFileError> {
        source.ensure(now_ms)?;
        let stamp = source.stamp();
        let masters = source.read()?;
        let vault = Vault::new(dir.to_owned());
        let stored = vault.list().map_err(|source| KeyFileError::Io { path: dir.into(), source })?;
        let mut streams: BTreeMap<StreamNumber, StreamKeys> = BTreeMap::new();
        for key in stored {
            streams.entry(key.stream).or_default().stored.insert(key.key, key);
        }
        let keys = Keys { source, vault: Some(Arc::new(vault)), ..Keys::none(region, account) };
        keys.any.store(!streams.is_empty(), Ordering::Release);
        *keys.write() = State { masters, stamp, streams };
        Ok(keys)
    }

    /// After a start, before anything is served: gives the log every key that can be unwrapped and says what is sealed.
    pub(crate) fn unlock(&self, log: &dyn ShardLog, streams: &[StreamHandle]) {
        let mut state = self.write();
        let State { masters, streams: known, .. } = &mut *state;
        for stream in streams {
            let definition = stream.state().definition.clone();
            if definition.status == StreamStatus::Deleting {
                self.erase(stream, known);
                continue;
            }
            let encryption = definition.settings.encryption;
            if encryption.is_none() && !known.contains_key(&stream.number()) {
                continue;
            }
            let keys = known.entry(stream.number()).or_default();
            keys.sealing = encryption.map(|encryption| encryption.key);
            // Before the keys: a stream whose key is not known must not be written in the open.
            log.encrypt_with(stream.number(), keys.sealing);
            if let Some(key) = keys.sealing.filter(|key| !keys.stored.contains_key(key)) {
                let message = format!("The key of stream {} is not on this disk.", stream.name());
                tracing::error!(stream = %stream.name(), key, "the key of a stream is missing");
                keys.refused.insert(key, KeyRefusal::AccessDenied(message));
            }
            for stored in keys.stored.values_mut() {
                match self.unwrap(masters, stored) {
                    Ok(secret) => {
                        log.learn_key(stored.stream, stored.key, secret.bytes());
                        self.wrap_anew(masters, stored, &secret);
                    }
                    Err(refusal) => {
                        let (name, key) = (stream.name(), stored.key);
                        tracing::error!(stream = %name, key, ?refusal, "records of a stream cannot be unsealed");
                        keys.refused.insert(key, refusal);
                    }
                }
            }
        }
        self.any.store(!known.is_empty(), Ordering::Release);
    }

    /// The stream is being deleted: a crash may have come between the state and the end of the keys.
    fn erase(&self, stream: &StreamHandle, known: &mut BTreeMap<StreamNumber, StreamKeys>) {
        known.remove(&stream.number());
        let erased = self.vault.as_ref().map(|vault| vault.forget(stream.number()));
        if let Some(Err(error)) = erased {
            // Tried again when the stream is removed.
            tracing::error!(stream = %stream.name(), %error, "a key of a deleted stream may still be on the disk");
        }
    }

    /// Whether records put into the stream now are sealed.
    pub(crate) fn is_sealing(&self, stream: StreamNumber) -> bool {
        self.any.load(Ordering::Acquire)
            && self.read().streams.get(&stream).is_some_and(|keys| keys.sealing.is_some())
    }

    /// Why the log does not have a key of the stream: `key`, or the one that seals.
    pub(crate) fn refusal(&self, stream: StreamNumber, key: Option<u16>) -> KeyRefusal {
        let state = self.read();
        let keys = state.streams.get(&stream);
        let refused = keys.and_then(|keys| keys.refused.get(&key.or(keys.sealing)?));
        refused.cloned().unwrap_or_else(|| {
            KeyRefusal::AccessDenied("The ciphertext references a key that doesn't exist.".into())
        })
    }

    /// What a failed read is answered with: by KMS when a key is missing.
    pub(crate) fn unreadable(&self, error: ReadError) -> ApiError {
        match error.key {
            Some(key) => self.refusal(error.shard.stream, Some(key)).into(),
            None => error.into(),
        }
    }

    /// Looks whether the master keys have changed, at most once in [`limits::KEY_FILE_LOOK_MS`] and only while streams have
    /// keys. A file that cannot be used changes nothing and is named in the log.
    pub(crate) fn look(&self, engine: &Engine) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let now_ms = engine.0.clock.now_ms();
        let looked_ms = self.looked_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(looked_ms) < limits::KEY_FILE_LOOK_MS && now_ms >= looked_ms {
            return;
        }
        self.looked_ms.store(now_ms, Ordering::Relaxed);
        self.reload(&*engine.0.log);
    }

    /// Takes the master keys as they are now.
    fn reload(&self, log: &dyn ShardLog) {
        let stamp = self.source.stamp();
        let mut state = self.write();
        if stamp == state.stamp {
            return;
        }
        state.stamp = stamp;
        match self.source.read() {
            Ok(masters) => state.masters = masters,
            Err(error) => return tracing::error!(%error, "master keys stay as they were"),
        }
        tracing::info!(keys = state.masters.keys().len(), "master keys read again");
        let State { masters, streams, .. } = &mut *state;
        for (&stream, keys) in streams {
            let mut refused = BTreeMap::new();
            let mut usable = Vec::new();
            for stored in keys.stored.values_mut() {
                match self.unwrap(masters, stored) {
                    Ok(secret) => usable.push((stored, secret)),
                    Err(refusal) => drop(refused.insert(stored.key, refusal)),
                }
            }
            if refused.keys().any(|key| !keys.refused.contains_key(key)) {
                log.forget_keys(stream);
            }
            for (stored, secret) in usable {
                log.learn_key(stream, stored.key, secret.bytes());
                self.wrap_anew(masters, stored, &secret);
            }
            keys.refused = refused;
        }
    }

    fn scope(&self) -> Scope<'_> {
        Scope { region: &self.region, account: &self.account }
    }

    fn unwrap(&self, masters: &MasterKeys, stored: &StoredKey) -> Result<Secret, KeyRefusal> {
        let master = masters.usable(&stored.master, &self.scope())?;
        let purpose = StoredKey::purpose(stored.stream, stored.key, &stored.master, stored.version);
        let opened =
            master.secret(stored.version).and_then(|secret| secret.unwrap(&stored.wrapped, &purpose));
        opened.ok_or_else(|| {
            KeyRefusal::AccessDenied(
                "The ciphertext references a key that doesn't exist or that you don't have access to.".into(),
            )
        })
    }

    /// Wraps a key with the newest secret of its master key. What fails is tried again by the next start: the old wrapping
    /// still opens.
    fn wrap_anew(&self, masters: &MasterKeys, stored: &mut StoredKey, secret: &Secret) {
        let Ok(master) = masters.usable(&stored.master, &self.scope()) else { return };
        let (Some(vault), Some((version, newest))) = (&self.vault, master.newest()) else { return };
        if version == stored.version {
            return;
        }
        let purpose = StoredKey::purpose(stored.stream, stored.key, &stored.master, version);
        let Some(wrapped) = newest.wrap(secret, &purpose) else { return };
        let anew = StoredKey { version, wrapped, ..stored.clone() };
        match vault.put(&anew) {
            Ok(()) => *stored = anew,
            Err(error) => tracing::warn!(%error, "a key was not wrapped anew"),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
