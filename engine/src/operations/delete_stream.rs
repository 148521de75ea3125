//! DeleteStream: the stream and its records are gone when this is answered.

use super::Outcome;
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, ErrorType, Fields, Reply, model};
use crate::consumers;
use crate::control::StreamError;
use crate::engine::Engine;
use crate::queues;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::DELETE_STREAM)?;
    let name = StreamAddress::of(&fields).resolve(engine)?;
    if let Some(stream) = engine.stream(&name) {
        queues::none_of(engine, &stream, "deleted")?;
    }
    if let Some(stream) = engine.stream(&name)
        && !fields.is_true("EnforceConsumerDeletion")
        && consumers::registered(engine, stream.number()) > 0
    {
        let account = &engine.0.account;
        let message = format!(
            "DeleteStream can't delete {account}:{name} because there are consumers associated with this data stream. To \
             delete {name} anyway, set the EnforceConsumerDeletion parameter to true."
        );
        return Err(ApiError::new(ErrorType::ResourceInUse, message));
    }
    match engine.delete_stream(&name).await {
        Ok(()) => Ok(Reply::empty()),
        Err(StreamError::NotFound(name)) => Err(ApiError::no_stream(name.as_str(), &engine.0.account)),
        Err(error) => Err(error.into()),
    }
}
