//! SplitShard: one shard becomes two.
//!
//! Like AWS it leaves both children more than one key: `NewStartingHashKey` must be greater than one plus the first key of
//! the shard and less than the last. The children are open, and the shard is closed, when this is answered.

use super::Outcome;
use super::refusal::{Refused, no_shard, provisioned, shard_id};
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, Fields, Reply, model};
use crate::control::{self, Begin};
use crate::engine::Engine;
use crate::hash::HashKey;
use crate::names::ShardId;
use crate::reshard::{Plan, Step};

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::SPLIT_SHARD)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    let shard = shard_id(engine, &stream, fields.text("ShardToSplit").unwrap_or_default())?;
    let text = fields.text("NewStartingHashKey").unwrap_or_default();
    // The pattern was checked; a key beyond the space is beyond every shard.
    let at = HashKey::parse(text).unwrap_or(HashKey(u128::MAX));
    let checked = engine.clone();
    let plan = move |begin: &mut Begin<'_>| {
        provisioned(&checked, begin.stream, begin.definition)?;
        check(&checked, begin, shard, at)?;
        Ok(Plan::Steps(vec![Step::Split { shard, at }]))
    };
    let begun = control::begin(engine, stream.name(), plan).await;
    begun.map_err(|refused: Refused| refused.answer(engine))?;
    Ok(Reply::empty())
}

fn check(engine: &Engine, begin: &Begin<'_>, shard: ShardId, at: HashKey) -> Result<(), ApiError> {
    let name = begin.stream.name();
    let found = begin.shards.get(shard).ok_or_else(|| no_shard(engine, name, &shard.to_string()))?;
    let range = found.range;
    if found.closed.is_none() && (at.0 <= range.start.0.saturating_add(1) || at >= range.end) {
        return Err(ApiError::invalid(format!(
            "NewStartingHashKey {at} used in SplitShard() on shard {shard} in stream {name} under account {} is not both \
             greater than one plus the shard's StartingHashKey {} and less than the shard's EndingHashKey {}.",
            engine.0.account, range.start, range.end
        )));
    }
    Ok(())
}
