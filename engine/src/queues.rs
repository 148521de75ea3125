//! Queues: consuming a stream record by record, with visibility timeouts, acknowledgements and dead letters.
//!
//! In: receives and what consumers say about the records they received. Out: records with receipt handles.
//!
//! What is durable when:
//! - a queue, and where in each shard it begins: before CreateQueue is answered, in one step;
//! - a receive: before its records are answered, so that counts, invisibility and handles outlive a crash;
//! - an acknowledgement, a new visibility, a restore: before the answer.
//!
//! Each step writes the pages of 32 positions it touched, a few hundred bytes, in the same flush as everything else that
//! waits; see the core's `page` for the format.
//!
//! Invariants: an acknowledged record never comes back, an unacknowledged one always does, until the stream no longer has
//! it; a record that is invisible is nobody else's; memory per queue is bounded ([`limits`]), and a waiting receiver holds
//! none but its own future.
//!
//! Where AWS is silent:
//! - A queue's name is one of its kind in the account; its ARN holds a number. A stream may have several queues.
//! - A shard's new records come in its order; a child shard's only after all of its parents' were delivered once. Records
//!   that come back come before new ones. Shards give in turn.
//! - A receipt handle is good until its record is received again, becomes a dead letter, is acknowledged or expires: also
//!   after its visibility timeout, as long as nobody else received it. An outdated one fails with
//!   `ResourceNotFoundException`, one that this side of this queue did not hand out with `InvalidArgumentException`.
//! - Acknowledging what is not open any more succeeds: SDKs repeat requests whose answers were lost. Other verdicts on it
//!   fail. Restoring again with the same handle succeeds until the record is received.
//! - A record becomes a dead letter when its last receive runs out, not when it begins. Receives of dead letters count on;
//!   restoring sets the count to 0, shows the record at once, and keeps the time of the first receive.
//! - Another `MaxReceiveCount`, or none, applies to what is not a dead letter yet; dead letters stay until somebody takes
//!   them or they expire. Visibility may be extended without a limit on the sum.
//! - An answer has at most 10 MiB of keys and data. With too many open records nothing new is delivered, and the answer is
//!   empty; with too many waiting receivers it is `ThrottlingException`.
//! - A queue that is CREATING gives nothing yet: its receivers wait. One that is DELETING is not found, but described.
//! - `AT_TIMESTAMP` may lie in the future. A queue that begins at LATEST gives new shards from their beginning.
//!
//! Not here: the log (storage), the API's words for requests (operations).

mod answer;
mod control;
mod core;
mod definition;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod handle;
mod queue;
mod receive;
mod stored;

pub(crate) use answer::{judge, target, write_description};
pub(crate) use control::{NewQueue, Update, change, create, delete, forget, update};
pub(crate) use core::{Side, Verdict, policy_key};
pub(crate) use definition::{QueueDefinition, QueueStatus, Start};
pub(crate) use handle::{open_page, seal_page};
pub(crate) use queue::Queue;
pub(crate) use receive::{Receive, receive};
pub(crate) use stored::resume;

use self::core::{QueueCore, Tally};
use crate::api::{ApiError, ErrorType};
use crate::engine::Engine;
use crate::limits;
use crate::names::StreamNumber;
use crate::storage::AppendError;
use crate::stream::StreamHandle;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{Semaphore, watch};

/// All queues of an engine.
pub(crate) struct Queues {
    queues: RwLock<Known>,
    /// Places for receivers that wait.
    pub(crate) waiting: Arc<Semaphore>,
    /// Bytes left for records that were read ahead.
    pub(crate) ahead: Arc<Semaphore>,
    /// Told when receivers should not wait any longer.
    closing: watch::Sender<()>,
    counts: [AtomicU64; 2],
}

#[derive(Default)]
struct Known {
    queues: BTreeMap<u32, Arc<Queue>>,
    /// Numbers of queues whose definitions cannot be read.
    damaged: BTreeSet<u32>,
}

/// What became of records of queues without a consumer's word. Counters only grow, from 0 at every start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueCounters {
    /// Queues there are now.
    pub queues: u64,
    /// Records that were passed by because the stream no longer had them: retention, a trim or damage.
    pub records_expired: u64,
    /// Records that became dead letters.
    pub records_dead: u64,
}

impl Queues {
    fn empty() -> Self {
        Queues {
            queues: RwLock::default(),
            waiting: Arc::new(Semaphore::new(limits::QUEUE_RECEIVERS_WAITING_MAX)),
            ahead: Arc::new(Semaphore::new(limits::QUEUE_AHEAD_BYTES_ALL)),
            closing: watch::Sender::new(()),
            counts: Default::default(),
        }
    }

    /// All queues in order of creation.
    pub(crate) fn list(&self) -> Vec<Arc<Queue>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).queues.values().cloned().collect()
    }

    /// Lets every receiver that waits now answer with what there is: the face that serves it is closing.
    pub(crate) fn end_waits(&self) {
        self.closing.send_replace(());
    }

    fn add(&self, queue: Queue) -> Arc<Queue> {
        let queue = Arc::new(queue);
        let mut known = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        known.queues.insert(queue.number, Arc::clone(&queue));
        queue
    }

    fn insert(&self, engine: &Engine, definition: QueueDefinition, core: QueueCore) -> Arc<Queue> {
        self.add(Queue::new(definition, core, &engine.0.region, &engine.0.account))
    }

    fn remove(&self, number: u32) {
        self.queues.write().unwrap_or_else(PoisonError::into_inner).queues.remove(&number);
    }

    fn damaged(&self, key: &[u8]) {
        let digits =
            key.strip_prefix(definition::DEFINITIONS).and_then(|rest| std::str::from_utf8(rest).ok());
        if let Some(number) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            self.queues.write().unwrap_or_else(PoisonError::into_inner).damaged.insert(number);
        }
    }

    /// Whether what is stored of this queue is kept.
    fn keeps(&self, number: u32) -> bool {
        let known = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        known.queues.contains_key(&number) || known.damaged.contains(&number)
    }

    fn count(&self, tally: Tally) {
        self.counts[0].fetch_add(tally.expired, Relaxed);
        self.counts[1].fetch_add(tally.dead, Relaxed);
    }
}

impl Engine {
    /// What the engine's queues have counted so far.
    #[must_use]
    pub fn queue_counters(&self) -> QueueCounters {
        let queues = &self.0.queues;
        let [expired, dead] = &queues.counts;
        QueueCounters {
            queues: queues.list().len() as u64,
            records_expired: expired.load(Relaxed),
            records_dead: dead.load(Relaxed),
        }
    }
}

/// The queue of this ARN.
///
/// # Errors
/// `ResourceNotFoundException`.
pub(crate) fn find(engine: &Engine, arn: &str) -> Result<Arc<Queue>, ApiError> {
    let number = definition::QueueArn::number(arn);
    let known = engine.0.queues.queues.read().unwrap_or_else(PoisonError::into_inner);
    let found = number.and_then(|number| known.queues.get(&number)).filter(|queue| &*queue.arn == arn);
    found.cloned().ok_or_else(|| no_queue(arn))
}

/// The queues of a stream, in order of creation; those being deleted included.
pub(crate) fn of_stream(engine: &Engine, stream: StreamNumber) -> Vec<Arc<Queue>> {
    let mut queues = engine.0.queues.list();
    queues.retain(|queue| queue.definition().stream() == stream);
    queues
}

/// Refuses what a stream with queues cannot have done to it. The model asks for their deletion first.
///
/// # Errors
/// `ResourceInUseException`.
pub(crate) fn none_of(engine: &Engine, stream: &StreamHandle, what: &str) -> Result<(), ApiError> {
    let queues = of_stream(engine, stream.number()).len();
    if queues == 0 {
        return Ok(());
    }
    let (name, account) = (stream.name(), &engine.0.account);
    let message = format!(
        "Stream {name} under account {account} cannot be {what} while it has queues: it has {queues}. Delete them with \
         DeleteQueue first."
    );
    Err(ApiError::new(ErrorType::ResourceInUse, message))
}

fn no_queue(arn: &str) -> ApiError {
    ApiError::new(ErrorType::ResourceNotFound, format!("Queue {arn} not found."))
}

fn not_found(queue: &Queue) -> ApiError {
    no_queue(&queue.arn)
}

/// A refused append in the words of queue operations, which know no other throttling.
fn refusal(error: AppendError) -> ApiError {
    match error {
        AppendError::Busy => ApiError::new(ErrorType::Throttling, error.to_string()),
        error => error.into(),
    }
}
