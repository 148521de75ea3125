//! Segment files that are ready to be written again.
//!
//! In: files of segments nobody wants, new files of zeros. Out: a file under the name of the next segment.
//! Invariants: a file here holds nothing wanted; its name says so until a header with its number is in it. The name of a segment is given
//! once: a second file of that name would take the place of the first, with what is in it.
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
    /// Number of the newest segment that has its file.
    taken: u64,
    /// Segment files there are: live, prepared, pooled, damaged.
    pub(super) total: u64,
}

impl<F> Files<F> {
    pub(super) fn new() -> Self {
        Self { prepared: None, pool: VecDeque::new(), next_pool: 0, taken: 0, total: 0 }
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

    /// Renames a pooled file to segment `number` and makes the name durable. Nothing when that has its file already: upkeep may ask for
    /// the segment that the writer opened just now.
    pub(super) fn prepare<S: Storage<File = F>>(&mut self, storage: &S, number: u64) -> io::Result<bool> {
        if self.prepared.is_some() || number <= self.taken {
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
        let taken = self.prepared.take().filter(|(prepared, _)| *prepared == number);
        if taken.is_some() {
            self.taken = number;
        }
        Ok(taken.map(|(_, file)| (file, late)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::Blocks;
    use crate::storage::{SimDisk, StorageFile};

    #[test]
    fn a_segment_that_was_just_opened_is_not_replaced_by_another_file_of_its_name() {
        let disk = SimDisk::new(1);
        let mut files = Files::new();
        for pooled in 1..=2 {
            let file = disk.create(&FileName::Pool(pooled).to_string(), 4096).unwrap();
            files.add(pooled, Arc::new(file));
        }
        let (file, _) = files.take(&disk, 1).unwrap().expect("there is one");
        let mut block = Blocks::zeroed(4096);
        block.as_mut_slice().fill(7);
        file.write_at(&block, 0).unwrap();
        // Upkeep has read the number before the writer raised it.
        assert!(!files.prepare(&disk, 1).unwrap());
        let image = disk.image();
        let (_, bytes) = image.iter().find(|(name, _)| *name == FileName::Segment(1).to_string()).unwrap();
        assert_eq!(bytes[0], 7, "what was acknowledged is gone");
        assert!(files.prepare(&disk, 2).unwrap());
        assert!(files.take(&disk, 2).unwrap().is_some(), "the next one has its file");
    }
}
