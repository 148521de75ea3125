//! How much may be written a day, and how long commits wait for company to keep to it.
//!
//! In: a budget, how much was written so far, kept time. Out: how long a commit lingers; what was written in the last day; whether the
//! budget holds.
//!
//! A bucket that leaks: what is written fills it, seven eighths of the budget run out of it in a day, and the last eighth is what it holds. So
//! no span of 24 hours takes more than the budget as long as the bucket does not run over. Below half of it commits are as they are without
//! a budget; from there to the brim they linger ever longer, up to `BUDGET_LINGER_MAX`. As fewer commits mean fewer bytes, it settles where as
//! much comes in as runs out. What overflows is owed up to another bucket and forgotten beyond: a budget that cannot be held is said, and
//! a journal that was over it is itself again within hours.
//!
//! Invariants: lingering never passes its limit, is zero without a budget, and goes by bytes and time that went by alone; what a life leaves
//! behind for the next says at least as much as was written, so lives that end early gain nothing.
//! Not here: who lingers (`journal`), clocks (`kept`), where the state is stored (`core::pace`).

mod day;
mod stored;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;
use std::time::Duration;

use self::day::Day;
pub(crate) use self::stored::Stored;
use crate::limits::{BUDGET_LINGER_MAX, BUDGET_LINGER_MIN};
use crate::types::{Standing, WriteBudget};

const DAY_MS: u64 = 24 * 3_600_000;

/// One part in so many of a budget is what the bucket holds; the others run out in a day.
const PARTS: u64 = 8;

/// What a byte weighs in the bucket, so that what runs out in one millisecond is a whole number.
const BYTE: i128 = (PARTS * DAY_MS) as i128;

/// One part in so many of the bucket is what a stored state is ahead of what was written: so often it is stored again, along with records.
const AHEAD: u64 = 16;

/// Percent of the budget in the last day from which on it is nearly spent, and below which it is not any more.
const NEAR_PERCENT: (u64, u64) = (80, 70);

/// Percent of the budget in the last day below which it holds again. Above what a journal takes that is held just so.
const HOLDS_PERCENT: u64 = 90;

/// See the module.
pub(crate) struct Budget {
    limit: Option<NonZeroU64>,
    /// Kept time and bytes written at the last look.
    at_ms: u64,
    written: u64,
    /// What is in the bucket, in parts of a byte; up to two buckets.
    level: i128,
    /// Bytes that were written since the state was stored; as many as the state is ahead before the first one of a life.
    unsaid: u64,
    linger_ms: u64,
    standing: Standing,
    day: Day,
}

impl Budget {
    /// Goes on where the life before ended, at kept time `now_ms`.
    pub(crate) fn resume(limit: Option<NonZeroU64>, stored: Option<Stored>, now_ms: u64) -> Self {
        let stored = stored.unwrap_or(Stored { level_bytes: 0, at_ms: now_ms, day: Day::begin(now_ms) });
        let mut budget = Self {
            limit,
            // After a crash kept time may be somewhat behind: nothing ran out meanwhile.
            at_ms: stored.at_ms.min(now_ms),
            written: 0,
            level: i128::from(stored.level_bytes).saturating_mul(BYTE),
            unsaid: u64::MAX,
            linger_ms: 0,
            standing: Standing::Holds,
            day: stored.day,
        };
        budget.day.not_after(now_ms);
        budget.level = budget.level.min(2 * budget.bucket());
        budget.look(now_ms, 0);
        budget
    }

    /// Notes that `written` bytes were written since the start of this life, at kept time `now_ms`.
    pub(crate) fn look(&mut self, now_ms: u64, written: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        let bytes = written.saturating_sub(self.written);
        (self.at_ms, self.written) = (self.at_ms.max(now_ms), self.written.max(written));
        self.day.look(self.at_ms, bytes);
        let Some(limit) = self.limit else { return };
        let leak = i128::from(limit.get()).saturating_mul(i128::from(PARTS - 1));
        self.level = (self.level - leak.saturating_mul(i128::from(elapsed_ms))).max(0);
        self.level = (self.level + i128::from(bytes).saturating_mul(BYTE)).min(2 * self.bucket());
        self.unsaid = self.unsaid.saturating_add(bytes);
        self.linger_ms = self.linger();
        self.standing = self.standing(limit.get());
    }

    /// Goes by another budget, or by none. What was written stays written; no more of it counts than the new bucket holds.
    pub(crate) fn set(&mut self, limit: Option<NonZeroU64>) {
        if self.limit == limit {
            return;
        }
        self.limit = limit;
        self.level = if limit.is_some() { self.level.min(self.bucket()) } else { 0 };
        (self.unsaid, self.linger_ms, self.standing) = (u64::MAX, 0, Standing::Holds);
        self.look(self.at_ms, self.written);
    }

    /// What the bucket holds.
    fn bucket(&self) -> i128 {
        self.limit.map_or(0, |limit| i128::from(limit.get()).saturating_mul(i128::from(DAY_MS)))
    }

    /// How long commits linger at this level. Falls later than it rises, so that it does not waver with every commit.
    fn linger(&self) -> u64 {
        let (bucket, before) = (self.bucket(), self.linger_ms);
        let (begins, ends) = (bucket / 2, bucket / 4);
        if self.level <= if before == 0 { begins } else { ends } {
            return 0;
        }
        let part = (self.level - begins).clamp(0, bucket - begins);
        // Its square: what little must be saved is saved where nobody notices, and half of all commits at a hundredth of a second.
        let permille = u64::try_from(part * 1_000 / (bucket - begins).max(1)).unwrap_or(1_000);
        let (least, most) = (ms(BUDGET_LINGER_MIN), ms(BUDGET_LINGER_MAX));
        let wanted = (most * permille * permille / 1_000_000).clamp(least, most);
        if wanted > before || wanted * 4 <= before * 3 { wanted } else { before }
    }

    fn standing(&self, limit: u64) -> Standing {
        let (day, bucket) = (self.day.bytes(self.at_ms), self.bucket());
        let above = |percent: u64| u128::from(day) * 100 > u128::from(limit) * u128::from(percent);
        // Half a bucket over the brim: the longest lingering was not enough.
        if above(100) || 2 * self.level >= 3 * bucket {
            return Standing::Exceeded;
        }
        if self.standing == Standing::Exceeded && (above(HOLDS_PERCENT) || self.level >= bucket) {
            return Standing::Exceeded;
        }
        let near = if self.standing == Standing::Holds { NEAR_PERCENT.0 } else { NEAR_PERCENT.1 };
        if above(near) { Standing::Near } else { Standing::Holds }
    }

    /// How long commits linger for the budget's sake.
    pub(crate) fn linger_ms(&self) -> u64 {
        self.linger_ms
    }

    /// Whether the stored state is no longer ahead of what was written: it is to be stored with the next records.
    pub(crate) fn wants_store(&self) -> bool {
        self.limit.is_some_and(|limit| self.unsaid >= ahead(limit))
    }

    /// What to store now: ahead of what was written, so that whatever follows until the next time is in it.
    pub(crate) fn store(&mut self) -> Option<Stored> {
        let limit = self.limit?;
        self.unsaid = 0;
        Some(self.state(ahead(limit)))
    }

    /// What to store at the end of a life in which something was stored: what was written, as nothing follows.
    pub(crate) fn store_at_end(&self) -> Option<Stored> {
        (self.limit.is_some() && self.unsaid < u64::MAX).then(|| self.state(0))
    }

    fn state(&self, ahead: u64) -> Stored {
        let level_bytes = u64::try_from(self.level / BYTE).unwrap_or(u64::MAX).saturating_add(ahead);
        Stored { level_bytes, at_ms: self.at_ms, day: self.day.clone() }
    }

    /// What there is to say.
    pub(crate) fn report(&self) -> WriteBudget {
        WriteBudget {
            bytes_a_day: self.limit,
            day_bytes: self.day.bytes(self.at_ms),
            day: Duration::from_millis(self.day.counted_ms(self.at_ms)),
            linger: Duration::from_millis(self.linger_ms),
            standing: self.standing,
        }
    }
}

/// Bytes that a stored state is ahead.
fn ahead(limit: NonZeroU64) -> u64 {
    limit.get() / PARTS / AHEAD
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
