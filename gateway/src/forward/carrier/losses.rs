//! Losses of a sink, and what is written down of them: loss is data.
//!
//! In: how far shards came, ranges of records that the sink does without. Out: notes for the stream of the dead letters. Invariants: a
//! note is stored in one commit with the cursor that says that it is written, so a crash neither forgets a loss nor tells it twice;
//! and no loss is told that a crash could take back. Where that stream takes nothing (a full disk), the cursor is stored alone, and
//! the note later, also by the next start, then without its ranges.

use super::Tools;
use super::events::{Event, append};
use super::sources::Sources;
use crate::forward::counters::reason_name;
use crate::forward::cursor::{self, Noted};
use crate::forward::limits;
use headwater_engine::storage::{AppendError, Position};
use headwater_engine::{EngineBatch, Origin, ShardId, StreamHandle};
use headwater_relay::{DropReason, Offset, Progress, ProgressDue, SourceId};
use std::collections::BTreeMap;
use std::ops::Range;
use tokio::time::sleep;

/// What is known of losses.
#[derive(Default)]
pub(super) struct Losses {
    noted: BTreeMap<SourceId, Noted>,
    /// What was lost and is not on its way to be written down.
    ranges: BTreeMap<SourceId, Vec<(DropReason, Range<Offset>)>>,
}

/// Records that were lost for one reason.
pub(super) struct Loss {
    reason: DropReason,
    count: u64,
    total: u64,
    ranges: Vec<Range<Offset>>,
}

/// Stores a cursor, and with it what is to be written down of losses; `before`: what was.
pub(super) async fn store(
    tools: Tools,
    stream: StreamHandle,
    shard: ShardId,
    due: ProgressDue,
    (before, losses): (Noted, Vec<Loss>),
) -> Event {
    let key = cursor::key_of(&tools.settings.name, stream.number(), shard);
    let dropped = due.progress.ledger.dropped;
    let batch = |noted: &Noted| {
        let mut batch = tools.engine.batch();
        batch.set_origin(Origin::Sinks);
        batch.mark(&key, &cursor::encode(&due.progress, noted));
        batch
    };
    losses.iter().for_each(|loss| loss.say(&tools, &stream, shard));
    // Of the stream of dead letters itself a note would be the next record that is lost.
    let is_told = losses.is_empty() || tools.letters.is(&stream);
    let mut noted = if is_told { dropped } else { before };
    let mut stored = None;
    if !is_told {
        let notes = losses.iter().map(|loss| loss.note(&tools, &stream, shard));
        stored = with_notes(&tools, batch(&dropped), notes.collect()).await;
        if stored.is_some() {
            noted = dropped;
        }
    }
    let is_stored = match stored {
        Some(is_stored) => is_stored,
        None => append(&tools, &batch(&noted)).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a sink's cursor is not stored");
            false
        }),
    };
    if is_stored && tools.settings.required {
        tools.holds.hold(&tools.settings.name, &stream, shard, due.progress.checkpoint.0);
    }
    Event::ProgressStored(due, is_stored.then_some(noted))
}

/// Appends a cursor with notes of losses; false when the log has stopped, none when it takes no records now.
async fn with_notes(tools: &Tools, mut batch: EngineBatch, notes: Vec<(String, Vec<u8>)>) -> Option<bool> {
    let letters = tools.letters.stream().await.ok()?;
    for (key, note) in &notes {
        batch.put(&letters, key, None, note).ok()?;
    }
    loop {
        match tools.engine.append(&batch) {
            Ok(commit) => return Some(commit.await.is_ok()),
            Err(AppendError::Busy) => sleep(limits::LOG_PAUSE).await,
            Err(AppendError::Failed(_)) => return Some(false),
            Err(error) => {
                tracing::warn!(%error, "a loss is not written down, trying again");
                return None;
            }
        }
    }
}

impl Losses {
    /// What is written down of a shard's losses.
    pub(super) fn noted(&self, source: SourceId) -> Noted {
        self.noted.get(&source).copied().unwrap_or_default()
    }

    /// So much of a shard's losses is written down.
    pub(super) fn handle_noted(&mut self, source: SourceId, noted: Noted) {
        self.noted.insert(source, noted);
    }

    pub(super) fn forget(&mut self, source: SourceId) {
        self.noted.remove(&source);
        self.ranges.remove(&source);
    }

    /// A sink does without this range.
    pub(super) fn add(&mut self, source: SourceId, reason: DropReason, range: Range<Offset>) {
        let ranges = self.ranges.entry(source).or_default();
        let goes_on =
            |(last, known): &&mut (DropReason, Range<Offset>)| *last == reason && known.end == range.start;
        if let Some((_, known)) = ranges.last_mut().filter(goes_on) {
            known.end = range.end;
        } else if ranges.len() < limits::LOSS_RANGES_MAX {
            // What is told is the number; ranges are a help, and there may be as many as damaged places.
            ranges.push((reason, range));
        }
    }

    /// What is to be written down with this progress.
    pub(super) fn due(&mut self, source: SourceId, progress: &Progress) -> Vec<Loss> {
        let noted = self.noted(source);
        let dropped = progress.ledger.dropped;
        let mut due = Vec::new();
        for (reason, (total, noted)) in DropReason::ALL.iter().zip(dropped.iter().zip(noted)) {
            let count = total.saturating_sub(noted);
            if count > 0 {
                let ranges = self.take(source, *reason, progress);
                due.push(Loss { reason: *reason, count, total: *total, ranges });
            }
        }
        due
    }

    fn take(&mut self, source: SourceId, reason: DropReason, progress: &Progress) -> Vec<Range<Offset>> {
        let Some(ranges) = self.ranges.get_mut(&source) else { return Vec::new() };
        let is_told = |range: &Range<Offset>| {
            range.start < progress.checkpoint || progress.done.iter().any(|done| done.contains(&range.start))
        };
        let taken = ranges.extract_if(.., |(of, range)| *of == reason && is_told(range));
        taken.map(|(_, range)| range).collect()
    }
}

impl Loss {
    /// The note: its key, and JSON. `total` is what the sink lost of this shard for this reason since it began with it.
    pub(super) fn note(&self, tools: &Tools, stream: &StreamHandle, shard: ShardId) -> (String, Vec<u8>) {
        let named = Sources::named(stream, shard);
        let number = |offset: u64| {
            let position = Position { position: offset, index: 0 };
            named.as_ref().map(|shard| tools.engine.number_of(stream, shard, position).to_string())
        };
        let range = |range: &Range<Offset>| {
            let (first, last) = (range.start.0, range.end.0.saturating_sub(1));
            serde_json::json!({ "first": number(first), "last": number(last) })
        };
        let note = serde_json::json!({
            "kind": "dropped",
            "sink": tools.settings.name,
            "stream": stream.name().as_str(),
            "shard": shard.to_string(),
            "reason": reason_name(self.reason),
            "count": self.count,
            "total": self.total,
            "ranges": self.ranges.iter().map(range).collect::<Vec<_>>(),
        });
        (stream.name().to_string(), note.to_string().into_bytes())
    }

    /// Says it to whoever reads the log of this program.
    pub(super) fn say(&self, tools: &Tools, stream: &StreamHandle, shard: ShardId) {
        tracing::error!(
            sink = tools.settings.name, stream = %stream.name(), %shard, reason = reason_name(self.reason),
            count = self.count, "records are lost to a sink"
        );
    }
}
