//! What the disk did not give back of a segment while it was looked at.
//!
//! In: what candidates and scans could not read. Out: the first place that acknowledged records may be behind.
//! Rule: what a footer or the next segment proves to be whole without that place is no reason to wait.
//! Not here: reads while the journal is open (`core::unread`).

use std::io;

use super::{Candidate, Survey};
use crate::core::scan::{Found, Start, scan};
use crate::error::is_unread;
use crate::format::segment::FileName;
use crate::storage::StorageFile;

/// A file, a place in it, and why the disk did not give it back.
pub(in crate::core) type Place = (String, u64, io::Error);

impl<F: StorageFile> Survey<F> {
    /// Reads a segment whole. Notes what was not read of it, unless every group up to the next segment is there.
    pub(super) fn scan(&mut self, candidate: &Candidate<F>, start: Start) -> io::Result<Found> {
        let mut found = match scan(&*candidate.file, candidate.file_bytes, start) {
            Ok(found) => found,
            Err(error) => {
                let unread = is_unread(&error).then(|| (0, io::Error::new(error.kind(), error.to_string())));
                self.note(candidate, unread);
                return Err(error);
            }
        };
        let behind = found.groups.last().map(|group| group.number + 1);
        let is_whole = found.damage.is_empty() && behind.is_some() && behind == start.followed_by;
        if !is_whole {
            self.note_looked(candidate);
            self.note(candidate, found.unread.take());
        }
        Ok(found)
    }

    /// Notes what was not read of the blocks that tell what a file is.
    pub(super) fn note_looked(&mut self, candidate: &Candidate<F>) {
        self.note(candidate, candidate.take_unread());
    }

    fn note(&mut self, candidate: &Candidate<F>, unread: Option<(u64, io::Error)>) {
        if let Some((offset, error)) = unread {
            self.unread.get_or_insert((FileName::Segment(candidate.number).to_string(), offset, error));
        }
    }
}
