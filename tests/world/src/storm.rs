//! When which fault comes.
//!
//! In: a seed, time. Out: faults, one after another. Not here: what a fault does ([`crate::world`]).

use crate::chance::Chance;

/// A fault. Times are in ms, `skip` is how many operations of its disk go well before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power of the gateway goes in the middle of an operation of its disk.
    PowerCut { skip: u64, off_ms: u64 },
    /// The gateway's process is killed.
    Kill { off_ms: u64 },
    /// The gateway is stopped in order and started again.
    Restart { off_ms: u64 },
    /// A flush or a write of the gateway's disk fails.
    DiskError { is_sync: bool, skip: u64, off_ms: u64 },
    /// The gateway's disk has so many bytes left.
    DiskFull { bytes: u64, for_ms: u64 },
    /// A flush of the gateway's disk takes so long.
    SlowDisk { flush_ms: u64, for_ms: u64 },
    /// The gateway's clock is so far ahead from now on.
    Clock { ahead_ms: i64 },
    /// Nobody is at one of the target's addresses, or at both.
    Away { which: Which, for_ms: u64 },
    /// Requests are done and not answered, broken off, answered with 500, or met with silence.
    Weather {
        lose_answer: u64,
        reset: u64,
        error: u64,
        silence: u64,
        cut_answer: u64,
        which: Which,
        for_ms: u64,
    },
    /// The way is slow.
    SlowWay { ms: u64, which: Which, for_ms: u64 },
    /// The target's power goes, or its process.
    TargetEnds { is_cut: bool, off_ms: u64 },
    /// A stream of the target gets so many shards.
    TargetShards { stream: u64, shards: u64 },
    /// A stream of the gateway gets so many shards.
    SourceShards { stream: u64, shards: u64 },
}

/// Of the target's addresses: one, or all.
pub(crate) type Which = Option<usize>;

pub(crate) struct Storm {
    chance: Chance,
    every_ms: u64,
    next_at: u64,
}

impl Storm {
    pub(crate) fn new(chance: Chance, every_ms: u64) -> Self {
        Self { chance, every_ms, next_at: 1_000 }
    }

    /// What happens now, if anything.
    pub(crate) fn poll(&mut self, now: u64) -> Option<Fault> {
        if now < self.next_at {
            return None;
        }
        self.next_at = now + self.chance.below(2 * self.every_ms);
        Some(self.draw())
    }

    fn draw(&mut self) -> Fault {
        let chance = &mut self.chance;
        let off_ms = chance.between(20, 1_500);
        let for_ms = chance.between(200, 5_000);
        match chance.below(16) {
            0 | 1 => Fault::PowerCut { skip: chance.below(30), off_ms },
            2 => Fault::Kill { off_ms },
            3 => Fault::Restart { off_ms },
            4 => Fault::DiskError { is_sync: chance.one_in(2), skip: chance.below(12), off_ms },
            5 => Fault::DiskFull { bytes: chance.below(300 << 10), for_ms },
            6 => Fault::SlowDisk { flush_ms: chance.between(20, 400), for_ms },
            7 => Fault::Clock { ahead_ms: clock(chance) },
            8 => Fault::Away { which: which(chance), for_ms },
            9 | 10 => weather(chance, for_ms),
            11 => Fault::SlowWay { ms: chance.between(20, 3_000), which: which(chance), for_ms },
            12 => Fault::TargetEnds { is_cut: chance.one_in(2), off_ms },
            13 => Fault::TargetShards { stream: chance.draw(), shards: chance.between(1, 7) },
            14 => Fault::SourceShards { stream: chance.draw(), shards: chance.between(1, 7) },
            _ => weather(chance, for_ms),
        }
    }
}

fn which(chance: &mut Chance) -> Which {
    *chance.pick(&[None, None, Some(0), Some(1)])
}

fn weather(chance: &mut Chance, for_ms: u64) -> Fault {
    let which = which(chance);
    let mut often = || if chance.one_in(3) { chance.between(2, 6) } else { 0 };
    Fault::Weather {
        lose_answer: often(),
        reset: often(),
        error: often(),
        silence: often(),
        cut_answer: often(),
        which,
        for_ms,
    }
}

/// ms that a clock may be wrong by: hours, days, or that of a board without a battery.
fn clock(chance: &mut Chance) -> i64 {
    let hour = 3_600_000;
    let since_1970 = i64::try_from(crate::EPOCH_MS).unwrap_or(0);
    *chance.pick(&[0, hour, -hour, 50 * hour, -50 * hour, 30 - since_1970])
}
