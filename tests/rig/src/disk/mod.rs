//! A disk with a volatile cache, as a state without IO, clock or kernel.
//!
//! In: what a file system is asked (names, reads, writes, syncs), then a cut with its [`Fates`]. Out: answers, and the disk as it is
//! after the cut. Always: what a sync that was honoured covered survives every cut; the same calls and the same seed give the same
//! disk.
//! Not here: the kernel (`mount`), when to cut (`power`), times and owners of files (nobody looks).
//!
//! What a sync covers. A file's sync makes its bytes and its length durable, never its name; a directory's sync makes the names in
//! it durable, never the bytes behind them. Real file systems often do more. A program that is right here is right on them.
//!
//! What a cut does. Each write since its file's last sync is kept, lost, or torn at sectors of 512 bytes (or larger ones); losing the later of two
//! writes to one place and keeping the earlier is how reordering looks from outside. Each change of a name since the last sync of its
//! directory is kept or lost as a whole, and so is each change of a length. A file can keep a length whose bytes are lost: zeros.

mod bad;
mod content;
mod fates;
mod names;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;

use bad::Bad;
use content::Content;
pub(crate) use fates::{Fates, Mode, SECTOR_BYTES};
use names::Names;

/// The number of the root directory, as FUSE wants it.
pub(crate) const ROOT: u64 = 1;

/// Most bytes of one file that wait for a sync. A real cache writes its oldest back when it is full, and so does this one.
const CACHE_BYTES: usize = 64 << 20;

/// Which syncs the disk honours. It says yes to the others and keeps nothing: what the controls need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Honours {
    /// fsync, fdatasync and O_DSYNC of a file.
    pub(crate) files: bool,
    /// fsync of a directory.
    pub(crate) names: bool,
}

impl Honours {
    /// An honest disk.
    pub(crate) const ALL: Self = Self { files: true, names: true };
}

/// What a request comes to when it cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No file of that name or number.
    Missing,
    /// There is one already.
    Exists,
    /// A directory that is not empty.
    NotEmpty,
    /// A directory where a file is wanted.
    IsDirectory,
    /// A file where a directory is wanted.
    NotDirectory,
    /// A place that the disk does not give back.
    Unreadable,
}

/// A file or directory as the kernel asks about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Its number.
    pub(crate) node: u64,
    /// Length in bytes; 0 for a directory.
    pub(crate) len: u64,
    /// Whether it is a directory.
    pub(crate) directory: bool,
    /// Permission bits.
    pub(crate) mode: u16,
}

/// What a cut did, for the line that is printed about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Toll {
    /// Sectors of all pending writes.
    pub(crate) sectors: usize,
    /// Those of them that were lost.
    pub(crate) sectors_lost: usize,
    /// Pending changes of names.
    pub(crate) names: usize,
    /// Those of them that were lost.
    pub(crate) names_lost: usize,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, bytes: Arc<[u8]> },
    Length(u64),
}

/// A file's bytes now, its bytes on the platter, and what lies between.
#[derive(Clone, Debug, Default)]
struct File {
    now: Content,
    durable: Content,
    pending: Vec<Change>,
    pending_bytes: usize,
}

#[derive(Clone, Debug)]
struct Node {
    mode: u16,
    /// None: a directory.
    file: Option<File>,
}

/// The disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    nodes: BTreeMap<u64, Node>,
    names: Names,
    next: u64,
    bad: Bad,
    /// Which syncs are honoured from now on.
    pub(crate) honours: Honours,
}

impl Disk {
    /// An empty, honest disk.
    pub(crate) fn new() -> Self {
        let root = Node { mode: 0o755, file: None };
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            names: Names::default(),
            next: ROOT + 1,
            bad: Bad::default(),
            honours: Honours::ALL,
        }
    }

    /// The file that has this name.
    pub(crate) fn lookup(&self, dir: u64, name: &OsStr) -> Result<Attributes, Refusal> {
        self.attributes(self.names.get(dir, name).ok_or(Refusal::Missing)?)
    }

    /// What is known of a file.
    pub(crate) fn attributes(&self, node: u64) -> Result<Attributes, Refusal> {
        let found = self.nodes.get(&node).ok_or(Refusal::Missing)?;
        let len = found.file.as_ref().map_or(0, |file| file.now.len());
        Ok(Attributes { node, len, directory: found.file.is_none(), mode: found.mode })
    }

    /// Names in a directory and what they stand for, in order.
    pub(crate) fn list(&self, dir: u64) -> Result<Vec<(&OsStr, Attributes)>, Refusal> {
        self.directory(dir)?;
        self.names.list(dir).map(|(name, node)| Ok((name, self.attributes(node)?))).collect()
    }

    /// Makes a file, or a directory; its name is pending.
    pub(crate) fn create(
        &mut self,
        dir: u64,
        name: &OsStr,
        mode: u16,
        directory: bool,
    ) -> Result<Attributes, Refusal> {
        self.directory(dir)?;
        if self.names.get(dir, name).is_some() {
            return Err(Refusal::Exists);
        }
        let node = self.next;
        self.next += 1;
        self.nodes.insert(node, Node { mode, file: (!directory).then(File::default) });
        self.names.change(node, None, Some((dir, name.to_owned())));
        self.attributes(node)
    }

    /// Takes a name away; who has the file open keeps it.
    pub(crate) fn remove(&mut self, dir: u64, name: &OsStr) -> Result<(), Refusal> {
        let found = self.lookup(dir, name)?;
        if self.names.list(found.node).next().is_some() {
            return Err(Refusal::NotEmpty);
        }
        self.names.change(found.node, Some((dir, name.to_owned())), None);
        Ok(())
    }

    /// Gives a file another name; a file that had it loses it, unless `replace` is off.
    pub(crate) fn rename(
        &mut self,
        from: (u64, &OsStr),
        to: (u64, &OsStr),
        replace: bool,
    ) -> Result<(), Refusal> {
        let found = self.lookup(from.0, from.1)?;
        self.directory(to.0)?;
        if let Some(there) = self.names.get(to.0, to.1) {
            if !replace {
                return Err(Refusal::Exists);
            }
            if self.names.list(there).next().is_some() {
                return Err(Refusal::NotEmpty);
            }
        }
        self.names.change(found.node, Some((from.0, from.1.to_owned())), Some((to.0, to.1.to_owned())));
        Ok(())
    }

    /// Up to `count` bytes of a file.
    pub(crate) fn read(&self, node: u64, offset: u64, count: usize) -> Result<Vec<u8>, Refusal> {
        if self.bad.meets(node, offset, count) {
            return Err(Refusal::Unreadable);
        }
        let file = self.nodes.get(&node).ok_or(Refusal::Missing)?.file.as_ref();
        Ok(file.ok_or(Refusal::IsDirectory)?.now.read(offset, count))
    }

    /// Writes into the cache.
    pub(crate) fn write(&mut self, node: u64, offset: u64, bytes: Arc<[u8]>) -> Result<(), Refusal> {
        let file = self.file(node)?;
        file.now.write(offset, &bytes);
        file.pending_bytes += bytes.len();
        file.pending.push(Change::Write { offset, bytes });
        if file.pending_bytes > CACHE_BYTES {
            let half = file.pending.len() / 2;
            file.settle(half);
        }
        Ok(())
    }

    /// Sets a file's length.
    pub(crate) fn resize(&mut self, node: u64, len: u64) -> Result<(), Refusal> {
        let file = self.file(node)?;
        file.now.resize(len);
        file.pending.push(Change::Length(len));
        Ok(())
    }

    /// Changes permission bits, durable at once: they are not what is tested.
    pub(crate) fn set_mode(&mut self, node: u64, mode: u16) -> Result<(), Refusal> {
        self.nodes.get_mut(&node).ok_or(Refusal::Missing)?.mode = mode;
        Ok(())
    }

    /// Makes a file's bytes and length durable; of a directory, its names.
    pub(crate) fn sync(&mut self, node: u64) -> Result<(), Refusal> {
        let honours = self.honours;
        match &mut self.nodes.get_mut(&node).ok_or(Refusal::Missing)?.file {
            Some(file) if honours.files => file.settle(file.pending.len()),
            None if honours.names => self.names.sync(node),
            _ => {}
        }
        Ok(())
    }

    /// The disk when power is back, and what that cost. This one stays as it is: what the machine saw before the cut reached it.
    pub(crate) fn cut(&self, fates: &mut Fates) -> (Self, Toll) {
        let (names, names_lost) = self.names.cut(fates);
        let mut toll = Toll { names: self.names.pending(), names_lost, ..Toll::default() };
        let mut nodes = BTreeMap::new();
        let mut reached = vec![ROOT];
        while let Some(node) = reached.pop() {
            reached.extend(names.list(node).map(|(_, child)| child));
            let found = &self.nodes[&node];
            let file = found.file.as_ref().map(|file| file.cut(fates, &mut toll));
            nodes.insert(node, Node { mode: found.mode, file });
        }
        (Self { nodes, names, next: self.next, bad: self.bad.clone(), honours: Honours::ALL }, toll)
    }

    fn directory(&self, node: u64) -> Result<(), Refusal> {
        match self.nodes.get(&node) {
            None => Err(Refusal::Missing),
            Some(Node { file: Some(_), .. }) => Err(Refusal::NotDirectory),
            Some(_) => Ok(()),
        }
    }

    fn file(&mut self, node: u64) -> Result<&mut File, Refusal> {
        self.nodes.get_mut(&node).ok_or(Refusal::Missing)?.file.as_mut().ok_or(Refusal::IsDirectory)
    }
}

impl File {
    /// Makes the oldest `count` pending changes durable.
    fn settle(&mut self, count: usize) {
        for change in self.pending.drain(..count) {
            match change {
                Change::Write { offset, bytes } => {
                    self.pending_bytes -= bytes.len();
                    self.durable.write(offset, &bytes);
                }
                Change::Length(len) => self.durable.resize(len),
            }
        }
    }

    fn cut(&self, fates: &mut Fates, toll: &mut Toll) -> Self {
        let mut left = self.durable.clone();
        for change in &self.pending {
            match change {
                Change::Length(len) => {
                    if fates.keeps_length() {
                        left.resize(*len);
                    }
                }
                Change::Write { offset, bytes } => tear(&mut left, *offset, bytes, fates, toll),
            }
        }
        Self { now: left.clone(), durable: left, ..Self::default() }
    }
}

/// Puts those sectors of a write on the platter that the cut leaves, and perhaps the length of a write whose bytes are lost.
fn tear(left: &mut Content, offset: u64, bytes: &[u8], fates: &mut Fates, toll: &mut Toll) {
    let sector = fates.sector_bytes();
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let within =
            usize::try_from((offset + start as u64) % sector as u64).expect("below the size of a sector");
        let end = bytes.len().min(start + sector - within);
        pieces.push(start..end);
        start = end;
    }
    let kept = fates.sectors(pieces.len());
    toll.sectors += pieces.len();
    for (piece, kept) in pieces.into_iter().zip(kept) {
        if kept {
            left.write(offset + piece.start as u64, &bytes[piece]);
        } else {
            toll.sectors_lost += 1;
        }
    }
    let end = offset + bytes.len() as u64;
    if end > left.len() && fates.keeps_length() {
        left.grow(end);
    }
}
