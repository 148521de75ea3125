//! DeleteStream: the stream, its records and all that is registered with it.
//!
//! It is gone when this is answered, unless states are shown for a time; then it is DELETING and refuses reads and writes,
//! which AWS may still take. A stream that is being made or changed is refused, as by AWS.

use super::refusal::refusal;
use super::{Outcome, active};
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, ErrorType, Fields, Reply, model};
use crate::consumers;
use crate::control::Effect;
use crate::engine::Engine;
use crate::queues;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::DELETE_STREAM)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    active(engine, &stream)?;
    queues::none_of(engine, &stream, "deleted")?;
    let (name, account) = (stream.name(), &engine.0.account);
    if !fields.is_true("EnforceConsumerDeletion") && consumers::registered(engine, stream.number()) > 0 {
        let message = format!(
            "DeleteStream can't delete {account}:{name} because there are consumers associated with this data stream. To \
             delete {name} anyway, set the EnforceConsumerDeletion parameter to true."
        );
        return Err(ApiError::new(ErrorType::ResourceInUse, message));
    }
    engine.delete_as(name, Effect::Shown).await.map_err(|error| refusal(engine, error))?;
    Ok(Reply::empty())
}
