//! UpdateMaxRecordSize: how large a record with its key may be. What is stored already stays as it is.
//!
//! Where AWS is silent: without `StreamARN`, which the model does not require and without which there is no stream, the answer
//! is `InvalidArgumentException`.

use super::{Outcome, active};
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, Fields, Reply, model};
use crate::engine::Engine;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::UPDATE_MAX_RECORD_SIZE)?;
    let stream = StreamAddress { name: None, arn: fields.text("StreamARN") };
    if stream.arn.is_none() {
        return Err(ApiError::invalid("StreamARN must be provided."));
    }
    let stream = stream.find(engine)?;
    active(engine, &stream)?;
    let kib = fields.integer("MaxRecordSizeInKiB").and_then(|kib| u32::try_from(kib).ok());
    engine
        .update(stream.name(), move |definition| {
            // The model's range was checked.
            definition.record_kib_max = kib.unwrap_or(definition.record_kib_max);
            Ok::<_, ApiError>(())
        })
        .await?;
    Ok(Reply::empty())
}
