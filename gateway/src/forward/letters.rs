//! The stream for records that a target will never take.

use headwater_engine::{Engine, StreamError, StreamHandle, StreamName};

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Letters {
    engine: Engine,
    name: StreamName,
}

impl Letters {
    pub(super) fn new(engine: Engine, name: StreamName) -> Self {
        Self { engine, name }
    }

    /// The stream; made when it is not there.
    pub(super) async fn stream(&self) -> Result<StreamHandle, StreamError> {
        self.engine.ensure_stream(&self.name, 1).await
    }
}
