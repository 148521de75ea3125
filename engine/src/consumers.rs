//! Consumers: readers of a stream that are registered by name, and what they are subscribed to.
//!
//! In: registrations, subscriptions. Out: who is registered, durable; events as records become durable.
//! Invariants: a consumer is shown only after it is durable; of the subscriptions of one consumer to one shard at most one
//! is in force; a subscription gives nothing that is not durable, and holds at most one event that is not yet taken.
//! Not here: the API's wording of requests and answers (operations), sockets (http).

mod arn;
mod change;
mod event;
mod leases;
mod registry;
mod subscription;

pub(crate) use arn::ConsumerArn;
pub(crate) use change::{change_tags, deregister, register};
pub(crate) use registry::{Consumer, count, find, forget, list, no_consumer, registered, resume};
pub(crate) use subscription::{Asked, check_free, subscribe};

use crate::limits;
use crate::storage::MetaStore;
use leases::Leases;
use registry::Registry;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What an engine knows of consumers and subscriptions.
pub(crate) struct Consumers {
    registry: Registry,
    leases: Leases,
    /// Reads for subscriptions under way.
    reads: Semaphore,
    /// Bytes left for large events that clients have not taken yet.
    room: Arc<Semaphore>,
}

impl Consumers {
    /// Everything registered in `meta`.
    pub(crate) fn load(meta: &dyn MetaStore) -> Self {
        Consumers {
            registry: Registry::load(meta),
            leases: Leases::default(),
            reads: Semaphore::new(limits::EVENT_READS_MAX),
            room: Arc::new(Semaphore::new(limits::EVENT_BYTES_IN_FLIGHT_MAX)),
        }
    }
}
