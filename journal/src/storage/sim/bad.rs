//! Sectors that are not given back. Not here: wrong bytes (`flip`), faults that happen once (`chance`).

use std::io;
use std::ops::Range;

use super::disk::Disk;

/// Places of files that reads fail at, until they are written or made good.
#[derive(Clone, Debug, Default)]
pub(super) struct Bad(Vec<(u64, Range<u64>)>);

impl Bad {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_met(&self, file: u64, offset: u64, len: u64) -> bool {
        self.0.iter().any(|(bad, range)| *bad == file && range.start < offset + len && offset < range.end)
    }

    /// A device puts other sectors in their place.
    pub(super) fn handle_written(&mut self, file: u64, offset: u64, len: u64) {
        self.0.retain(|(bad, range)| *bad != file || range.start >= offset + len || offset >= range.end);
    }
}

impl Disk {
    pub(super) fn make_bad(&mut self, name: &str, bytes: Range<u64>) -> io::Result<()> {
        let file = self.names.find(name)?;
        self.bad.0.push((file, bytes));
        Ok(())
    }
}
