//! What a life writes down of its kept time for the next one.
//!
//! In: the state. Out: bytes, and the state again. Nothing needs to be there while the clock is certain and never jumped: that is the
//! default. Bytes: version 1 u8 | certain u8 | kept ms u64 | lead ms i64 | steady ms u64 | young from u64 | jumped by ms i64 |
//! jumped at ms u64 | times off: before segment u64, ms u64, any number. Little-endian.
//! Not here: what the numbers mean for records (`kept`).

use super::{Jump, Off};
use crate::bytes::Fields;

const VERSION: u8 = 1;

/// State that outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Kept time, as it was when this was stored or later.
    pub(crate) kept_ms: u64,
    /// Wall clock minus kept time, when the clock was last certain.
    pub(crate) lead_ms: i128,
    /// Kept time since which arrival times are on one line.
    pub(crate) steady_ms: u64,
    /// Somebody vouched for the wall clock in that life.
    pub(crate) is_certain: bool,
    /// First segment since the clock was last certain.
    pub(crate) young_from: u64,
    pub(crate) jump: Option<Jump>,
    pub(crate) offs: Vec<Off>,
}

impl Default for Stored {
    fn default() -> Self {
        Self {
            kept_ms: 0,
            lead_ms: 0,
            steady_ms: 0,
            is_certain: true,
            young_from: 0,
            jump: None,
            offs: Vec::new(),
        }
    }
}

impl Stored {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let lead_ms =
            i64::try_from(self.lead_ms).unwrap_or(if self.lead_ms < 0 { i64::MIN } else { i64::MAX });
        let jump = self.jump.unwrap_or(Jump { by_ms: 0, at_ms: 0 });
        let mut bytes = vec![VERSION, u8::from(self.is_certain)];
        bytes.extend_from_slice(&self.kept_ms.to_le_bytes());
        bytes.extend_from_slice(&lead_ms.to_le_bytes());
        bytes.extend_from_slice(&self.steady_ms.to_le_bytes());
        bytes.extend_from_slice(&self.young_from.to_le_bytes());
        bytes.extend_from_slice(&jump.by_ms.to_le_bytes());
        bytes.extend_from_slice(&jump.at_ms.to_le_bytes());
        for off in &self.offs {
            bytes.extend_from_slice(&off.before_segment.to_le_bytes());
            bytes.extend_from_slice(&off.ms.to_le_bytes());
        }
        bytes
    }

    /// `None` when it is a newer program's, or nonsense: then the wall clock is all there is.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(2)?;
        if head[0] != VERSION || head[1] > 1 {
            return None;
        }
        let mut fields = Fields::new(rest);
        let (kept_ms, lead_ms) = (fields.u64()?, fields.array().map(i64::from_le_bytes)?);
        let (steady_ms, young_from) = (fields.u64()?, fields.u64()?);
        let jump = Jump { by_ms: fields.array().map(i64::from_le_bytes)?, at_ms: fields.u64()? };
        let count = rest.len().saturating_sub(6 * 8) / 16;
        let off = |_| Some(Off { before_segment: fields.u64()?, ms: fields.u64()? });
        let offs = (0..count).map(off).collect::<Option<_>>()?;
        Some(Self {
            kept_ms,
            lead_ms: lead_ms.into(),
            steady_ms,
            is_certain: head[1] == 1,
            young_from,
            jump: (jump.by_ms != 0).then_some(jump),
            offs,
        })
    }
}
