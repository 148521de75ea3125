//! What one call of the router works with, and gives back for the next.

use super::plan::Plan;
use crate::route::creation::Creation;
use crate::route::take::{Refusal, Shelf};
use headwater_engine::{EngineBatch, PutError, StreamName};
use std::sync::Arc;

/// Memory that calls use again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) batch: EngineBatch,
    pub(super) text: String,
}

/// Memory that no call uses, and the plan that the next one goes by.
pub(super) struct Idle {
    pub(super) spares: Vec<Scratch>,
    pub(super) plan: Arc<Plan>,
}

impl Idle {
    pub(super) fn new(plan: Plan) -> Idle {
        Idle { spares: Vec::new(), plan: Arc::new(plan) }
    }

    /// What a call needs. It goes by one plan to its end, whatever is set meanwhile.
    pub(super) fn take(&mut self) -> (Scratch, Arc<Plan>) {
        (self.spares.pop().unwrap_or_default(), Arc::clone(&self.plan))
    }
}

pub(super) struct EngineShelf<'a> {
    pub(super) batch: &'a mut EngineBatch,
    pub(super) creation: &'a Arc<Creation>,
}

impl Shelf for EngineShelf<'_> {
    fn put(&mut self, stream: &StreamName, key: &str, data: &[u8]) -> Result<(), Refusal> {
        let Some(handle) = self.creation.engine.stream(stream) else {
            return Err(self.creation.ask_for(stream));
        };
        self.batch.put(&handle, key, None, data).map_err(|error| match error {
            PutError::Unusable(_) => Refusal::Later,
            error @ (PutError::Key(_) | PutError::TooLarge { .. }) => Refusal::Never(error.to_string()),
        })
    }

    fn mark(&mut self, key: &[u8], value: &[u8]) {
        self.batch.mark(key, value);
    }
}
