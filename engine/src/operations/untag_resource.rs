//! UntagResource: removes tags of a stream, consumer or queue; keys that it does not have are ignored.

use super::Outcome;
use super::resource::{Resource, tag_keys};
use crate::api::{ApiError, Call, Fields, Reply, model};
use crate::consumers;
use crate::engine::Engine;
use crate::queues::{self, QueueDefinition};
use std::collections::BTreeMap;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::UNTAG_RESOURCE)?;
    let resource = Resource::find(engine, &fields)?;
    let removed = tag_keys(&fields);
    match resource {
        Resource::Stream(stream) => {
            engine
                .change(stream.name(), move |definition| {
                    definition.tags.retain(|key, _| !removed.contains(key));
                    Ok::<_, ApiError>(())
                })
                .await?;
        }
        Resource::Consumer(stream, consumer) => {
            let change = move |tags: &mut BTreeMap<String, String>| {
                tags.retain(|key, _| !removed.contains(key));
                Ok(())
            };
            consumers::change_tags(engine, stream.number(), consumer.name.clone(), change).await?;
        }
        Resource::Queue(queue) => {
            let change = move |_: &Engine, definition: &mut QueueDefinition| {
                definition.tags.retain(|key, _| !removed.contains(key));
                Ok(())
            };
            queues::change(engine, &queue, change).await?;
        }
    }
    Ok(Reply::empty())
}
