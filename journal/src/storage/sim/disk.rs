//! Files and faults of the simulated disk, behind the lock of its handles.
//!
//! In: operations, each with the life of its handle. Out: what a disk may answer, the same for the same seed.
//! Always: an operation meets its fault before it does anything; a file stays while a name, a pending change or a handle wants it.
//! Not here: the directory (`names`), bytes and their cuts (`content`), drawing fates (`fate`).

use std::collections::BTreeMap;
use std::io;

use super::bad::Bad;
use super::chance::{Chance, Faults};
use super::content::{Content, Page};
use super::fate::seeded_fate;
use super::names::Names;
use super::record::Record;
use super::{Fate, Fault, Operation, Pending, SimCounters, Step};

#[derive(Clone)]
pub(super) struct Disk {
    chance: Chance,
    pub(super) faults: Faults,
    pub(super) bad: Bad,
    life: u64,
    pub(super) powered: bool,
    pub(super) limit_bytes: u64,
    files: BTreeMap<u64, File>,
    next_file: u64,
    pub(super) names: Names,
    pub(super) counters: SimCounters,
    pub(super) record: Record,
}

#[derive(Clone)]
struct File {
    content: Content,
    /// Handles: a removed file stays readable through them.
    opened: u32,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed),
            faults: Faults::default(),
            bad: Bad::default(),
            life: 0,
            powered: true,
            limit_bytes: u64::MAX,
            files: BTreeMap::new(),
            next_file: 0,
            names: Names::default(),
            counters: SimCounters::default(),
            record: Record::default(),
        }
    }

    pub(super) fn list(&mut self, life: u64) -> io::Result<Vec<String>> {
        self.check(life)?;
        Ok(self.names.list())
    }

    pub(super) fn open(&mut self, life: u64, name: &str) -> io::Result<u64> {
        if self.begin(life, Operation::Open, name, 0, 0)?.is_some() {
            return Err(input_output(name));
        }
        let file = self.names.find(name)?;
        self.file(file)?.opened += 1;
        Ok(file)
    }

    pub(super) fn create(&mut self, life: u64, name: &str, len: u64) -> io::Result<u64> {
        self.counters.creates += 1;
        let fault = self.begin(life, Operation::Create, name, 0, len)?;
        if self.names.find(name).is_ok() {
            let found = format!("{name} exists already");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, found));
        }
        let len_made = match fault {
            None if len > self.free() => return Err(no_space(name)),
            None => len,
            Some(Fault::NoSpace) => return Err(no_space(name)),
            Some(_) if self.chance.one_in(2) => return self.failed(fault, name).map(|()| 0),
            Some(_) => self.chance.below(len / 4096 + 1) * 4096,
        };
        let file = self.next_file;
        self.next_file += 1;
        self.files.insert(file, File { content: Content::zeros(len_made), opened: 0 });
        self.names.change(Operation::Create, file, vec![(name.to_owned(), Some(file))]);
        self.failed(fault, name)?;
        self.file(file)?.opened += 1;
        Ok(file)
    }

    pub(super) fn rename(&mut self, life: u64, from: &str, to: &str) -> io::Result<()> {
        self.counters.renames += 1;
        let fault = self.begin(life, Operation::Rename, &format!("{from} > {to}"), 0, 0)?;
        let file = self.names.find(from)?;
        if fault.is_none() || self.half_done(fault) {
            self.names.change(
                Operation::Rename,
                file,
                vec![(from.to_owned(), None), (to.to_owned(), Some(file))],
            );
        }
        self.failed(fault, from)
    }

    pub(super) fn remove(&mut self, life: u64, name: &str) -> io::Result<()> {
        self.counters.removes += 1;
        let fault = self.begin(life, Operation::Remove, name, 0, 0)?;
        let file = self.names.find(name)?;
        if fault.is_none() || self.half_done(fault) {
            self.names.change(Operation::Remove, file, vec![(name.to_owned(), None)]);
        }
        self.failed(fault, name)
    }

    pub(super) fn sync_dir(&mut self, life: u64) -> io::Result<()> {
        self.counters.dir_syncs += 1;
        let fault = self.begin(life, Operation::SyncDir, "", 0, 0)?;
        if fault.is_none() || (fault == Some(Fault::PowerOff) && self.chance.one_in(2)) {
            self.names.sync();
            self.forget_unnamed();
        }
        self.failed(fault, "the directory")
    }

    pub(super) fn free_bytes(&mut self, life: u64) -> io::Result<u64> {
        self.check(life)?;
        Ok(self.free())
    }

    pub(super) fn file_len(&mut self, life: u64, file: u64) -> io::Result<u64> {
        self.check(life)?;
        Ok(self.file(file)?.content.len())
    }

    pub(super) fn read(&mut self, life: u64, file: u64, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.counters.reads += 1;
        self.counters.bytes_read += buf.len() as u64;
        let fault = self.begin_file(life, Operation::Read, file, offset, buf.len() as u64)?;
        if fault.is_some() {
            return self.failed(fault, "a read");
        }
        if self.bad.is_met(file, offset, buf.len() as u64) {
            return Err(input_output("a read of a bad sector"));
        }
        self.file(file)?.content.read(buf, offset)
    }

    pub(super) fn write(
        &mut self,
        life: u64,
        file: u64,
        first_page: u64,
        pages: Vec<Page>,
    ) -> io::Result<()> {
        let len = (pages.len() * super::content::PAGE_BYTES) as u64;
        let offset = first_page * super::content::PAGE_BYTES as u64;
        self.counters.writes += 1;
        self.counters.bytes_written += len;
        let fault = self.begin_file(life, Operation::Write, file, offset, len)?;
        pages.iter().for_each(|page| self.record.fold(&page[..]));
        let grows = (offset + len).saturating_sub(self.file(file)?.content.len());
        if fault == Some(Fault::NoSpace) || grows > self.free() {
            return Err(no_space("a write"));
        }
        self.bad.handle_written(file, offset, len);
        let sectors = pages.len() as u64 * 8;
        let head = match fault {
            Some(Fault::ShortWrite) => Some(1 + self.chance.below(sectors.saturating_sub(1))),
            Some(Fault::Error) if !self.chance.one_in(3) => Some(self.chance.below(sectors)),
            _ => None,
        };
        let content = &mut self.file(file)?.content;
        match head {
            Some(sectors) => content.write_head(first_page, &pages, sectors),
            None => content.write(first_page, pages),
        }
        self.failed(fault, "a write")
    }

    pub(super) fn sync(&mut self, life: u64, file: u64) -> io::Result<()> {
        self.counters.syncs += 1;
        let fault = self.begin_file(life, Operation::Sync, file, 0, 0)?;
        let pick = self.chance.below(3);
        let mut chance = self.chance.clone();
        let content = &mut self.file(file)?.content;
        match (fault, pick) {
            (None, _) | (Some(Fault::PowerOff), 0) => content.sync(),
            (Some(Fault::PowerOff), _) | (Some(_), 0) => {}
            (Some(_), _) => {
                let fates: Vec<Fate> =
                    content.pending().iter().map(|write| seeded_fate(&mut chance, write.sectors())).collect();
                content.sync_lost(&fates, pick == 1);
            }
        }
        self.failed(fault, "a sync")
    }

    pub(super) fn close(&mut self, life: u64, file: u64) {
        // Handles of earlier lives are not counted any more.
        if life == self.life
            && let Some(file) = self.files.get_mut(&file)
        {
            file.opened = file.opened.saturating_sub(1);
        }
    }

    pub(super) fn flip(&mut self, name: &str, offset: u64, bit: u8) -> io::Result<()> {
        let file = self.names.find(name)?;
        let content = &mut self.file(file)?.content;
        if offset >= content.len() {
            let found = format!("{name} has {} bytes, none at {offset}", content.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, found));
        }
        content.flip(offset, bit);
        Ok(())
    }

    pub(super) fn pending(&self) -> u64 {
        let writes: usize = self.files.values().map(|file| file.content.pending().len()).sum();
        (writes + self.names.pending()) as u64
    }

    pub(super) fn image(&self) -> Vec<(String, Vec<u8>)> {
        let bytes = |file: u64| self.files.get(&file).map(|file| file.content.bytes()).unwrap_or_default();
        self.names.iter().map(|(name, file)| (name.to_owned(), bytes(file))).collect()
    }

    /// Power goes and comes back; returns the new life.
    pub(super) fn cut(&mut self, choose: &mut dyn FnMut(Pending<'_>) -> Fate) -> u64 {
        self.names.cut(choose);
        for (name, file) in self.names.iter() {
            let Some(file) = self.files.get_mut(&file) else { continue };
            let fates: Vec<Fate> = file
                .content
                .pending()
                .iter()
                .map(|write| {
                    choose(Pending {
                        operation: Operation::Write,
                        name,
                        offset: write.offset(),
                        len: write.len(),
                    })
                })
                .collect();
            file.content.cut(&fates);
        }
        self.powered = true;
        self.next_life()
    }

    pub(super) fn next_life(&mut self) -> u64 {
        self.life += 1;
        self.faults = Faults::default();
        for file in self.files.values_mut() {
            file.opened = 0;
        }
        self.forget_unnamed();
        self.life
    }

    fn check(&self, life: u64) -> io::Result<()> {
        if life != self.life {
            return Err(io::Error::other("a handle from before the power cut"));
        }
        if !self.powered {
            return Err(io::Error::other("the power is off"));
        }
        Ok(())
    }

    /// Counts and records an operation and says which fault it meets.
    fn begin(
        &mut self,
        life: u64,
        operation: Operation,
        name: &str,
        offset: u64,
        len: u64,
    ) -> io::Result<Option<Fault>> {
        self.check(life)?;
        self.counters.steps += u64::from(operation.is_step());
        let fault = self.faults.next(operation, &mut self.chance);
        self.record
            .note(|| Step { operation, name: name.to_owned(), offset, len, fault }, (operation, offset, len));
        if fault == Some(Fault::PowerOff) {
            self.powered = false;
        }
        Ok(fault)
    }

    fn begin_file(
        &mut self,
        life: u64,
        operation: Operation,
        file: u64,
        offset: u64,
        len: u64,
    ) -> io::Result<Option<Fault>> {
        let mut name = String::new();
        if self.record.is_kept() {
            let found = self.names.iter().find(|(_, named)| *named == file);
            name = found.map_or("a removed file", |(name, _)| name).to_owned();
        }
        self.begin(life, operation, &name, offset, len)
    }

    /// Whether a name change that fails has happened all the same.
    fn half_done(&mut self, fault: Option<Fault>) -> bool {
        fault != Some(Fault::NoSpace) && self.chance.one_in(2)
    }

    #[expect(clippy::unused_self, reason = "reads as the end of each operation")]
    fn failed(&self, fault: Option<Fault>, what: &str) -> io::Result<()> {
        match fault {
            None => Ok(()),
            Some(Fault::NoSpace) => Err(no_space(what)),
            Some(Fault::PowerOff) => Err(io::Error::other(format!("the power went during {what}"))),
            Some(Fault::Error | Fault::ShortWrite) => Err(input_output(what)),
        }
    }

    fn file(&mut self, file: u64) -> io::Result<&mut File> {
        self.files
            .get_mut(&file)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "a file long removed"))
    }

    fn free(&self) -> u64 {
        let used: u64 = self.files.values().map(|file| file.content.len()).sum();
        self.limit_bytes.saturating_sub(used)
    }

    fn forget_unnamed(&mut self) {
        let reachable = self.names.reachable();
        self.files.retain(|number, file| file.opened > 0 || reachable.contains(number));
    }
}

fn input_output(what: &str) -> io::Error {
    io::Error::other(format!("simulated input/output error at {what}"))
}

fn no_space(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, format!("simulated disk is full at {what}"))
}
