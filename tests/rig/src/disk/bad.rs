//! Places that a disk does not give back: neither right bytes nor wrong ones, but an error.
//!
//! Always: only reads of the places fail, whoever asks and however often, until they are good again. A write does not heal them: a
//! program that meets one must not rely on being the one that writes there.

use std::ops::Range;

use super::{Disk, SECTOR_BYTES};

/// The bad places of a disk, by file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bad(Vec<(u64, Range<u64>)>);

impl Bad {
    /// These bytes of a file are not read from now on.
    pub(super) fn add(&mut self, node: u64, bytes: Range<u64>) {
        self.0.push((node, bytes));
    }

    /// Everything is read again.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether some of these bytes are not read.
    pub(super) fn meets(&self, node: u64, offset: u64, count: usize) -> bool {
        let end = offset.saturating_add(count as u64);
        self.0.iter().any(|(bad, bytes)| *bad == node && bytes.start < end && offset < bytes.end)
    }
}

impl Disk {
    /// Does not give back the first sector that holds `bytes`, from now on. Its place in its file.
    pub(crate) fn spoil(&mut self, bytes: &[u8]) -> Option<u64> {
        let (node, at) = self.nodes.iter().find_map(|(node, found)| {
            let content = &found.file.as_ref()?.now;
            let all = content.read(0, usize::try_from(content.len()).ok()?);
            Some((*node, all.windows(bytes.len()).position(|part| part == bytes)? as u64))
        })?;
        let (sector, end) = (SECTOR_BYTES as u64, at + bytes.len() as u64);
        self.bad.add(node, at / sector * sector..end.next_multiple_of(sector));
        Some(at)
    }

    /// Gives everything back again.
    pub(crate) fn heal(&mut self) {
        self.bad.clear();
    }
}
