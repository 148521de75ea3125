//! What the engine and the journal call the same things.
//!
//! In: sets, positions, pages, errors of one. Out: those of the other. Not here: anything that changes.

use crate::names::StreamNumber;
use crate::storage::{AppendError, AppendSet, Extent, Lost, Page, Position, ReadError, Run, ShardKey};
use headwater_journal as journal;

/// Copies `set` into the journal's form, shard by shard: the journal writes one run per batch.
pub(super) fn fill(staged: &mut journal::AppendSet, set: &AppendSet) {
    match set.shards() {
        [] => {}
        [(shard, _)] => {
            staged.batch(key(*shard));
            for record in set.records() {
                staged.record(record.key, record.data);
            }
        }
        shards => {
            let records: Vec<_> = set.records().collect();
            let mut order: Vec<u32> = (0..u32::try_from(records.len()).unwrap_or(u32::MAX)).collect();
            // Stable: records of one shard keep their order.
            order.sort_by_key(|&i| records[i as usize].shard);
            let mut of_shard = order.iter().map(|&i| &records[i as usize]).peekable();
            for (place, (shard, _)) in (0..).zip(shards) {
                staged.batch(key(*shard));
                while let Some(record) = of_shard.next_if(|record| record.shard == place) {
                    staged.record(record.key, record.data);
                }
            }
        }
    }
    for (key, value) in set.marks() {
        staged.put(key, value, None);
    }
    for key in set.unmarks() {
        staged.delete(key, None);
    }
}

pub(super) fn page(page: journal::Page) -> Page {
    let lost = |gap: journal::LostRange| Lost { first: at(gap.first), last: at(gap.last) };
    Page {
        runs: page.runs.into_iter().map(|run| Box::new(run) as Box<dyn Run>).collect(),
        lost: page.gaps.into_iter().map(lost).collect(),
        next: at(page.next),
        end: at(page.end),
        newest_ms: (page.newest_ms > 0).then_some(page.newest_ms),
    }
}

pub(super) fn extent(bounds: journal::Bounds, lost: &[journal::LostRange]) -> Extent {
    let counted = |position: u64| position.saturating_sub(journal::FIRST_SEQUENCE);
    let kept = |range: &journal::LostRange| (range.last + 1).saturating_sub(range.first.max(bounds.first));
    Extent {
        appended: counted(bounds.end),
        gone: counted(bounds.first),
        damaged: lost.iter().map(kept).sum(),
        end: at(bounds.end),
    }
}

pub(super) fn nothing(from: u64) -> Page {
    Page { runs: Vec::new(), lost: Vec::new(), next: at(from), end: at(from), newest_ms: None }
}

pub(super) fn unreadable(shard: ShardKey, error: &journal::ReadError) -> ReadError {
    let key = match error {
        journal::ReadError::KeyUnknown { key_id, .. } | journal::ReadError::KeyWrong { key_id, .. } => {
            Some(*key_id)
        }
        _ => None,
    };
    ReadError { shard, reason: error.to_string(), key }
}

pub(super) fn refusal(error: journal::AppendError) -> AppendError {
    match error {
        journal::AppendError::Full => AppendError::Full,
        journal::AppendError::Busy { .. } => AppendError::Busy,
        journal::AppendError::TooLarge { found, limit, .. } => AppendError::TooLarge { found, limit },
        journal::AppendError::Refused { shard, .. } => AppendError::Sealed(ours(shard)),
        journal::AppendError::NoKey { shard, .. } => AppendError::NoKey(ours(shard)),
        // Appends of records expect no versions; changes of metadata look at a conflict before they come here.
        error @ (journal::AppendError::Conflict { .. } | journal::AppendError::Failed(_)) => {
            AppendError::Failed(error.to_string())
        }
    }
}

pub(super) fn ours(shard: journal::ShardKey) -> ShardKey {
    ShardKey { stream: StreamNumber(shard.stream), shard: crate::names::ShardId(shard.shard) }
}

pub(super) fn key(shard: ShardKey) -> journal::ShardKey {
    journal::ShardKey { stream: shard.stream.0, shard: shard.shard.0 }
}

pub(super) fn at(sequence: u64) -> Position {
    Position { position: sequence, index: 0 }
}

/// The first sequence at or after a position: every record has index 0.
pub(super) fn sequence(position: Position) -> u64 {
    position.position.saturating_add(u64::from(position.index > 0))
}
