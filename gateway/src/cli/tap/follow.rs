//! One stream, read as it grows.
//!
//! In: GetRecords. Out: records, shard by shard in their order, and notes for the person. A gateway that is away is asked
//! again until it is back; reading goes on behind the last record.

use super::plan::{From, Plan};
use headwater_aws::{CallError, Class, Kinesis, Position, Record, ShardId, StreamRef, Thing, Timestamp};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Records of a call: a terminal shows the first of them soon.
const RECORDS_MAX: u32 = 1_000;

/// After a call failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What came out of a stream.
#[derive(Debug)]
pub(super) enum Event {
    /// Records of a shard, in their order.
    Records { stream: String, shard: ShardId, records: Vec<Record> },
    /// Something a person may want to know.
    Note(String),
    /// A stream ended.
    Gone(CallError),
}

/// A stream to follow.
pub(super) struct Follow {
    pub(super) client: Kinesis,
    pub(super) stream: String,
    pub(super) from: From,
    /// Between two calls that brought nothing.
    pub(super) pause: Duration,
    pub(super) events: mpsc::Sender<Event>,
}

impl Follow {
    /// Reads until nobody listens, or the stream is gone.
    pub(super) async fn run(self) {
        let stream = StreamRef::name(&self.stream);
        let mut plan = Plan::new(self.from);
        let mut shards = JoinSet::new();
        let mut is_first = true;
        loop {
            let map = match self.client.list_shards(&stream).await {
                Ok(map) => map,
                Err(error) if error.class == Class::Final(Thing::Stream) => {
                    let _ = self.events.send(Event::Gone(error)).await;
                    return;
                }
                Err(error) => {
                    if !self.note(error.to_string()).await {
                        return;
                    }
                    sleep(AGAIN_AFTER).await;
                    continue;
                }
            };
            let all: Vec<_> = map.shards().to_vec();
            let mut begun = Vec::new();
            for (id, from) in plan.begin(&all) {
                let mut shard = self.shard(id, from);
                let iterator = shard.iterator().await;
                begun.push((shard, iterator));
            }
            let open = all.iter().filter(|shard| shard.is_open).count();
            let note = format!("{}: {open} open shards of {}", self.stream, all.len());
            // Between iterators and records: whoever reads it knows that what is put from now on is shown.
            if std::mem::take(&mut is_first) && !self.note(note).await {
                return;
            }
            for (shard, iterator) in begun {
                shards.spawn(shard.read(iterator));
            }
            match shards.join_next().await {
                Some(Ok(Ended::AtItsEnd(id))) => plan.ended(id),
                Some(Ok(Ended::Gone)) => sleep(AGAIN_AFTER).await,
                // The reader of records is gone, or a shard's task with it.
                Some(Ok(Ended::Unheard) | Err(_)) => return,
                None => sleep(self.pause).await,
            }
        }
    }

    /// Whether somebody heard it.
    async fn note(&self, note: String) -> bool {
        self.events.send(Event::Note(note)).await.is_ok()
    }

    fn shard(&self, id: ShardId, from: From) -> Shard {
        Shard {
            client: self.client.clone(),
            name: self.stream.clone(),
            stream: StreamRef::name(&self.stream),
            id,
            from,
            since: self.client.time(),
            is_begun: false,
            last: None,
            pause: self.pause,
            events: self.events.clone(),
        }
    }
}

/// How reading a shard ended.
enum Ended {
    /// It is closed, and everything was read.
    AtItsEnd(ShardId),
    /// Nobody listens any more.
    Unheard,
    /// It is not there.
    Gone,
}

struct Shard {
    client: Kinesis,
    name: String,
    stream: StreamRef,
    id: ShardId,
    from: From,
    /// When the tap began, for a shard that gave nothing yet.
    since: Timestamp,
    is_begun: bool,
    /// The last record that was given out.
    last: Option<String>,
    pause: Duration,
    events: mpsc::Sender<Event>,
}

impl Shard {
    /// Reads to the end of the shard.
    async fn read(mut self, mut iterator: Result<String, CallError>) -> Ended {
        loop {
            let answer = match iterator {
                Ok(iterator) => self.client.get_records(&self.stream, &iterator, RECORDS_MAX).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => {
                    let is_behind = !answer.records.is_empty() || answer.behind_ms > 0;
                    if let Some(record) = answer.records.last() {
                        self.last = Some(record.sequence_number.clone());
                        let (stream, shard, records) = (self.name.clone(), self.id, answer.records);
                        if self.events.send(Event::Records { stream, shard, records }).await.is_err() {
                            return Ended::Unheard;
                        }
                    }
                    let Some(next) = answer.next else { return Ended::AtItsEnd(self.id) };
                    iterator = Ok(next);
                    if !is_behind {
                        sleep(self.pause).await;
                    }
                }
                Err(error) if error.class == Class::Final(Thing::Stream) => return Ended::Gone,
                Err(error) => {
                    // Throttling is what other readers of the shard cause, and over in a second.
                    let is_worth_a_note = error.class != Class::Throttled;
                    if is_worth_a_note && self.events.send(Event::Note(error.to_string())).await.is_err() {
                        return Ended::Unheard;
                    }
                    sleep(AGAIN_AFTER).await;
                    iterator = self.iterator().await;
                }
            }
        }
    }

    /// Behind the last record that was given out; or where to begin.
    async fn iterator(&mut self) -> Result<String, CallError> {
        let is_again = std::mem::replace(&mut self.is_begun, true);
        let position = match (&self.last, self.from) {
            (Some(last), _) => Position::After(last),
            (None, From::Oldest) => Position::Oldest,
            // The newest of now is not that of the beginning.
            (None, From::Newest) if is_again => Position::Since(self.since),
            (None, From::Newest) => Position::Latest,
        };
        self.client.shard_iterator(&self.stream, self.id, position).await
    }
}
