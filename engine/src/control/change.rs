//! Changes of a stream's definition that leave its shards alone.

use super::{Effect, StreamError, detached, settled, show, store};
use crate::definition::{Definition, StreamStatus};
use crate::engine::Engine;
use crate::limits;
use crate::names::StreamName;

impl Engine {
    /// Sets how long records of a stream can be read, 24 to 8,760 hours. Durable when this returns. What had expired
    /// before stays expired.
    ///
    /// # Errors
    /// [`StreamError::NotFound`], [`StreamError::Retention`], or what the metadata store says.
    pub async fn set_retention(&self, name: &StreamName, hours: u32) -> Result<(), StreamError> {
        if !(limits::RETENTION_HOURS_DEFAULT..=limits::RETENTION_HOURS_MAX).contains(&hours) {
            return Err(StreamError::Retention(hours));
        }
        let asked = self.clone();
        self.change(name, move |definition| {
            definition.readable_from_ms = asked.horizon_ms(definition);
            definition.retention_hours = hours;
            Ok(())
        })
        .await
    }

    /// Changes the definition of a stream that is in use, without a change of its state: for what AWS does at once, such as
    /// tags. `change` may refuse; it is called once.
    pub(crate) async fn change<E: From<StreamError> + Send + 'static>(
        &self,
        name: &StreamName,
        change: impl FnOnce(&mut Definition) -> Result<(), E> + Send + 'static,
    ) -> Result<(), E> {
        let (engine, name) = (self.clone(), name.clone());
        detached(async move {
            let control = engine.0.control.lock().await;
            let stream = settled(&engine, &name, &control).await?;
            let mut definition = stream.state().definition.clone();
            change(&mut definition)?;
            store(&engine, &stream, definition, None).await?;
            Ok(())
        })
        .await
    }

    /// Changes the definition of a stream that is ACTIVE and shows it as UPDATING for the time of
    /// [`crate::EngineConfig::transition`]: for what AWS does behind the caller's back, such as encryption. The change itself
    /// is durable and in force when this returns. `change` may refuse; it is called once.
    ///
    /// # Errors
    /// [`StreamError::NotActive`] (`ResourceInUseException`) in any other state, or what `change` says.
    pub(crate) async fn update<E: From<StreamError> + Send + 'static>(
        &self,
        name: &StreamName,
        change: impl FnOnce(&mut Definition) -> Result<(), E> + Send + 'static,
    ) -> Result<(), E> {
        let (engine, name) = (self.clone(), name.clone());
        detached(async move {
            let control = engine.0.control.lock().await;
            let stream = settled(&engine, &name, &control).await?;
            super::active(&stream)?;
            let mut definition = stream.state().definition.clone();
            change(&mut definition)?;
            definition.until_ms = Effect::Shown.until(&engine);
            if definition.until_ms.is_some() {
                definition.status = StreamStatus::Updating;
            }
            store(&engine, &stream, definition, None).await?;
            show(&engine, &stream);
            Ok(())
        })
        .await
    }
}
