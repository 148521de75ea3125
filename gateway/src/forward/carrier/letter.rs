//! What is written down of a record that a target will never take.
//!
//! In: the record and the reason. Out: a key and JSON, smaller than a record may be. Not here: where it is put (`letters`).

use super::Tools;
use super::sources::Sources;
use crate::forward::kept::Payload;
use crate::forward::limits;
use headwater_engine::storage::Position;
use headwater_engine::{ShardId, StreamHandle};
use headwater_relay::{DeadLetter, DeadReason};

/// The dead letter of a record: its key, and JSON.
pub(super) fn letter(
    tools: &Tools,
    stream: &StreamHandle,
    shard: ShardId,
    dead: &DeadLetter,
    payload: &Payload,
) -> (String, Vec<u8>) {
    let reason = match dead.reason {
        DeadReason::Rejected => "the target refuses it".to_owned(),
        DeadReason::Failed { tries } => format!("the target failed to take it {tries} times"),
        DeadReason::TooLarge { size_bytes, bytes_max } => {
            format!("key and data have {size_bytes} bytes, the target takes at most {bytes_max}")
        }
    };
    let position = Position { position: dead.record.offset.0, index: 0 };
    let number = Sources::named(stream, shard)
        .map(|shard| tools.engine.number_of(stream, &shard, position).to_string());
    let kept = &payload.data()[..payload.data().len().min(limits::LETTER_PAYLOAD_BYTES_MAX)];
    tracing::error!(
        sink = tools.settings.name, stream = %stream.name(), %shard, position = position.position, reason,
        "record becomes a dead letter"
    );
    let letter = serde_json::json!({
        "kind": "dead_letter",
        "sink": tools.settings.name,
        "stream": stream.name().as_str(),
        "shard": shard.to_string(),
        "sequence_number": number,
        "partition_key": payload.key(),
        "arrived_ms": payload.arrival_ms,
        "reason": reason,
        "size_bytes": payload.data().len(),
        "truncated": kept.len() < payload.data().len(),
        "payload": base64_simd::STANDARD.encode_to_string(kept),
    });
    (payload.key().to_owned(), letter.to_string().into_bytes())
}
