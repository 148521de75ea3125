//! From a batch to its commit: waits a moment where waiting helps.

use crate::batch::{Commit, EngineBatch};
use crate::engine::Engine;
use crate::limits;
use crate::storage::AppendError;

/// Stages a batch, waiting a moment for room.
pub(super) async fn stage(engine: &Engine, batch: &EngineBatch) -> Result<Commit, AppendError> {
    match engine.append(batch) {
        Err(AppendError::Busy) => {}
        outcome => return outcome,
    }
    resharded(engine, batch).await;
    let room = async {
        loop {
            // Everything staged becoming durable frees all room there is; if others took it again, so be it.
            if let Err(error) = engine.barrier().await {
                return Err(AppendError::Failed(error.reason));
            }
            match engine.append(batch) {
                // The next barrier may be there at once; without a pause this would spin, and never see its own timeout.
                Err(AppendError::Busy) => tokio::time::sleep(limits::BUSY_PAUSE).await,
                outcome => return outcome,
            }
        }
    };
    tokio::time::timeout(limits::BUSY_WAIT, room).await.unwrap_or(Err(AppendError::Busy))
}

/// Waits while streams of the batch are between the end of some shards and the beginning of others.
async fn resharded(engine: &Engine, batch: &EngineBatch) {
    for stream in batch.streams().into_iter().filter_map(|number| engine.0.registry.numbered(number)) {
        let mut changes = stream.changes();
        let over = changes.wait_for(|state| state.definition.reshard.is_none());
        // Whatever became of it, the append says.
        let _ = tokio::time::timeout(limits::RESHARD_WAIT, over).await;
    }
}
