//! The target stream as a sink has to know it: how large its records may be, and who takes which keys.

use headwater_aws::{
    CallError, Class, Kinesis, NewStream, PutAnswer, RecordOutcome, StreamRef, StreamStatus, Thing,
};
use headwater_relay::{CallFailure, SendOutcome, TargetId, TargetShard};
use std::time::Duration;

/// A target stream at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) record_bytes_max: u64,
    pub(super) shards: Vec<TargetShard>,
}

/// How long a stream that was just made may take to take records.
const CREATE_WITHIN: Duration = Duration::from_secs(120);

/// Asks what the target is like. `create`: where there is none, one with so many shards is made.
pub(super) async fn look(
    client: &Kinesis,
    stream: &StreamRef,
    create: Option<u32>,
) -> Result<Target, CallError> {
    let info = match (client.describe(stream).await, create) {
        (Err(error), Some(shards)) if error.class == Class::Final(Thing::Stream) => {
            client
                .create_stream(stream.as_str(), NewStream { shards: Some(shards), record_kib_max: None })
                .await?;
            tracing::info!(
                stream = stream.as_str(),
                shards,
                endpoint = client.endpoint(),
                "target stream made"
            );
            client.wait_until_active(stream, CREATE_WITHIN).await?
        }
        (described, _) => described?,
    };
    let map = client.list_shards(stream).await?;
    // While a stream changes its shards it may show keys that nobody takes; what has them waits for the next look.
    let is_ready = matches!(info.status, StreamStatus::Active | StreamStatus::Updating);
    let shards = map.open().filter(|_| is_ready).filter_map(|shard| {
        let id = TargetId(u32::try_from(shard.id.number()).ok()?);
        Some(TargetShard { id, first: *shard.range.start(), last: *shard.range.end() })
    });
    Ok(Target { record_bytes_max: info.record_bytes_max as u64, shards: shards.collect() })
}

/// What an answer means for each record.
pub(super) fn outcomes_of(answer: &PutAnswer) -> Vec<SendOutcome> {
    let outcome = |outcome: &RecordOutcome| match outcome {
        RecordOutcome::Stored { .. } => SendOutcome::Acked,
        RecordOutcome::Failed { class: Class::Final(Thing::Request), .. } => SendOutcome::Rejected,
        // Too much at once, or something that is not the record's fault and that somebody has to mend: a key, a permission.
        RecordOutcome::Failed { class: Class::Throttled | Class::Final(_), .. } => {
            SendOutcome::Retry { is_throttled: true }
        }
        RecordOutcome::Failed { .. } => SendOutcome::Retry { is_throttled: false },
    };
    answer.outcomes.iter().map(outcome).collect()
}

/// What a call that failed as a whole means for its records: only what is in them can be their fault.
pub(super) fn failure_of(error: &CallError) -> CallFailure {
    match error.class {
        Class::Final(Thing::Request) => CallFailure::Refused,
        _ => CallFailure::Unknown,
    }
}

/// Whether the target should be looked at again after this.
pub(super) fn is_stale(error: &CallError) -> bool {
    error.class == Class::Final(Thing::Stream)
}
