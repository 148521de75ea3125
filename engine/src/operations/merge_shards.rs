//! MergeShards: two neighbours become one.
//!
//! The two may be named in either order; the first becomes `ParentShardId`, the second `AdjacentParentShardId`.

use super::Outcome;
use super::refusal::{Refused, provisioned, shard_id};
use crate::api::address::StreamAddress;
use crate::api::{Call, Fields, Reply, model};
use crate::control::{self, Begin};
use crate::engine::Engine;
use crate::reshard::{Plan, Step};

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::MERGE_SHARDS)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    let id = |member| shard_id(engine, &stream, fields.text(member).unwrap_or_default());
    let (shard, adjacent) = (id("ShardToMerge")?, id("AdjacentShardToMerge")?);
    let checked = engine.clone();
    let plan = move |begin: &mut Begin<'_>| {
        provisioned(&checked, begin.stream, begin.definition)?;
        Ok(Plan::Steps(vec![Step::Merge { shard, adjacent }]))
    };
    let begun = control::begin(engine, stream.name(), plan).await;
    begun.map_err(|refused: Refused| refused.answer(engine))?;
    Ok(Reply::empty())
}
