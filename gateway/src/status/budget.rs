//! What is written to the disk, and the budget for it.
//!
//! In: what the journal says of its budget. Out: the same for `/health`, `/metrics` and the status page, and in words what to do. Not here: holding it (the journal).

use super::metrics::Text;
use super::page::escaped;
use crate::words::{bytes, span};
use headwater_journal::{BudgetStanding, WriteBudget};
use serde_json::json;
use std::num::NonZeroU64;

const STATES: [(&str, BudgetStanding); 3] = [
    ("holds", BudgetStanding::Holds),
    ("near", BudgetStanding::Near),
    ("exceeded", BudgetStanding::Exceeded),
];

pub(super) fn json(budget: &WriteBudget) -> serde_json::Value {
    json!({
        "bytes_a_day": budget.bytes_a_day,
        "day_bytes": budget.day_bytes,
        "counted_s": budget.day.as_secs(),
        "linger_ms": budget.linger.as_millis(),
        "state": budget.bytes_a_day.map(|_| word(budget.standing)),
        "warning": warning(budget),
    })
}

/// What was written lately, of what, and whether commits wait for it; for people.
pub(super) fn html(budget: &WriteBudget) -> String {
    let counted = u64::try_from(budget.day.as_millis()).unwrap_or(u64::MAX);
    let written = format!("{} in {}", bytes(budget.day_bytes), span(counted));
    let Some(limit) = budget.bytes_a_day.map(NonZeroU64::get) else {
        return format!("{written}; there is no budget (<code>journal.write_budget</code>)");
    };
    let percent = u128::from(budget.day_bytes) * 100 / u128::from(limit.max(1));
    let waits = match budget.linger.as_millis() {
        0 => "commits do not wait for it".to_owned(),
        ms => format!("commits wait up to {ms} ms to hold it"),
    };
    // Yellow from 80 % on, red when it is spent.
    let (value, near, spent) = (budget.day_bytes.min(limit), limit / 5 * 4, limit - 1);
    let meter = format!(
        "<meter min=\"0\" max=\"{limit}\" optimum=\"0\" low=\"{near}\" high=\"{spent}\" value=\"{value}\"></meter>"
    );
    let warning =
        warning(budget).map(|warning| format!("<br><b>{}</b>", escaped(warning))).unwrap_or_default();
    format!("{meter} {written} of {} a day, {percent} %; {waits}{warning}", bytes(limit))
}

fn word(standing: BudgetStanding) -> &'static str {
    STATES.iter().find(|(_, state)| *state == standing).map_or("holds", |(word, _)| word)
}

/// What is the matter and what to change, if anything is.
fn warning(budget: &WriteBudget) -> Option<&'static str> {
    budget.bytes_a_day?;
    match budget.standing {
        BudgetStanding::Holds => None,
        BudgetStanding::Near => Some(
            "80 % of the write budget were written in 24 hours; raise journal.write_budget, or send fewer or smaller messages",
        ),
        BudgetStanding::Exceeded => Some(
            "more is written than journal.write_budget allows, although writes wait as long as they may; raise it, or send fewer or smaller messages",
        ),
    }
}

pub(super) fn render(out: &mut Text, budget: &WriteBudget) {
    let help = "Bytes written to the disk in the last 24 hours.";
    out.metric("headwater_journal_written_day_bytes", "gauge", help, budget.day_bytes);
    let Some(bytes_a_day) = budget.bytes_a_day else { return };
    out.metric(
        "headwater_journal_write_budget_bytes",
        "gauge",
        "Bytes that may be written a day.",
        bytes_a_day,
    );
    let help = "How much longer a commit waits for company to hold the budget.";
    let linger_s = budget.linger.as_secs_f64();
    out.metric("headwater_journal_write_budget_linger_seconds", "gauge", help, linger_s);
    let name = "headwater_journal_write_budget_state";
    out.head(name, "gauge", "1 for the state the budget is in.");
    for (word, state) in STATES {
        out.labelled(name, &[("state", word)], u8::from(state == budget.standing));
    }
}
