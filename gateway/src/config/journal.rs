//! `[journal]`: what the journal may use of the disk and of memory, and what an acknowledgement promises.
//!
//! In: the table. Out: [`Journal`]. Not here: what becomes of it (the journal itself).

use super::reader::Placed;
use super::section::Section;
use super::sections::{DAY, GIB, KIB, MIB, SECOND, narrow, size};
use super::types::{DurabilityMode, Journal};
use super::units::{bytes_text, parse_bytes_a_day};
use headwater_journal::limits::UNREAD_PATIENCE;
use std::num::NonZeroU64;
use std::time::Duration;

pub(super) fn journal(mut table: Section<'_, '_>) -> Journal {
    let segment_bytes = table.bytes("segment", 24 * MIB, 4 * MIB..=GIB);
    let size_bytes_max = table.bytes("max", 8 * GIB, MIB..=1_024 * 1_024 * GIB);
    if !segment_bytes.is_multiple_of(4 * KIB) {
        table.wrong(table.line(), "segment", segment_bytes, "a multiple of \"4KiB\"");
    }
    if size_bytes_max < 4 * segment_bytes {
        table.wrong(table.line(), "max", "less than four segments", "at least four times journal.segment");
    }
    let synced = table.choice("durability", "sync", &[("sync", true), ("interval", false)]);
    let sync_every = table.duration("sync_every", SECOND, Duration::from_millis(1)..=60 * SECOND);
    if !synced {
        let expected =
            "\"sync\", for a power cut takes what was acknowledged since the last journal.sync_every";
        table.warn(table.line(), "durability", "\"interval\"", expected);
    }
    let unread_patience = table.duration("unread_patience", UNREAD_PATIENCE, Duration::ZERO..=7 * DAY);
    if unread_patience > START_PATIENCE {
        let found = format!("{} s", unread_patience.as_secs());
        let expected = "at most \"9m\", for a start may wait as long, unless TimeoutStartSec of the service is longer than that";
        table.warn(table.line(), "unread_patience", found, expected);
    }
    let journal = Journal {
        segment_bytes,
        pool_segments: narrow(table.count("pool", 2, 1..=64)),
        size_bytes_max,
        reserve_bytes: table.bytes("reserve", 256 * MIB, 0..=1_024 * GIB),
        staged_bytes_max: size(table.bytes("staged", 8 * MIB, 2 * MIB..=GIB)),
        tail_cache_bytes: size(table.bytes("tail_cache", 4 * MIB, 0..=16 * GIB)),
        linger: table.duration("linger", Duration::ZERO, Duration::ZERO..=10 * SECOND),
        write_budget: write_budget(&mut table, segment_bytes),
        unread_patience,
        durability: if synced { DurabilityMode::Sync } else { DurabilityMode::Interval(sync_every) },
    };
    table.end();
    journal
}

/// The units of the packages allow a start of ten minutes, and it does more than wait.
const START_PATIENCE: Duration = Duration::from_secs(540);

/// From what one commit a minute writes to what no disk does in a day.
const BUDGETS: std::ops::RangeInclusive<u64> = 5_000_000..=100_000_000_000_000;

/// An eighth of a budget is what may be written at once.
const BUDGET_SEGMENTS: u64 = 8;

fn write_budget(table: &mut Section<'_, '_>, segment_bytes: u64) -> Option<NonZeroU64> {
    let expected = format!(
        "bytes a day from \"{}/day\" to \"{}/day\", such as \"300MB/day\"",
        bytes_text(*BUDGETS.start()),
        bytes_text(*BUDGETS.end())
    );
    let parse = |text: &str| parse_bytes_a_day(text).filter(|bytes| BUDGETS.contains(bytes));
    let Placed { value, line } = table.optional("write_budget", &expected, parse)?;
    let least = BUDGET_SEGMENTS * segment_bytes;
    if value < least {
        let (found, least) = (format!("\"{}/day\"", bytes_text(value)), bytes_text(least));
        let expected = format!(
            "at least \"{least}/day\", eight times journal.segment, for each new file of that size is written whole before it is used"
        );
        table.warn(line, "write_budget", found, expected);
    }
    NonZeroU64::new(value)
}
