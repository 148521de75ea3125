//! The two snapshot slots.
//!
//! In: the state after a durable group. Out: the newer valid state when opening; which groups both slots cover.
//! Invariants: the slot written is never the newer one, so a power cut while writing leaves the other; segments go only when *both*
//! slots cover them, so one damaged slot loses nothing.
//! Not here: when (`upkeep`).

use std::io;

use crate::core::survey::Place;
use crate::error::is_unread;
use crate::format::segment::FileName;
use crate::format::snapshot::Snapshot;
use crate::storage::{Storage, StorageFile};

/// Largest slot that is read: far above what metadata may sensibly be, far below what would hurt.
const SLOT_BYTES_MAX: u64 = 1 << 30;

/// Slots grow in steps, so that a few more keys do not mean a new file each time.
const SLOT_BYTES_STEP: u64 = 64 << 10;

pub(super) struct Slots<F> {
    slots: [Slot<F>; 2],
    generation: u64,
}

struct Slot<F> {
    file: Option<F>,
    file_bytes: u64,
    /// What the slot covers; 0 when it is not valid.
    group: u64,
    epoch: u64,
    generation: u64,
}

/// What opening found in the slots.
pub(super) struct Opened<F> {
    pub(super) slots: Slots<F>,
    pub(super) newest: Option<Snapshot>,
    /// A slot has content that is not a whole snapshot: torn by a power cut, or damaged.
    pub(super) damaged: bool,
    pub(super) version: Option<(String, u16)>,
    /// A slot that the disk did not give back.
    pub(super) unread: Option<Place>,
}

impl<F: StorageFile> Slots<F> {
    pub(super) fn open<S: Storage<File = F>>(storage: &S, names: &[String]) -> Opened<F> {
        let mut opened = Opened {
            slots: Slots { slots: [Slot::empty(), Slot::empty()], generation: 0 },
            newest: None,
            damaged: false,
            version: None,
            unread: None,
        };
        for number in 0..2u8 {
            let name = FileName::Snapshot(number).to_string();
            if !names.contains(&name) {
                continue;
            }
            let slot = &mut opened.slots.slots[usize::from(number)];
            let bytes = match slot.read(storage, &name) {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::error!(file = name, %error, "cannot read a snapshot");
                    opened.damaged = true;
                    if is_unread(&error) {
                        opened.unread.get_or_insert((name, 0, error));
                    }
                    continue;
                }
            };
            match Snapshot::decode(&bytes) {
                Some(Ok(snapshot)) => {
                    (slot.group, slot.generation) = (snapshot.group, snapshot.generation);
                    opened.slots.generation = opened.slots.generation.max(snapshot.generation);
                    if opened.newest.as_ref().is_none_or(|newest| newest.generation < snapshot.generation) {
                        opened.newest = Some(snapshot);
                    }
                }
                Some(Err(version)) => opened.version = Some((name, version)),
                None => opened.damaged |= bytes.iter().any(|&byte| byte != 0),
            }
        }
        // Epoch 1 is "the floors as found"; the older slot may have older ones.
        for slot in &mut opened.slots.slots {
            slot.epoch = u64::from(slot.generation == opened.slots.generation && slot.generation > 0);
        }
        opened
    }

    /// Writes the newer slot again as it was read: a process that was killed before its sync leaves bytes that are seen and yet not
    /// durable, and the next write goes over the other slot.
    pub(super) fn renew(&self, newest: &Snapshot) -> io::Result<()> {
        for slot in &self.slots {
            if let Some(file) = slot.file.as_ref().filter(|_| slot.generation == newest.generation) {
                file.write_at(&newest.encode(), 0)?;
                file.sync()?;
            }
        }
        Ok(())
    }

    /// Makes both files, so that a full disk later does not keep the snapshot from being written that would free it.
    pub(super) fn ensure<S: Storage<File = F>>(&mut self, storage: &S) -> io::Result<()> {
        for number in 0..2u8 {
            let slot = &mut self.slots[usize::from(number)];
            if slot.file.is_none() {
                slot.remake(storage, &FileName::Snapshot(number).to_string(), SLOT_BYTES_STEP)?;
            }
        }
        Ok(())
    }

    /// Writes `snapshot` over the older slot. Returns the bytes written.
    pub(super) fn write<S: Storage<File = F>>(
        &mut self,
        storage: &S,
        mut snapshot: Snapshot,
        epoch: u64,
    ) -> io::Result<u64> {
        self.generation += 1;
        snapshot.generation = self.generation;
        let number = u8::from(self.slots[0].generation > self.slots[1].generation);
        let name = FileName::Snapshot(number).to_string();
        let slot = &mut self.slots[usize::from(number)];
        let bytes = snapshot.encode();
        (slot.group, slot.generation) = (0, 0);
        if slot.file.is_none() || slot.file_bytes < bytes.len() as u64 {
            slot.remake(storage, &name, (bytes.len() as u64).next_multiple_of(SLOT_BYTES_STEP))?;
        }
        let file = slot.file.as_ref().ok_or_else(|| io::Error::other("slot has no file"))?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        (slot.group, slot.epoch, slot.generation) = (snapshot.group, epoch, self.generation);
        Ok(bytes.len() as u64)
    }

    /// The group and the epoch of floors that both slots cover.
    pub(super) fn covered(&self) -> (u64, u64) {
        let [left, right] = &self.slots;
        (left.group.min(right.group), left.epoch.min(right.epoch))
    }

    /// The newest group and epoch in any slot.
    pub(super) fn newest(&self) -> (u64, u64) {
        let newer =
            if self.slots[0].generation > self.slots[1].generation { &self.slots[0] } else { &self.slots[1] };
        (newer.group, newer.epoch)
    }
}

impl<F: StorageFile> Slot<F> {
    fn empty() -> Self {
        Self { file: None, file_bytes: 0, group: 0, epoch: 0, generation: 0 }
    }

    fn read<S: Storage<File = F>>(&mut self, storage: &S, name: &str) -> io::Result<Vec<u8>> {
        let file = storage.open(name)?;
        let file_bytes = file.len()?;
        let len = usize::try_from(file_bytes.min(SLOT_BYTES_MAX)).unwrap_or(0);
        let mut bytes = vec![0; len];
        let read = file.read_at(&mut bytes, 0);
        (self.file, self.file_bytes) = (Some(file), file_bytes);
        read.map(|()| bytes)
    }

    fn remake<S: Storage<File = F>>(&mut self, storage: &S, name: &str, file_bytes: u64) -> io::Result<()> {
        if self.file.take().is_some() {
            storage.remove(name)?;
        } else {
            // A try that failed half way may have left a file.
            match storage.remove(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = Some(storage.create(name, file_bytes)?);
        self.file_bytes = file_bytes;
        storage.sync_dir()
    }
}
