//! ListTagsForStream: tags by key, a page at a time.

use super::Outcome;
use crate::api::address::StreamAddress;
use crate::api::{Fields, Json, Reply, model};
use crate::engine::Engine;
use crate::limits;
use bytes::Bytes;

pub(super) async fn run(engine: &Engine, body: Bytes) -> Outcome {
    let fields = Fields::read(&body, model::LIST_TAGS_FOR_STREAM)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    let state = stream.state();
    let after = fields.text("ExclusiveStartTagKey");
    let page = fields.count("Limit").unwrap_or(limits::LIST_TAGS_PAGE);
    let mut tags =
        state.definition.tags.iter().filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
    let mut json = Json::default();
    json.open_object();
    json.key("Tags").open_array();
    for (key, value) in tags.by_ref().take(page) {
        json.open_object();
        json.key("Key").text(key);
        json.key("Value").text(value);
        json.close_object();
    }
    json.close_array();
    json.key("HasMoreTags").boolean(tags.next().is_some());
    json.close_object();
    Ok(Reply::json(json))
}
