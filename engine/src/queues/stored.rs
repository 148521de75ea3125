//! What a start finds: queues with their state, and what deletes left behind.
//!
//! In: the metadata store. Out: [`Queues`]. Invariants: a value that cannot be read is left alone and named in the log; a
//! delete that began is finished. Not here: what the values mean (definition, core).

use super::Queues;
use super::core::{PREFIX, QueueCore, StoredKey};
use super::definition::{DEFINITIONS, QueueDefinition};
use super::queue::Queue;
use crate::engine::Engine;
use crate::limits;
use crate::storage::MetaStore;

/// After a start: removes queues whose delete a crash interrupted and those of streams that are gone, and whatever is
/// stored of queues that there are not.
pub(crate) fn resume(engine: &Engine) {
    let latest_ms = engine.steady_ms().saturating_add(limits::QUEUE_VISIBILITY_MS_MAX);
    for queue in engine.0.queues.list() {
        queue.state().core.show_by(latest_ms);
        if queue.definition().deleting || queue.stream(engine).is_none() {
            queue.end();
            engine.0.queues.remove(queue.number);
        }
    }
    for (key, stored) in engine.0.meta.list(PREFIX) {
        let definition = || {
            let number = std::str::from_utf8(key.strip_prefix(DEFINITIONS)?).ok()?;
            // One that cannot be read is left alone.
            serde_json::from_slice::<QueueDefinition>(&stored.value).ok()?;
            u32::from_str_radix(number, 16).ok()
        };
        let number = StoredKey::queue_of(&key).or_else(definition);
        if number.is_some_and(|number| !engine.0.queues.keeps(number)) {
            // Staged by the call; whether it is durable before the next crash does not matter.
            drop(engine.0.meta.delete(&key, stored.version));
        }
    }
}

impl Queues {
    /// Reads every stored queue with its state. What cannot be read is left alone and named in the log.
    pub(crate) fn load(meta: &dyn MetaStore, region: &str, account: &str) -> Self {
        let queues = Queues::empty();
        for (key, stored) in meta.list(DEFINITIONS) {
            let Ok(definition) = serde_json::from_slice::<QueueDefinition>(&stored.value) else {
                tracing::error!(key = %key.escape_ascii(), "queue definition cannot be read");
                queues.damaged(&key);
                continue;
            };
            let mut core = QueueCore::new(definition.receives_max);
            let [headers, pages, _] = StoredKey::prefixes(definition.number);
            for prefix in [headers, pages] {
                for (key, stored) in meta.list(&prefix) {
                    let read = StoredKey::parse(&key).is_some_and(|key| core.load(key, &stored.value));
                    if !read {
                        tracing::error!(key = %key.escape_ascii(), "state of a queue cannot be read");
                    }
                }
            }
            queues.add(Queue::new(definition, core, region, account));
        }
        queues
    }
}
