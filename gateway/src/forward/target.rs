//! The target stream as a sink has to know it: how large its records may be, and who takes which keys.

use super::carrier::Tools;
use headwater_aws::{
    CallError, Class, Kinesis, NewStream, PutAnswer, RecordOutcome, StreamInfo, StreamRef, StreamStatus,
    Thing, Timestamp,
};
use headwater_engine::{StreamHandle, StreamState};
use headwater_relay::{Call, CallFailure, Entry, SendOutcome, TargetId, TargetShard};
use std::sync::Arc;
use std::time::Duration;

/// A target stream at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) record_bytes_max: u64,
    pub(super) shards: Vec<TargetShard>,
    /// Every key has a shard: not so while a stream changes its shards.
    pub(super) is_complete: bool,
}

/// How long a stream that was just made may take to take records.
const CREATE_WITHIN: Duration = Duration::from_secs(120);

/// What a look at a target has to know.
#[derive(Debug)]
pub(super) struct Seeking {
    /// The stream whose target it is.
    pub(super) ours: Arc<StreamState>,
    /// Where there is none, one with as many shards is made.
    pub(super) is_made: bool,
    /// Streams of two engines are not made in the same millisecond: not so where somebody else's clock is everybody's.
    pub(super) has_own_time: bool,
}

impl Seeking {
    pub(super) fn of(tools: &Tools, stream: &StreamHandle) -> Self {
        let has_own_time = tools.surroundings.transport.is_none();
        Self { ours: stream.state(), is_made: tools.settings.create, has_own_time }
    }
}

/// Asks what the target is like.
pub(super) async fn look(
    client: &Kinesis,
    stream: &StreamRef,
    seeking: &Seeking,
) -> Result<Target, CallError> {
    let Seeking { ours, is_made, has_own_time } = seeking;
    let create = is_made.then(|| u32::try_from(ours.shards.open_count()).unwrap_or(u32::MAX));
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
    if *has_own_time && is_ours(&info, ours) {
        return Err(loops(client, stream));
    }
    let map = client.list_shards(stream).await?;
    // While a stream changes its shards it may show keys that nobody takes; what has them waits for the next look.
    let is_ready = matches!(info.status, StreamStatus::Active | StreamStatus::Updating);
    let shards = map.open().filter(|_| is_ready).filter_map(|shard| {
        let id = TargetId(u32::try_from(shard.id.number()).ok()?);
        Some(TargetShard { id, first: *shard.range.start(), last: *shard.range.end() })
    });
    let is_complete = is_ready && map.is_complete();
    Ok(Target { record_bytes_max: info.record_bytes_max as u64, shards: shards.collect(), is_complete })
}

/// Whether the target is the very stream it is the target of: by the moment it was made and its name, whatever way leads there.
fn is_ours(info: &StreamInfo, ours: &StreamState) -> bool {
    let made_ms = info.created.map(Timestamp::ms);
    made_ms == Some(ours.definition.created_ms) && info.name == ours.definition.name.as_str()
}

fn loops(client: &Kinesis, stream: &StreamRef) -> CallError {
    CallError {
        operation: "PutRecords",
        subject: stream.as_str().into(),
        endpoint: client.endpoint().into(),
        class: Class::Final(Thing::Stream),
        code: Box::default(),
        message: "it is the stream that the records come from, where they would go round for ever".into(),
        status: None,
        request_id: None,
        may_be_done: false,
        cause: None,
    }
}

/// What an answer means for each entry of its call.
pub(super) fn outcomes_of(call: &Call, answer: &PutAnswer) -> Vec<SendOutcome> {
    let outcome = |(entry, outcome): (&Entry, &RecordOutcome)| match outcome {
        // Records of an aggregate that is in another shard than it was packed for may have keys of a third, and readers leave those out:
        // they are packed anew for the shards there are now. What was in its place arrives twice, with the same identity.
        RecordOutcome::Stored { .. } if entry.records.len() > 1 && is_elsewhere(entry, outcome) => {
            SendOutcome::Retry { is_throttled: true }
        }
        RecordOutcome::Stored { .. } => SendOutcome::Acked,
        RecordOutcome::Failed { class: Class::Final(Thing::Request), .. } => SendOutcome::Rejected,
        // Too much at once, or something that is not the record's fault and that somebody has to mend: a key, a permission.
        RecordOutcome::Failed { class: Class::Throttled | Class::Final(_), .. } => {
            SendOutcome::Retry { is_throttled: true }
        }
        RecordOutcome::Failed { .. } => SendOutcome::Retry { is_throttled: false },
    };
    call.entries.iter().zip(&answer.outcomes).map(outcome).collect()
}

/// Why an answer takes none of its records, where that is more than too much at once: a disk that is full, a key that is gone.
pub(super) fn refusal_of_all(answer: &PutAnswer) -> Option<String> {
    let refusal = |outcome: &RecordOutcome| match outcome {
        RecordOutcome::Failed { class, code, message } if *class != Class::Throttled => {
            Some(format!("{code}: {message}"))
        }
        _ => None,
    };
    let refusals: Option<Vec<String>> = answer.outcomes.iter().map(refusal).collect();
    refusals?.into_iter().next()
}

/// Whether an entry was stored in another shard than it was meant for, so that the map is old.
pub(super) fn is_elsewhere(entry: &Entry, outcome: &RecordOutcome) -> bool {
    matches!(outcome, RecordOutcome::Stored { shard, .. } if shard.number() != u64::from(entry.target.0))
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
