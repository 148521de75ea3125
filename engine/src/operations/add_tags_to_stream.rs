//! AddTagsToStream: sets tags, over those of the same key.

use super::create_stream::tags;
use super::{Outcome, usable};
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, Fields, Reply, model};
use crate::engine::Engine;
use crate::limits;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::ADD_TAGS_TO_STREAM)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    usable(engine, &stream)?;
    let added = tags(fields.map("Tags"));
    let (name, account) = (stream.name().clone(), engine.0.account.clone());
    let shown = name.clone();
    engine
        .change(&name, move |definition| {
            definition.tags.extend(added);
            if definition.tags.len() > limits::TAGS_PER_STREAM_MAX {
                return Err(ApiError::invalid(format!(
                    "Failed to add tags to stream {shown} under account {account} because a given stream cannot have more \
                     than {} tags associated with it.",
                    limits::TAGS_PER_STREAM_MAX
                )));
            }
            Ok(())
        })
        .await?;
    Ok(Reply::empty())
}
