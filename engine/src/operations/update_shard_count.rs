//! UpdateShardCount: another number of even shards.
//!
//! AWS's limits on one call (at most double, at least half, ten calls in a rolling day) are kept to under the profile `aws`
//! only: a box may go from one shard to a hundred at once. Setting the number that there is already is allowed and evens out
//! shards of different sizes; where there is nothing to do the stream stays ACTIVE.

use super::Outcome;
use super::refusal::{Refused, provisioned};
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, ErrorType, Fields, Reply, model};
use crate::control::{self, Begin};
use crate::engine::Engine;
use crate::limits;
use crate::reshard::Plan;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::UPDATE_SHARD_COUNT)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    let target = fields.integer("TargetShardCount").and_then(|count| u32::try_from(count).ok());
    let target = target.unwrap_or(u32::MAX);
    let (checked, (sender, current)) = (engine.clone(), std::sync::mpsc::channel());
    let plan = move |begin: &mut Begin<'_>| {
        provisioned(&checked, begin.stream, begin.definition)?;
        let open = begin.shards.open_count();
        check(&checked, begin, open, target)?;
        // Nobody listens when the caller has gone.
        let _ = sender.send(open);
        Ok(Plan::Resize { shards: target })
    };
    let begun = control::begin(engine, stream.name(), plan).await;
    begun.map_err(|refused: Refused| refused.answer(engine))?;
    let mut answer = call.writer();
    answer.open_object();
    answer.key("StreamName").text(stream.name().as_str());
    answer.key("CurrentShardCount").count(current.recv().unwrap_or_default());
    answer.key("TargetShardCount").integer(target);
    answer.key("StreamARN").text(stream.arn());
    answer.close_object();
    Ok(Reply::written(answer))
}

/// The one place of the limits on `UpdateShardCount`. What passes is counted, durably with the change.
fn check(engine: &Engine, begin: &mut Begin<'_>, open: usize, target: u32) -> Result<(), ApiError> {
    let exceeded = |message: String| Err(ApiError::new(ErrorType::LimitExceeded, message));
    let (name, account, most) = (begin.stream.name(), &engine.0.account, limits::SHARDS_PER_STREAM_MAX);
    if target > most {
        return exceeded(format!(
            "UpdateShardCount cannot scale stream {name} under account {account} up over {most} shards. Current open shard \
             count: {open}, Target shard count: {target}"
        ));
    }
    let now_ms = engine.0.clock.now_ms();
    if engine.0.throttle.is_some() {
        let (wanted, counts) =
            (target as usize, format!("Current open shard count: {open}, Target shard count: {target}"));
        if wanted > open * 2 {
            return exceeded(format!(
                "UpdateShardCount cannot scale up over double your current open shard count. {counts}"
            ));
        }
        if wanted * 2 < open {
            return exceeded(format!(
                "UpdateShardCount cannot scale down below half your current open shard count. {counts}"
            ));
        }
        if begin.definition.resizes.within_a_day(now_ms) >= limits::RESIZES_PER_DAY_MAX {
            return exceeded(format!(
                "UpdateShardCount cannot be called more than {} times in a rolling 24-hour period for stream {name} under \
                 account {account}.",
                limits::RESIZES_PER_DAY_MAX
            ));
        }
    }
    begin.definition.resizes.add(now_ms);
    Ok(())
}
