//! From a batch to its commit: waits a moment where waiting helps.

use crate::batch::{Commit, EngineBatch};
use crate::engine::Engine;
use crate::limits;
use crate::storage::AppendError;
use std::time::Duration;

impl Engine {
    /// As [`append`](Self::append), but waits for room as long as `patience`: while more is staged than may be, or the next segment's
    /// file is still being made, each a matter of milliseconds on a disk that keeps up. A reshard of its streams, up to
    /// [`limits::RESHARD_WAIT`], is waited for besides.
    ///
    /// Dropped before it resolves, it has staged nothing.
    ///
    /// # Errors
    /// [`AppendError`]; nothing of the batch is staged then. [`AppendError::Busy`] when there was no room in all that time.
    pub async fn append_within(
        &self,
        batch: &EngineBatch,
        patience: Duration,
    ) -> Result<Commit, AppendError> {
        match self.append(batch) {
            Err(AppendError::Busy) => {}
            outcome => return outcome,
        }
        self.resharded(batch).await;
        let room = async {
            loop {
                // Everything staged becoming durable frees all room there is; if others took it again, so be it.
                if let Err(error) = self.barrier().await {
                    return Err(AppendError::Failed(error.reason));
                }
                match self.append(batch) {
                    // The next barrier may be there at once; without a pause this would spin, and never see its own timeout.
                    Err(AppendError::Busy) => tokio::time::sleep(limits::BUSY_PAUSE).await,
                    outcome => return outcome,
                }
            }
        };
        tokio::time::timeout(patience, room).await.unwrap_or(Err(AppendError::Busy))
    }

    /// Waits while streams of the batch are between the end of some shards and the beginning of others.
    async fn resharded(&self, batch: &EngineBatch) {
        for stream in batch.streams().into_iter().filter_map(|number| self.0.registry.numbered(number)) {
            let mut changes = stream.changes();
            let over = changes.wait_for(|state| state.definition.reshard.is_none());
            // Whatever became of it, the append says.
            let _ = tokio::time::timeout(limits::RESHARD_WAIT, over).await;
        }
    }
}
