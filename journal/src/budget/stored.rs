//! What a life writes down of its budget for the next one.
//!
//! In: bytes of the journal's own metadata. Out: the state, or nothing where they are a newer program's. Not here: what it means (`budget`).

use super::day::Day;
use crate::bytes::Fields;

/// Layout of what is stored.
const VERSION: u8 = 1;

/// The state of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Bytes in the bucket.
    pub(super) level_bytes: u64,
    /// Kept time of it.
    pub(super) at_ms: u64,
    pub(super) day: Day,
}

impl Stored {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.level_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.at_ms.to_le_bytes());
        self.day.encode(&mut bytes);
        bytes
    }

    /// `None` when it is a newer program's, or nonsense: then the budget begins anew.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&VERSION, rest) = bytes.split_first()? else { return None };
        let mut fields = Fields::new(rest);
        Some(Self { level_bytes: fields.u64()?, at_ms: fields.u64()?, day: Day::decode(&mut fields)? })
    }
}
