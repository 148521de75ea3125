//! A group while it is filled, and while it waits for the leader.
//!
//! In: chunks of encoded records, runs copied as they are. Out: the same in the order of staging, with totals.
//! Invariant: `size` is what the writer will write of it before padding, or more where runs are compressed.
//! Not here: who fills it (`stage`), the order of runs (`writer`).

use std::collections::BTreeMap;

use super::Seal;
use crate::ShardKey;
use crate::format::body::SEAL_BYTES;
use crate::format::group::{HEAD_BYTES, RUN_HEADER_BYTES, RunHeader};
use crate::format::index;

/// A group being filled or waiting for the leader.
#[derive(Default)]
pub(crate) struct Building {
    pub(in crate::core) number: u64,
    /// Whether it opens a new segment.
    pub(in crate::core) rolls: bool,
    pub(in crate::core) bytes: Vec<u8>,
    pub(in crate::core) chunks: Vec<Chunk>,
    /// Runs copied from old segments as they are, with their shard's slot; their `offset` is into `bytes`.
    pub(in crate::core) copied: Vec<(RunHeader, u32)>,
    pub(in crate::core) runs: u32,
    pub(in crate::core) records: u64,
    pub(in crate::core) received: u64,
    pub(in crate::core) wall_ms: u64,
    /// Planned segment it stands in.
    pub(in crate::core) segment: u64,
    /// What streams with runs in it are sealed with, and how many runs that are.
    pub(in crate::core) seals: BTreeMap<u32, Seal>,
    pub(in crate::core) sealed: u32,
    /// Bytes written of it, padding included; 0 before.
    pub(in crate::core) written: usize,
}

/// Records of one shard inside `Building::bytes`, encoded whole.
#[derive(Clone, Copy)]
pub(in crate::core) struct Chunk {
    pub(in crate::core) key: ShardKey,
    pub(in crate::core) first: u64,
    pub(in crate::core) time_ms: u64,
    pub(in crate::core) slot: u32,
    pub(in crate::core) count: u32,
    pub(in crate::core) start: u32,
    pub(in crate::core) len: u32,
}

impl Building {
    /// Bytes of the group without padding, at most.
    pub(in crate::core) fn size(&self) -> usize {
        HEAD_BYTES + index(self.runs) * RUN_HEADER_BYTES + index(self.sealed) * SEAL_BYTES + self.bytes.len()
    }
}
