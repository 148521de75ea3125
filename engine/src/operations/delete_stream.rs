//! DeleteStream: the stream and its records are gone when this is answered.

use super::Outcome;
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, Fields, Reply, model};
use crate::control::StreamError;
use crate::engine::Engine;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::DELETE_STREAM)?;
    // `EnforceConsumerDeletion` is about registered consumers, of which there are none.
    let name = StreamAddress::of(&fields).resolve(engine)?;
    match engine.delete_stream(&name).await {
        Ok(()) => Ok(Reply::empty()),
        Err(StreamError::NotFound(name)) => Err(ApiError::no_stream(name.as_str(), &engine.0.account)),
        Err(error) => Err(error.into()),
    }
}
