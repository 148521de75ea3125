//! What a carrier waits for: each is a task that ends with an [`Event`].

use super::{Carrier, Tools};
use crate::forward::cursor::Noted;
use crate::forward::kept;
use crate::forward::limits;
use crate::forward::target::{self, Target};
use headwater_aws::{CallError, PutAnswer, RecordOutcome};
use headwater_engine::storage::{AppendError, Cursor, Page, Position, ReadError};
use headwater_engine::{EngineBatch, Origin, ShardId, StreamHandle};
use headwater_relay::{Call, DropReason, Offset, ProgressDue, Read, RecordRef, SendOutcome, SourceId};
use tokio::task::JoinError;
use tokio::time::{Instant, sleep};

/// Something that a carrier waited for.
pub(super) enum Event {
    /// A page was read, and where the oldest record is that is still kept.
    Read(Read, Result<(Page, Offset), ReadError>),
    /// A call has ended.
    Sent(Box<Call>, Result<PutAnswer, CallError>),
    /// A dead letter is durable, or the log has stopped.
    LetterStored(RecordRef, bool),
    /// A cursor is durable with the losses that are written down by now, or the log has stopped.
    ProgressStored(ProgressDue, Option<Noted>),
    /// The target was looked at.
    Looked(Result<Target, CallError>),
    /// A shard that was watched has records up to here.
    Grown(ShardId, u64),
    /// A shard that could not be read may be asked again; it has records up to here.
    Readable(ShardId, u64),
    /// Time to try again.
    Again,
}

pub(super) async fn read(tools: Tools, stream: StreamHandle, shard: ShardId, read: Read) -> Event {
    let from = Position { position: read.from.0, index: 0 };
    let bytes = usize::try_from(read.bytes_max).unwrap_or(usize::MAX);
    let both = async {
        let page = tools.engine.read(&stream, shard, from, (read.records_max, bytes)).await?;
        let oldest = tools.engine.locate(&stream, shard, Cursor::TrimHorizon).await?;
        Ok((page, Offset(oldest.position)))
    };
    Event::Read(read, both.await)
}

/// Waits until a shard has records from `tail` on.
pub(super) async fn watch(tools: Tools, stream: StreamHandle, shard: ShardId, tail: u64) -> Event {
    let grown = tools.engine.wait(&stream, shard, Position { position: tail, index: 0 }).await;
    if grown.is_err() {
        // The log has stopped; whoever runs the gateway sees that elsewhere.
        std::future::pending::<()>().await;
    }
    match tools.engine.locate(&stream, shard, Cursor::Latest).await {
        Ok(end) => Event::Grown(shard, end.position),
        Err(error) => {
            tracing::warn!(stream = %stream.name(), %shard, %error, "shard cannot be watched, trying again");
            sleep(limits::LOG_PAUSE).await;
            Event::Grown(shard, tail)
        }
    }
}

/// Waits a moment, and looks how far a shard goes.
async fn ask_again(tools: Tools, stream: StreamHandle, shard: ShardId) -> Event {
    loop {
        sleep(limits::LOG_PAUSE).await;
        if let Ok(end) = tools.engine.locate(&stream, shard, Cursor::Latest).await {
            return Event::Readable(shard, end.position);
        }
    }
}

/// Appends until it is taken; false when the log has stopped.
///
/// # Errors
/// The log goes on and does not take this.
pub(super) async fn append(tools: &Tools, batch: &EngineBatch) -> Result<bool, AppendError> {
    loop {
        match tools.engine.append(batch) {
            Ok(commit) => return Ok(commit.await.is_ok()),
            Err(AppendError::Full | AppendError::Busy | AppendError::NoKey(_)) => {
                sleep(limits::LOG_PAUSE).await
            }
            Err(error @ AppendError::Failed(_)) => {
                tracing::error!(%error, "a sink's cursor or dead letter is not stored");
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
}

pub(super) async fn put_letter(tools: Tools, letter: (String, Vec<u8>), record: RecordRef) -> Event {
    Event::LetterStored(record, put_json(&tools, &letter).await)
}

/// Puts a letter until it is taken; false when the log has stopped.
async fn put_json(tools: &Tools, (key, letter): &(String, Vec<u8>)) -> bool {
    // A disk that is full makes thousands of letters wait: once is enough to say.
    let mut is_said = false;
    loop {
        let mut batch = tools.engine.batch();
        batch.set_origin(Origin::Sinks);
        let refused = match tools.letters.stream().await {
            Ok(stream) => match batch.put(&stream, key, None, letter) {
                Ok(()) => match append(tools, &batch).await {
                    Ok(is_stored) => return is_stored,
                    // The stream was deleted meanwhile: it is made anew.
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        if !std::mem::replace(&mut is_said, true) {
            tracing::error!(error = refused, "dead letter is not taken, trying again");
        }
        sleep(limits::LOG_PAUSE).await;
    }
}

impl Carrier {
    pub(super) fn handle_joined(&mut self, event: Result<Event, JoinError>) {
        match event {
            Ok(event) => self.handle_event(event),
            // Nobody needs to watch a shard that has ended.
            Err(error) if error.is_cancelled() => {}
            // What it was to settle is open for ever now: another carrier begins anew where this one came to.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    pub(super) fn handle_event(&mut self, event: Event) {
        let now_ms = self.clock.now_ms();
        match event {
            Event::Read(read, outcome) => self.handle_read(&read, outcome, now_ms),
            Event::Sent(call, outcome) => self.handle_sent(&call, outcome, now_ms),
            Event::LetterStored(record, is_stored) => {
                if is_stored && self.forwarding.handle_dead_letter_stored(record).is_ok() {
                    self.kept.remove(record.source, record.offset);
                }
            }
            Event::ProgressStored(due, noted) => {
                if let Some(noted) = noted {
                    self.sources.losses.handle_noted(due.source, noted);
                }
                if let Some(next) = self.sources.handle_stored(due.source) {
                    self.spawn_store(next);
                }
                if noted.is_some() {
                    self.kept.remove_before(due.source, due.progress.checkpoint);
                    let told = self.forwarding.handle_progress_stored(due.source, due.version, now_ms);
                    debug_assert!(
                        told.is_ok() || due.version > 0,
                        "sources are forgotten after their progress is stored"
                    );
                }
            }
            Event::Looked(outcome) => self.handle_looked(outcome, now_ms),
            Event::Grown(shard, tail) => {
                let whose = (&self.tools, &self.stream);
                self.sources.handle_grown(whose, shard, tail, &mut self.forwarding, &mut self.tasks, now_ms);
            }
            Event::Readable(shard, tail) => {
                let told = self.forwarding.handle_tail(SourceId(shard.0), Offset(tail), now_ms);
                debug_assert!(told.is_ok(), "a source is not forgotten while it is read");
            }
            Event::Again => self.sources.handle_again(),
        }
    }

    fn handle_read(&mut self, read: &Read, outcome: Result<(Page, Offset), ReadError>, now_ms: u64) {
        let (page, oldest) = match outcome {
            Ok(read) => read,
            Err(error) => {
                let shard = self.sources.shard(read.source);
                if self.sources.note_readable(shard, false) {
                    tracing::warn!(sink = self.tools.settings.name, stream = %self.stream.name(), %error, "shard cannot be read, trying again");
                }
                if let Err(error) = self.forwarding.handle_records(read, &[], read.from, now_ms) {
                    tracing::debug!(%error, "a read was answered meanwhile");
                }
                self.tasks.spawn(ask_again(self.tools.clone(), self.stream.clone(), shard));
                return;
            }
        };
        let shard = self.sources.shard(read.source);
        if self.sources.note_readable(shard, true) {
            tracing::info!(sink = self.tools.settings.name, stream = %self.stream.name(), %shard, "shard can be read again");
        }
        if oldest > read.from {
            // They were older than the stream keeps records, before the sink came to them.
            self.drop_before(read.source, oldest, DropReason::Age);
            tracing::error!(
                sink = self.tools.settings.name, stream = %self.stream.name(), shard = %self.sources.shard(read.source),
                from = read.from.0, to = oldest.0, "records expired before they were delivered"
            );
            return;
        }
        for lost in &page.lost {
            tracing::error!(
                sink = self.tools.settings.name, stream = %self.stream.name(), shard = %self.sources.shard(read.source),
                first = lost.first.position, last = lost.last.position, "records are lost by damage to the journal"
            );
            let range = Offset(lost.first.position)..Offset(lost.last.position + 1);
            self.sources.losses.add(read.source, DropReason::Damage, range);
        }
        let (records, payloads, next) = {
            let wall_ms = self.tools.engine.now_ms();
            kept::take(&page, read, |arrival_ms| kept::carried_ms(arrival_ms, wall_ms, now_ms))
        };
        if let Err(error) = self.forwarding.handle_records(read, &records, next, now_ms) {
            // A read that something else answered meanwhile: what it brought is asked for again where it is needed.
            tracing::debug!(%error, "records of a read are not taken");
        } else {
            self.kept.keep(read.source, &records, payloads);
        }
        let told = self.forwarding.handle_tail(read.source, Offset(page.end.position), now_ms);
        debug_assert!(told.is_ok(), "a known source");
    }

    fn handle_sent(&mut self, call: &Call, outcome: Result<PutAnswer, CallError>, now_ms: u64) {
        let name = &self.tools.settings.name;
        match outcome {
            Ok(answer) => {
                let outcomes = target::outcomes_of(call, &answer);
                let retried =
                    outcomes.iter().filter(|outcome| matches!(outcome, SendOutcome::Retry { .. })).count();
                for (entry, outcome) in call.entries.iter().zip(&outcomes) {
                    for record in &call.records[entry.records.clone()] {
                        if *outcome == SendOutcome::Acked {
                            self.kept.remove(record.source, record.offset);
                        }
                    }
                }
                let mut entries = call.entries.iter().zip(&answer.outcomes);
                if entries.any(|(entry, outcome)| target::is_elsewhere(entry, outcome)) {
                    // At once, but not without end where a target says one thing here and another there.
                    let soonest = self.looked_at.map_or_else(Instant::now, |at| at + limits::LOOK_SOON);
                    self.look_at = self.look_at.min(soonest);
                }
                if let Some(RecordOutcome::Failed { code, message, .. }) =
                    answer.outcomes.iter().find(|outcome| matches!(outcome, RecordOutcome::Failed { .. }))
                {
                    tracing::debug!(sink = name, retried, code, message, "records were not taken");
                }
                let told = self.forwarding.handle_outcomes(call.id, &outcomes, now_ms);
                if let Err(error) = told {
                    tracing::error!(sink = name, %error, "answer does not fit its call");
                }
                self.shown.change(|shown| shown.records_retried += retried as u64);
                match target::refusal_of_all(&answer) {
                    Some(refusal) => self.trouble(&format!(
                        "PutRecords of {} at {}: no record is taken: {refusal}",
                        self.target.as_str(),
                        self.tools.client.endpoint()
                    )),
                    None => self.recovered(),
                }
            }
            Err(error) => {
                if target::is_stale(&error) {
                    self.look_at = self.look_at.min(Instant::now() + limits::LOOK_SOON);
                }
                let told = self.forwarding.handle_call_failed(call.id, target::failure_of(&error), now_ms);
                debug_assert!(told.is_ok(), "a call is settled once");
                self.shown.change(|shown| shown.calls_failed += 1);
                self.trouble(&error.to_string());
            }
        }
    }

    fn handle_looked(&mut self, outcome: Result<Target, CallError>, now_ms: u64) {
        self.looking = false;
        self.looked_at = Some(Instant::now());
        match outcome {
            Ok(target) => {
                // What a call for records said stays until one says otherwise.
                if self.is_look_trouble || self.shown.now().trouble.is_none() {
                    self.recovered();
                }
                let is_settled = self.handle_target(&target, now_ms);
                let again = if is_settled { limits::LOOK_EVERY } else { limits::LOOK_SOON };
                self.look_at = Instant::now() + again;
            }
            Err(error) => {
                self.look_at = Instant::now() + limits::LOOK_SOON;
                self.shown.change(|shown| shown.looks_failed += 1);
                self.trouble(&error.to_string());
                self.is_look_trouble = true;
            }
        }
    }

    /// The target answers.
    fn recovered(&mut self) {
        let was_connected = self.shown.now().is_connected;
        self.shown.change(|shown| (shown.is_connected, shown.trouble) = (true, None));
        self.is_look_trouble = false;
        if !was_connected {
            let name = &self.tools.settings.name;
            tracing::info!(sink = name, stream = %self.stream.name(), target = self.target.as_str(), "target answers");
        }
    }

    /// Says once what is wrong with the way to the target.
    fn trouble(&mut self, text: &str) {
        // Every call has a name of its own at the target, which makes it no other trouble.
        let plain = |text: &str| text.split(" (request ").next().map(str::to_owned);
        let before = self.shown.now().trouble;
        if before.as_deref().and_then(plain) != plain(text) {
            tracing::warn!(sink = self.tools.settings.name, stream = %self.stream.name(), error = text, "target does not take records, they wait");
        }
        self.is_look_trouble = false;
        self.shown.change(|shown| (shown.is_connected, shown.trouble) = (false, Some(text.to_owned())));
    }
}
