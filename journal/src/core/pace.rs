//! The journal's write budget: told what was written, stored along with records, said where it does not hold.
//!
//! In: a budget, the total of written bytes, kept time. Out: how long commits linger, log lines.
//! Invariant: the state is stored in groups that carry something else too: a budget makes no write of its own but the one of a close.
//! Not here: the arithmetic (`budget`), lingering itself (`journal`).

use std::num::NonZeroU64;
use std::sync::atomic::Ordering;

use crate::budget::{Budget, Stored};
use crate::core::meta::own;
use crate::core::{Core, lock};
use crate::set::AppendSet;
use crate::storage::Storage;
use crate::types::{Standing, WriteBudget};

impl<S: Storage> Core<S> {
    /// Goes on where the life before ended.
    pub(super) fn resume_budget(&mut self) {
        let stored = self.queue.look(|staged| staged.meta.get(own::BUDGET).map(|meta| meta.value.clone()));
        let stored = stored.and_then(|bytes| Stored::decode(&bytes));
        let now_ms = self.kept_ms.load(Ordering::Relaxed);
        *lock(&self.budget) = Budget::resume(self.config.write_budget, stored, now_ms);
        self.look_at_budget();
    }

    /// Goes by another [budget](crate::Config::write_budget) from now on, or by none. What was written lately counts, up to an eighth of the
    /// new budget.
    pub fn set_write_budget(&self, bytes_a_day: Option<NonZeroU64>) {
        lock(&self.budget).set(bytes_a_day);
        self.look_at_budget();
    }

    /// What was written lately and what the budget makes of it, as of the last second.
    pub fn write_budget(&self) -> WriteBudget {
        lock(&self.budget).report()
    }

    /// Notes what was written, and what follows for the next commits.
    pub(super) fn look_at_budget(&self) {
        let (now_ms, written) = (self.kept_ms.load(Ordering::Relaxed), self.totals.bytes_written.get());
        let mut budget = lock(&self.budget);
        let before = budget.report();
        budget.look(now_ms, written);
        let now = budget.report();
        self.linger_ms.store(budget.linger_ms(), Ordering::Relaxed);
        self.budget_due.store(budget.wants_store(), Ordering::Relaxed);
        drop(budget);
        tell(&before, &now);
    }

    /// Stages the state behind an append, so that it goes out with it.
    pub(super) fn store_budget(&self, now_ms: u64) {
        if !self.budget_due.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut budget = lock(&self.budget);
        budget.look(self.kept_ms.load(Ordering::Relaxed), self.totals.bytes_written.get());
        if let Some(state) = budget.store() {
            self.stage_budget(&state, now_ms);
        }
    }

    /// Stages what was written in the end, if this life stored anything of it.
    pub(super) fn store_budget_at_end(&self) {
        let mut budget = lock(&self.budget);
        budget.look(self.kept_ms.load(Ordering::Relaxed), self.totals.bytes_written.get());
        if let Some(state) = budget.store_at_end() {
            self.stage_budget(&state, self.newest_ms.load(Ordering::Relaxed));
        }
    }

    fn stage_budget(&self, state: &Stored, now_ms: u64) {
        let mut set = AppendSet::new();
        set.put(own::BUDGET, &state.encode(), None);
        self.append_own(&set, now_ms);
    }
}

/// Says once what has become of the budget.
fn tell(before: &WriteBudget, now: &WriteBudget) {
    let Some(budget_bytes) = now.bytes_a_day.filter(|_| before.standing != now.standing) else { return };
    let (day_bytes, linger_ms) = (now.day_bytes, now.linger.as_millis());
    match now.standing {
        Standing::Exceeded => tracing::warn!(
            budget_bytes,
            day_bytes,
            linger_ms,
            "more is written than the write budget allows, although commits wait as long as they may; allow more, or send less"
        ),
        Standing::Near if before.standing == Standing::Holds => tracing::warn!(
            budget_bytes,
            day_bytes,
            linger_ms,
            "80 % of the write budget were written within a day; commits wait longer from here on; allow more, or send less"
        ),
        Standing::Holds | Standing::Near => {
            tracing::info!(budget_bytes, day_bytes, linger_ms, "the write budget holds again");
        }
    }
}
