//! AddTagsToStream: sets tags, over those of the same key.
//!
//! Where AWS is silent: characters outside the documented set and keys that begin with `aws:` are
//! `InvalidArgumentException`.

use super::resource::{add_tags, tags};
use super::{Outcome, usable};
use crate::api::address::StreamAddress;
use crate::api::{Call, Fields, Reply, model};
use crate::engine::Engine;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::ADD_TAGS_TO_STREAM)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    usable(engine, &stream)?;
    let added = tags(fields.map("Tags"))?;
    let account = engine.0.account.clone();
    let name = stream.name().clone();
    engine
        .change(stream.name(), move |definition| {
            add_tags(&mut definition.tags, added, ("stream", name.as_str()), &account)
        })
        .await?;
    Ok(Reply::empty())
}
