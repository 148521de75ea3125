//! RemoveTagsFromStream: removes tags by key; keys that are not there are passed over.

use super::resource::tag_keys;
use super::{Outcome, usable};
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, Fields, Reply, model};
use crate::engine::Engine;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::REMOVE_TAGS_FROM_STREAM)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    usable(engine, &stream)?;
    let keys = tag_keys(&fields);
    let name = stream.name().clone();
    engine
        .change::<ApiError>(&name, move |definition| {
            definition.tags.retain(|key, _| !keys.contains(key));
            Ok(())
        })
        .await?;
    Ok(Reply::empty())
}
