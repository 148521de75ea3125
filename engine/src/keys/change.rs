//! Streams begin and end to be sealed, and their keys are destroyed.
//!
//! Each change runs to its end even when its caller goes away: half a change would leave log and definition apart.

use super::secret::Secret;
use super::vault::{StoredKey, Vault};
use super::{KeyRefusal, Keys};
use crate::api::{ApiError, ErrorType};
use crate::batch::Commit;
use crate::control::detached;
use crate::engine::Engine;
use crate::limits;
use crate::names::StreamNumber;
use crate::settings::Encryption;
use crate::storage::CommitError;
use crate::stream::StreamHandle;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Seals what is put into `stream` from now on with a new key, wrapped by the master key that `named` means.
///
/// # Errors
/// The KMS errors for master keys that cannot be used, `LimitExceededException`, `ResourceInUseException`.
pub(crate) async fn start(engine: &Engine, stream: &StreamHandle, named: &str) -> Result<(), ApiError> {
    let (engine, stream, named) = (engine.clone(), stream.clone(), named.to_owned());
    detached(async move { start_now(&engine, &stream, named).await }).await
}

/// Leaves what is put into `stream` from now on in the open. What is sealed stays sealed and readable.
///
/// # Errors
/// `LimitExceededException`, `ResourceInUseException`.
pub(crate) async fn stop(engine: &Engine, stream: &StreamHandle) -> Result<(), ApiError> {
    let (engine, stream) = (engine.clone(), stream.clone());
    detached(async move { stop_now(&engine, &stream).await }).await
}

fn unfinished(error: &impl ToString) -> ApiError {
    CommitError { reason: error.to_string() }.into()
}

async fn start_now(engine: &Engine, stream: &StreamHandle, named: String) -> Result<(), ApiError> {
    let keys = &engine.0.keys;
    let _one_at_a_time = keys.changing.lock().await;
    keys.reload(&*engine.0.log);
    let settings = stream.state().definition.settings.clone();
    let now_ms = engine.0.clock.now_ms();
    check_count(engine, stream, settings.key_changes.within_a_day(now_ms))?;
    let number = settings.newest_key.checked_add(1).ok_or_else(|| limit_exceeded(stream, u16::MAX.into()))?;
    let (vault, stored, secret) = keys.make(stream.number(), number, &named)?;
    // Durable before anything says that it is used. A crash from here on leaves a key that nothing was sealed with, which
    // the next one of this number replaces.
    let durable = tokio::task::spawn_blocking({
        let (vault, stored) = (Arc::clone(&vault), stored.clone());
        move || vault.put(&stored)
    });
    durable.await.map_err(|error| unfinished(&error))?.map_err(|error| unfinished(&error))?;
    engine.0.log.learn_key(stream.number(), number, secret.bytes());
    drop(secret);
    let changed = engine.update::<ApiError>(stream.name(), move |definition| {
        definition.settings.encryption = Some(Encryption { key_id: named, key: number });
        definition.settings.newest_key = number;
        definition.settings.key_changes.add(now_ms);
        Ok(())
    });
    let changed = changed.await;
    if changed.is_ok() {
        engine.0.log.encrypt_with(stream.number(), Some(number));
        // Shown after it is so: whoever puts records reads it before and after.
        keys.show(stream.number(), stored);
    }
    // Deleted meanwhile: the deletion may have come before the key.
    if engine
        .stream(stream.name())
        .is_none_or(|now| now != *stream || !now.state().definition.status.is_usable())
    {
        keys.forget(engine, stream.number()).await.map_err(|error| unfinished(&error))?;
    }
    changed?;
    Ok(Commit::barrier(engine.0.log.barrier_at_once()).await?)
}

async fn stop_now(engine: &Engine, stream: &StreamHandle) -> Result<(), ApiError> {
    let keys = &engine.0.keys;
    let _one_at_a_time = keys.changing.lock().await;
    let settings = stream.state().definition.settings.clone();
    if settings.encryption.is_none() {
        return Ok(());
    }
    let now_ms = engine.0.clock.now_ms();
    check_count(engine, stream, settings.stop_changes.within_a_day(now_ms))?;
    engine
        .update::<ApiError>(stream.name(), move |definition| {
            definition.settings.encryption = None;
            definition.settings.stop_changes.add(now_ms);
            Ok(())
        })
        .await?;
    if let Some(keys) = keys.write().streams.get_mut(&stream.number()) {
        keys.sealing = None;
    }
    engine.0.log.encrypt_with(stream.number(), None);
    Ok(Commit::barrier(engine.0.log.barrier_at_once()).await?)
}

fn check_count(engine: &Engine, stream: &StreamHandle, changes: usize) -> Result<(), ApiError> {
    if engine.0.throttle.is_some() && changes >= limits::KEY_CHANGES_A_DAY_MAX {
        return Err(limit_exceeded(stream, changes));
    }
    Ok(())
}

fn limit_exceeded(stream: &StreamHandle, changes: usize) -> ApiError {
    let name = stream.name();
    ApiError::new(
        ErrorType::LimitExceeded,
        format!(
            "The encryption of stream {name} was changed {changes} times within the last 24 hours, which is the limit."
        ),
    )
}

impl Keys {
    /// A new key of a stream and what of it is kept.
    fn make(
        &self,
        stream: StreamNumber,
        key: u16,
        named: &str,
    ) -> Result<(Arc<Vault>, StoredKey, Secret), KeyRefusal> {
        let state = self.read();
        let master = state.masters.find(named, &self.scope())?;
        let random = || KeyRefusal::InvalidState("The operating system gives no random bytes.".into());
        let (version, wrapper) = master.newest().ok_or_else(random)?;
        let vault =
            self.vault.clone().ok_or_else(|| KeyRefusal::NotFound(format!("Invalid keyId '{named}'")))?;
        let secret = Secret::random().ok_or_else(random)?;
        let purpose = StoredKey::purpose(stream, key, master.id(), version);
        let wrapped = wrapper.wrap(&secret, &purpose).ok_or_else(random)?;
        let stored = StoredKey { stream, key, master: master.id().into(), version, wrapped };
        Ok((vault, stored, secret))
    }

    /// From now on the stream is said to be sealed with this key.
    fn show(&self, stream: StreamNumber, stored: StoredKey) {
        let mut state = self.write();
        let keys = state.streams.entry(stream).or_default();
        keys.sealing = Some(stored.key);
        keys.refused.remove(&stored.key);
        keys.stored.insert(stored.key, stored);
        self.any.store(true, Ordering::Release);
    }

    /// Destroys all keys of a stream that is deleted: in memory, in the log and on the disk. Once this returns nothing can
    /// read what it held sealed, not even with the master key.
    ///
    /// # Errors
    /// When a key may still be on the disk; a start tries again.
    pub(crate) async fn forget(&self, engine: &Engine, stream: StreamNumber) -> Result<(), CommitError> {
        self.write().streams.remove(&stream);
        engine.0.log.forget_keys(stream);
        let Some(vault) = self.vault.clone() else { return Ok(()) };
        let erased = tokio::task::spawn_blocking(move || vault.forget(stream)).await;
        let failed = |reason: String| CommitError { reason: format!("erasing a key: {reason}") };
        erased.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }
}
