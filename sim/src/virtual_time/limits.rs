//! Bounds and paces of fleets in virtual time, each with its reason.

use std::time::Duration;

/// Longest virtual time of sampling: the check remembers when each reading was taken, 4 bytes each.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Worst line: a frame is up to 400 bytes, and of those that are shorter one in two should still arrive.
pub(super) const DAMAGED_1_IN_MIN: u64 = 200;

/// Virtual time between two commits: what arrived meanwhile is stored together. A gateway under load does the same; a
/// device waits 4 s for its ack.
pub(super) const TICK_US: u64 = 250_000;

/// Virtual time that a drain may take: 20 minutes of backlog in the largest ring come one batch a commit.
pub(super) const DRAIN_MAX_US: u64 = 30 * 60 * 1_000_000;

/// Virtual time between two looks of a draining device whether it is done.
pub(super) const DRAIN_LOOK_US: u64 = 500_000;

/// Virtual time between two tries of a device to speak on a line that went silent.
pub(super) const AGAIN_US: u64 = 1_000_000;

/// Time between a restart that somebody asked for and the start.
pub(super) const RESTART_US: u64 = 300_000;

/// Longest time without power.
pub(super) const OFF_US_MAX: u64 = 20_000_000;

/// Mean of most times that a cable is out, and of the long ones, one in four, which fill rings.
pub(super) const OUT_US: u64 = 60_000_000;
/// See [`OUT_US`].
pub(super) const OUT_LONG_US: u64 = 600_000_000;

/// One answer of a receiver in so many is slow, by up to [`SLOW_US_MAX`]: longer than a device waits.
pub(super) const SLOW_1_IN: u64 = 40;
/// See [`SLOW_1_IN`].
pub(super) const SLOW_US_MAX: u64 = 6_000_000;

/// One ack in so many is sent twice.
pub(super) const TWICE_1_IN: u64 = 40;

/// A device that did not say who it is, is asked once in this time.
pub(super) const IDENTIFY_EVERY_US: u64 = 1_000_000;
