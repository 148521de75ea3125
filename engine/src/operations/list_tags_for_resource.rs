//! ListTagsForResource: all tags of a stream, consumer or queue, by key.

use super::Outcome;
use super::resource::Resource;
use crate::api::{Call, Fields, Reply, model};
use crate::engine::Engine;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::LIST_TAGS_FOR_RESOURCE)?;
    let tags = match Resource::find(engine, &fields)? {
        Resource::Stream(stream) => stream.state().definition.tags.clone(),
        Resource::Consumer(_, consumer) => consumer.tags.clone(),
        Resource::Queue(queue) => queue.definition().tags.clone(),
    };
    let mut answer = call.writer();
    answer.open_object();
    answer.key("Tags").open_array();
    for (key, value) in &tags {
        answer.open_object();
        answer.key("Key").text(key);
        answer.key("Value").text(value);
        answer.close_object();
    }
    answer.close_array();
    answer.close_object();
    Ok(Reply::written(answer))
}
