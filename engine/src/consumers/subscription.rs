//! One subscription: from its first event to its end.
//!
//! In: where to begin, records as they become durable, changes of the stream. Out: messages, each made when the one before
//! was taken. The subscription ends after [`limits::SUBSCRIPTION_AGE_MS_MAX`], at the end of a closed shard, or with an
//! exception: taken over, deregistered, stream gone, records that cannot be read. What it holds: one page while an event is
//! written, of at most [`limits::EVENT_READS_MAX`] subscriptions at once, and one event until the client takes it.
//! Not here: who may subscribe (leases), sockets (http).

use super::event::{Content, Source};
use super::leases::{Ended, Lease, Refused};
use super::registry::{Consumer, no_consumer};
use crate::api::{ApiError, ErrorType, Events, Format, eventstream};
use crate::changes::Following;
use crate::counters::Tally;
use crate::definition::{Shard, StreamState};
use crate::engine::Engine;
use crate::limits;
use crate::storage::{Page, Position, ReadLimits, ShardKey};
use crate::stream::StreamHandle;
use crate::throttle;
use bytes::Bytes;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::sleep;

/// What a checked request asks for.
pub(crate) struct Asked {
    pub(crate) stream: StreamHandle,
    pub(crate) shard: ShardKey,
    pub(crate) consumer: Arc<Consumer>,
    pub(crate) from: Position,
    pub(crate) format: Format,
}

/// Refuses what [`subscribe`] would refuse now.
pub(crate) fn check_free(
    engine: &Engine,
    stream: &StreamHandle,
    shard: ShardKey,
    consumer: &Consumer,
) -> Result<(), ApiError> {
    let free = engine.0.consumers.leases.check(shard, &consumer.name, engine.0.clock.now_ms());
    free.map_err(|refused| refusal(engine, stream, shard, consumer, refused))
}

/// Begins a subscription, and ends the one there was.
///
/// # Errors
/// `ResourceInUseException` too soon after the last, `LimitExceededException` when there are too many.
pub(crate) fn subscribe(engine: &Engine, asked: Asked) -> Result<Events, ApiError> {
    let Asked { stream, shard, consumer, from, format } = asked;
    let begun_ms = engine.0.clock.now_ms();
    let meter = engine.0.meters.of(shard.stream);
    if let Some(throttle) = &engine.0.throttle
        && !throttle.subscribe(shard.stream, &consumer.name, shard.shard, begun_ms)
    {
        meter.subscribed(None);
        return Err(throttle::call_exceeded(engine, Some(stream.name())));
    }
    let lease = engine.0.consumers.leases.take(shard, &consumer.name, begun_ms);
    meter.subscribed(Some(lease.is_ok()));
    let lease = lease.map_err(|refused| refusal(engine, &stream, shard, &consumer, refused))?;
    let (sender, messages) = mpsc::channel(1);
    let subscription = Subscription {
        engine: engine.clone(),
        stream,
        shard,
        consumer,
        lease,
        next: from,
        format,
        begun_ms,
        given: 0,
    };
    Ok(Events { messages, run: Box::pin(subscription.run(sender)) })
}

fn refusal(
    engine: &Engine,
    stream: &StreamHandle,
    shard: ShardKey,
    consumer: &Consumer,
    refused: Refused,
) -> ApiError {
    match refused {
        Refused::TooSoon => in_use(engine, stream, shard, consumer),
        Refused::TooMany => {
            let limit = limits::SUBSCRIPTIONS_MAX;
            ApiError::new(
                ErrorType::LimitExceeded,
                format!("There are {limit} subscriptions. Limit: {limit}."),
            )
        }
    }
}

fn in_use(engine: &Engine, stream: &StreamHandle, shard: ShardKey, consumer: &Consumer) -> ApiError {
    let (account, name) = (&engine.0.account, stream.name());
    let message = format!(
        "Another active subscription exists for this consumer: {account}:{name}:{}:{}",
        shard.shard, consumer.name
    );
    ApiError::new(ErrorType::ResourceInUse, message)
}

struct Subscription {
    engine: Engine,
    stream: StreamHandle,
    shard: ShardKey,
    consumer: Arc<Consumer>,
    lease: Lease,
    /// Everything before was given.
    next: Position,
    format: Format,
    begun_ms: u64,
    /// Events given so far.
    given: u64,
}

/// What comes next in a subscription.
enum Next {
    /// An event, and how long nothing must follow it.
    Event(Bytes, Duration),
    /// The last event.
    Last(Bytes),
    /// Its time is over.
    Over,
}

impl Subscription {
    async fn run(mut self, sender: mpsc::Sender<Bytes>) {
        let format = self.format;
        if sender.send(eventstream::initial_response(format)).await.is_err() {
            return;
        }
        sleep(limits::FIRST_EVENT_PAUSE).await;
        if let Err(mut error) = self.push(&sender).await {
            // The only failure there is inside a stream.
            if error.error == ErrorType::ServiceUnavailable {
                error.error = ErrorType::InternalFailure;
            }
            tracing::debug!(stream = %self.stream.name(), shard = %self.shard.shard, consumer = %self.consumer.name,
                %error, "subscription ended");
            let _ = sender.send(eventstream::exception(&error, format)).await;
        }
    }

    async fn push(&mut self, sender: &mpsc::Sender<Bytes>) -> Result<(), ApiError> {
        let mut changes = self.stream.changes();
        // The place first: nothing is read before the client took what was read before.
        while let Ok(place) = sender.reserve().await {
            match self.next(&mut changes).await? {
                Next::Event(event, pause) => {
                    place.send(event);
                    sleep(pause).await;
                }
                Next::Last(event) => {
                    place.send(event);
                    return Ok(());
                }
                Next::Over => return Ok(()),
            }
            self.given += 1;
        }
        Ok(())
    }

    /// Waits for something to say.
    async fn next(&mut self, changes: &mut Following) -> Result<Next, ApiError> {
        let log = Arc::clone(&self.engine.0.log);
        let mut ended = self.lease.ended.clone();
        // The first event comes at once: it tells where the subscription is, before any record.
        let mut idle = pin!(sleep(if self.given == 0 { Duration::ZERO } else { limits::KEEP_ALIVE }));
        loop {
            self.check_lease()?;
            let state = changes.newest();
            let shard = self.check_stream(&state)?;
            let now_ms = self.engine.0.clock.now_ms();
            if now_ms.saturating_sub(self.begun_ms) >= limits::SUBSCRIPTION_AGE_MS_MAX {
                return Ok(Next::Over);
            }
            let source = self.source(shard);
            if shard.closed.is_some_and(|closed| self.next >= closed.end) {
                return Ok(Next::Last(source.end(&state, shard).into()));
            }
            let not_before_ms = self.engine.horizon_ms(&state.definition);
            match self.read(source, not_before_ms).await? {
                Read::Event(event, pause) => return Ok(Next::Event(event, pause)),
                Read::Further => continue,
                Read::Nothing => {}
            }
            // What is not there in a closed shard will not come: its last records may have been trimmed.
            if let Some(closed) = shard.closed {
                self.next = closed.end;
                continue;
            }
            tokio::select! {
                _ = ended.changed() => {}
                () = changes.changed() => {}
                outcome = log.wait(self.shard, self.next) => outcome?,
                () = &mut idle => {
                    let pause = self.count(&Content::default(), 0, now_ms);
                    return Ok(Next::Event(source.nothing(self.next).into(), pause));
                }
            }
        }
    }

    fn check_lease(&self) -> Result<(), ApiError> {
        match *self.lease.ended.borrow() {
            None => Ok(()),
            Some(Ended::TakenOver) => Err(in_use(&self.engine, &self.stream, self.shard, &self.consumer)),
            Some(Ended::Deregistered) => Err(no_consumer(&self.engine, &self.consumer.name)),
        }
    }

    fn check_stream<'a>(&self, state: &'a StreamState) -> Result<&'a Shard, ApiError> {
        let account = &self.engine.0.account;
        if !state.definition.status.is_usable() {
            return Err(ApiError::no_stream(self.stream.name().as_str(), account));
        }
        state.shards.get(self.shard.shard).ok_or_else(|| {
            let (shard, name) = (self.shard.shard, self.stream.name());
            let message = format!("Shard {shard} in stream {name} under account {account} does not exist");
            ApiError::new(ErrorType::ResourceNotFound, message)
        })
    }

    fn source(&self, shard: &Shard) -> Source {
        let ShardKey { stream, shard: id } = self.shard;
        Source { stream, shard: id, generation: shard.generation, format: self.format }
    }

    /// Makes an event of what there is from `next` on.
    async fn read(&mut self, source: Source, not_before_ms: u64) -> Result<Read, ApiError> {
        let mut limits =
            ReadLimits { records: limits::EVENT_RECORDS_MAX, bytes: limits::EVENT_BYTES_MAX, not_before_ms };
        let mut room = None;
        loop {
            let engine = self.engine.clone();
            let consumers = &engine.0.consumers;
            let reading = consumers.reads.acquire().await;
            let page = engine.0.log.read(self.shard, self.next, limits).await;
            let page = page.map_err(|error| engine.0.keys.unreadable(error))?;
            let content = Content::of(&page);
            if content.records == 0 {
                let further = page.next > self.next;
                self.next = page.next;
                return Ok(if further { Read::Further } else { Read::Nothing });
            }
            let bytes = content.event_bytes();
            if bytes <= limits::SMALL_EVENT_BYTES || room.is_some() {
                return Ok(self.give(source, &page, &content, room));
            }
            let bytes = u32::try_from(bytes.min(limits::EVENT_BYTES_IN_FLIGHT_MAX)).unwrap_or(u32::MAX);
            room = Arc::clone(&consumers.room).try_acquire_many_owned(bytes).ok();
            if room.is_some() {
                return Ok(self.give(source, &page, &content, room));
            }
            // Slow clients have the room. Others may read meanwhile; the same records are read again when there is some.
            drop((page, reading));
            limits.records = content.records;
            room = Arc::clone(&consumers.room).acquire_many_owned(bytes).await.ok();
        }
    }

    fn give(
        &mut self,
        source: Source,
        page: &Page,
        content: &Content,
        room: Option<OwnedSemaphorePermit>,
    ) -> Read {
        let tally = &self.engine.0.tally;
        Tally::add(&tally.records_read, content.records);
        Tally::add(&tally.bytes_read, content.data_bytes);
        Tally::add(&tally.lost_ranges_read, page.lost.len());
        let now_ms = self.engine.0.clock.now_ms();
        let behind_ms = content.behind_ms(page, now_ms);
        let event = source.records(page, content, behind_ms);
        self.next = page.next;
        let event = match room {
            None => event.into(),
            Some(room) => Bytes::from_owner(Held { event, _room: room }),
        };
        Read::Event(event, self.count(content, behind_ms, now_ms))
    }

    /// Counts an event. Gives how long nothing must follow it.
    fn count(&self, content: &Content, behind_ms: u64, now_ms: u64) -> Duration {
        let Subscription { engine, shard: ShardKey { stream, shard }, consumer, .. } = self;
        let bytes = content.data_bytes + content.key_bytes;
        let meter = engine.0.meters.of(*stream);
        meter.pushed(&consumer.name, *shard, content.records, bytes, behind_ms, now_ms);
        let throttle = engine.0.throttle.as_ref();
        let pause_ms = throttle.map_or(0, |t| t.pushed(*stream, &consumer.name, *shard, bytes, now_ms));
        Duration::from_millis(pause_ms)
    }
}

/// What came of a read.
enum Read {
    /// An event, and how long nothing must follow it.
    Event(Bytes, Duration),
    /// No record, but there may be some further on.
    Further,
    Nothing,
}

/// An event with the room it takes until it was sent.
struct Held {
    event: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.event
    }
}
