//! The stream for records that a target will never take.

use headwater_engine::{Engine, StreamError, StreamHandle, StreamName};
use std::sync::{Arc, Mutex, PoisonError};

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Letters {
    engine: Engine,
    name: Arc<Mutex<StreamName>>,
}

impl Letters {
    pub(super) fn new(engine: Engine, name: StreamName) -> Self {
        Self { engine, name: Arc::new(Mutex::new(name)) }
    }

    /// Letters that are written from now on go there.
    pub(super) fn rename(&self, name: StreamName) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// Whether this is the stream: what is in it need not be written down there once more.
    pub(super) fn is(&self, stream: &StreamHandle) -> bool {
        *stream.name() == *self.name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream; made when it is not there.
    pub(super) async fn stream(&self) -> Result<StreamHandle, StreamError> {
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.engine.ensure_stream(&name, 1).await
    }
}
