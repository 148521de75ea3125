//! ListTagsForStream: tags by key, a page at a time.

use super::Outcome;
use crate::api::address::StreamAddress;
use crate::api::{Call, Fields, Reply, model};
use crate::engine::Engine;
use crate::limits;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::LIST_TAGS_FOR_STREAM)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    let state = stream.state();
    let after = fields.text("ExclusiveStartTagKey");
    let page = fields.count("Limit").unwrap_or(limits::LIST_TAGS_PAGE);
    let mut tags =
        state.definition.tags.iter().filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
    let mut answer = call.writer();
    answer.open_object();
    answer.key("Tags").open_array();
    for (key, value) in tags.by_ref().take(page) {
        answer.open_object();
        answer.key("Key").text(key);
        answer.key("Value").text(value);
        answer.close_object();
    }
    answer.close_array();
    answer.key("HasMoreTags").boolean(tags.next().is_some());
    answer.close_object();
    Ok(Reply::written(answer))
}
