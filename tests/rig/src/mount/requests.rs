//! Each FUSE request as a call of the disk.
//!
//! Not here: links, special files, extended attributes, holes (nobody in the rig needs them; the kernel is told so). syncfs and
//! sync_file_range never reach a FUSE file system: they keep nothing, as on a disk whose cache is not flushed.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::OFlags;

use super::Face;
use crate::disk::{Attributes, Disk, Refusal, SECTOR_BYTES};
use crate::power::Step;

/// The kernel asks each time: the disk is exchanged under it.
const TTL: Duration = Duration::ZERO;

/// Blocks of 4 KiB that are said to be free: 1 GiB, more than a life writes.
const FREE_BLOCKS: u64 = 1 << 18;

fn errno(refusal: Refusal) -> Errno {
    match refusal {
        Refusal::Missing => Errno::ENOENT,
        Refusal::Exists => Errno::EEXIST,
        Refusal::NotEmpty => Errno::ENOTEMPTY,
        Refusal::IsDirectory => Errno::EISDIR,
        Refusal::NotDirectory => Errno::ENOTDIR,
        Refusal::Unreadable => Errno::EIO,
    }
}

fn kind(found: &Attributes) -> FileType {
    if found.directory { FileType::Directory } else { FileType::RegularFile }
}

fn attr(found: &Attributes) -> FileAttr {
    FileAttr {
        ino: INodeNo(found.node),
        size: found.len,
        blocks: found.len.div_ceil(SECTOR_BYTES as u64),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: kind(found),
        perm: found.mode,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// Permission bits of what the kernel says.
fn bits(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).expect("12 bits")
}

/// Whether every write through this handle is to be durable when it returns.
fn writes_through(flags: OpenFlags) -> bool {
    OFlags::from_bits_retain(flags.0.cast_unsigned()).contains(OFlags::DSYNC)
}

fn empty(reply: ReplyEmpty) -> impl FnOnce(Result<(), Refusal>) + Send {
    |done| match done {
        Ok(()) => reply.ok(),
        Err(refusal) => reply.error(errno(refusal)),
    }
}

fn entry(reply: ReplyEntry) -> impl FnOnce(Result<Attributes, Refusal>) + Send {
    |done| match done {
        Ok(found) => reply.entry(&TTL, &attr(&found), Generation(0)),
        Err(refusal) => reply.error(errno(refusal)),
    }
}

fn attributes(reply: ReplyAttr) -> impl FnOnce(Result<Attributes, Refusal>) + Send {
    |done| match done {
        Ok(found) => reply.attr(&TTL, &attr(&found)),
        Err(refusal) => reply.error(errno(refusal)),
    }
}

impl Face {
    fn remove(&self, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.server.change(Step::Name, move |disk| disk.remove(parent.0, &name), empty(reply));
    }
}

impl Filesystem for Face {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.server.lock().disk.lookup(parent.0, name);
        entry(reply)(found);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = self.server.lock().disk.attributes(ino.0);
        attributes(reply)(found);
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let work = move |disk: &mut Disk| {
            if let Some(mode) = mode {
                disk.set_mode(ino.0, bits(mode))?;
            }
            if let Some(size) = size {
                disk.resize(ino.0, size)?;
            }
            disk.attributes(ino.0)
        };
        self.server.change(Step::Write, work, attributes(reply));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let name = name.to_owned();
        let work = move |disk: &mut Disk| disk.create(parent.0, &name, bits(mode & !umask), true);
        self.server.change(Step::Name, work, entry(reply));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let name = name.to_owned();
        let work = move |disk: &mut Disk| disk.create(parent.0, &name, bits(mode & !umask), false);
        self.server.change(Step::Name, work, |done| match done {
            Ok(found) => {
                let handle = FileHandle(found.node);
                reply.created(&TTL, &attr(&found), Generation(0), handle, FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(refusal) => reply.error(errno(refusal)),
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(parent, name, reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(parent, name, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let (name, newname) = (name.to_owned(), newname.to_owned());
        let work =
            move |disk: &mut Disk| disk.rename((parent.0, &name), (newparent.0, &newname), flags.is_empty());
        self.server.change(Step::Name, work, empty(reply));
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Past the kernel's page cache: a write is here when it returns, with O_DIRECT or without.
        reply.opened(FileHandle(ino.0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let count = usize::try_from(size).unwrap_or(usize::MAX);
        let read = self.server.lock().disk.read(ino.0, offset, count);
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let bytes: Arc<[u8]> = data.into();
        let written = u32::try_from(data.len()).expect("the kernel's own count has 32 bits");
        let through = writes_through(flags);
        let work = move |disk: &mut Disk| {
            disk.write(ino.0, offset, bytes)?;
            if through { disk.sync(ino.0) } else { Ok(()) }
        };
        self.server.change(Step::Write, work, move |done| match done {
            Ok(()) => reply.written(written),
            Err(refusal) => reply.error(errno(refusal)),
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // close() makes nothing durable.
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.server.change(Step::Sync, move |disk| disk.sync(ino.0), empty(reply));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.server.change(Step::SyncNames, move |disk| disk.sync(ino.0), empty(reply));
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let server = self.server.lock();
        let entries = match server.disk.list(ino.0) {
            Ok(entries) => entries,
            Err(refusal) => return reply.error(errno(refusal)),
        };
        let own = [".", ".."].map(|name| (OsStr::new(name), ino.0, FileType::Directory));
        let entries = entries.iter().map(|(name, found)| (*name, found.node, kind(found)));
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for ((name, node, kind), next) in own.into_iter().chain(entries).zip(1..).skip(skip) {
            if reply.add(INodeNo(node), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let work = move |disk: &mut Disk| {
            let end = offset.saturating_add(length);
            if disk.attributes(ino.0)?.len < end { disk.resize(ino.0, end) } else { Ok(()) }
        };
        self.server.change(Step::Write, work, empty(reply));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(2 * FREE_BLOCKS, FREE_BLOCKS, FREE_BLOCKS, 1 << 20, 1 << 19, 4096, 255, 4096);
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.ok();
    }
}
