//! StartStreamEncryption: seals what is written from now on, with a new key of the stream that the master key wraps.
//!
//! Where AWS is silent: a stream that is encrypted already gets a new key, also when the master key is the same; descriptions
//! show the key as the client named it; `EncryptionType` NONE is `InvalidArgumentException`.

use super::{Outcome, active};
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, Fields, Reply, model};
use crate::engine::Engine;
use crate::keys;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::START_STREAM_ENCRYPTION)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    check_type(&fields)?;
    active(engine, &stream)?;
    keys::start(engine, &stream, fields.text("KeyId").unwrap_or_default()).await?;
    Ok(Reply::empty())
}

/// The model has two values, its documentation allows one.
pub(super) fn check_type(fields: &Fields) -> Result<(), ApiError> {
    match fields.text("EncryptionType") {
        Some("KMS") => Ok(()),
        _ => Err(ApiError::invalid("EncryptionType must be KMS.")),
    }
}
