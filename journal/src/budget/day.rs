//! What was written in the last 24 hours.
//!
//! In: bytes and kept time. Out: their sum over a day that goes along; by the hour, so the oldest hour counts as far as it is still in it.
//! Not here: what it means for a budget (`budget`).

use crate::bytes::Fields;

pub(super) const HOUR_MS: u64 = 3_600_000;

/// Full hours, and the one that goes on.
const HOURS: usize = 25;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Day {
    /// Since when bytes are counted.
    since_ms: u64,
    /// Number of the hour that goes on, since 1970 in kept time.
    hour: u64,
    /// Bytes of that hour and those before it, newest first.
    bytes: [u64; HOURS],
}

impl Day {
    pub(crate) fn begin(now_ms: u64) -> Self {
        Self { since_ms: now_ms, hour: now_ms / HOUR_MS, bytes: [0; HOURS] }
    }

    /// Time may be somewhat behind after a crash; what was counted then counts for the hour it is now.
    pub(super) fn not_after(&mut self, now_ms: u64) {
        self.hour = self.hour.min(now_ms / HOUR_MS);
        self.since_ms = self.since_ms.min(now_ms);
    }

    pub(super) fn look(&mut self, now_ms: u64, bytes: u64) {
        let hour = now_ms / HOUR_MS;
        let gone = usize::try_from(hour.saturating_sub(self.hour)).unwrap_or(HOURS).min(HOURS);
        if gone > 0 {
            self.hour = hour;
            self.bytes.copy_within(..HOURS - gone, gone);
            self.bytes[..gone].fill(0);
        }
        self.bytes[0] = self.bytes[0].saturating_add(bytes);
    }

    /// Bytes of the 24 hours before `now_ms`.
    pub(super) fn bytes(&self, now_ms: u64) -> u64 {
        let (whole, oldest) = (&self.bytes[..HOURS - 1], self.bytes[HOURS - 1]);
        let left_ms = HOUR_MS - now_ms % HOUR_MS;
        let part = u128::from(oldest) * u128::from(left_ms) / u128::from(HOUR_MS);
        let part = u64::try_from(part).unwrap_or(u64::MAX);
        whole.iter().fold(part, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// How much of these 24 hours was counted.
    pub(super) fn counted_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.since_ms).min(24 * HOUR_MS)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for number in [self.since_ms, self.hour].iter().chain(&self.bytes) {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (since_ms, hour, mut bytes) = (fields.u64()?, fields.u64()?, [0; HOURS]);
        for hour in &mut bytes {
            *hour = fields.u64()?;
        }
        Some(Self { since_ms, hour, bytes })
    }
}
