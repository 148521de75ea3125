//! TagResource: sets tags of a stream, consumer or queue.

use super::Outcome;
use super::resource::{Resource, add_tags, tags};
use crate::api::{Call, Fields, Reply, model};
use crate::consumers;
use crate::engine::Engine;
use crate::queues::{self, QueueDefinition};
use std::collections::BTreeMap;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::TAG_RESOURCE)?;
    let resource = Resource::find(engine, &fields)?;
    let added = tags(fields.map("Tags"))?;
    let account = engine.0.account.clone();
    match resource {
        Resource::Stream(stream) => {
            let name = stream.name().clone();
            engine
                .change(stream.name(), move |definition| {
                    add_tags(&mut definition.tags, added, ("stream", name.as_str()), &account)
                })
                .await?;
        }
        Resource::Consumer(stream, consumer) => {
            let name = consumer.name.clone();
            let change = move |tags: &mut BTreeMap<String, String>| {
                add_tags(tags, added, ("consumer", &name), &account)
            };
            consumers::change_tags(engine, stream.number(), consumer.name.clone(), change).await?;
        }
        Resource::Queue(queue) => {
            let change = move |_: &Engine, definition: &mut QueueDefinition| {
                let name = definition.name.clone();
                add_tags(&mut definition.tags, added, ("queue", &name), &account)
            };
            queues::change(engine, &queue, change).await?;
        }
    }
    Ok(Reply::empty())
}
