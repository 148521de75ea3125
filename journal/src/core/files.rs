//! Segment files that are ready to be written again.
//!
//! In: files of segments nobody wants, new files of zeros. Out: a file under the name of the next segment.
//! Invariant: a file here holds nothing wanted; its name says so until a header with its number is in it.
//! Not here: deciding that nobody wants a segment.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::format::segment::FileName;
use crate::storage::Storage;

pub(super) struct Files<F> {
    /// Already renamed to the segment of this number.
    prepared: Option<(u64, Arc<F>)>,
    pool: VecDeque<(u64, Arc<F>)>,
    next_pool: u64,
    /// Segment files there are: live, prepared, pooled, damaged.
    pub(super) total: u64,
}

impl<F> Files<F> {
    pub(super) fn new() -> Self {
        Self { prepared: None, pool: VecDeque::new(), next_pool: 0, total: 0 }
    }

    /// Files ready for use.
    pub(super) fn ready(&self) -> u64 {
        self.pool.len() as u64 + u64::from(self.prepared.is_some())
    }

    /// A pool name nobody has.
    pub(super) fn pool_name(&mut self) -> u64 {
        self.next_pool += 1;
        self.next_pool
    }

    /// Takes note of a name found in the directory.
    pub(super) fn saw_pool_name(&mut self, number: u64) {
        self.next_pool = self.next_pool.max(number);
    }

    pub(super) fn add(&mut self, pool_name: u64, file: Arc<F>) {
        self.pool.push_back((pool_name, file));
    }

    pub(super) fn is_prepared(&self, number: u64) -> bool {
        self.prepared.as_ref().is_some_and(|(prepared, _)| *prepared == number)
    }

    /// Renames a pooled file to segment `number` and makes the name durable.
    pub(super) fn prepare<S: Storage<File = F>>(&mut self, storage: &S, number: u64) -> io::Result<bool> {
        if self.prepared.is_some() {
            return Ok(false);
        }
        let Some((name, file)) = self.pool.pop_front() else { return Ok(false) };
        storage.rename(&FileName::Pool(name).to_string(), &FileName::Segment(number).to_string())?;
        // Without the folder's sync a power cut could leave the segment's groups under a name that means "nothing wanted".
        storage.sync_dir()?;
        self.prepared = Some((number, file));
        Ok(true)
    }

    /// The file of segment `number`; `true` when it had not been prepared.
    pub(super) fn take<S: Storage<File = F>>(
        &mut self,
        storage: &S,
        number: u64,
    ) -> io::Result<Option<(Arc<F>, bool)>> {
        let late = !self.is_prepared(number);
        if late {
            self.prepare(storage, number)?;
        }
        Ok(self.prepared.take().filter(|(prepared, _)| *prepared == number).map(|(_, file)| (file, late)))
    }
}
