//! What lies between the disk and the gateway's files: nothing, or a loop device with a real file system.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::disk::SECTOR_BYTES;

/// Bytes of the image below a loop device: mkfs.xfs makes nothing under 300 MB.
const IMAGE_BYTES: u64 = 320 << 20;

/// The image's name on the disk.
const IMAGE: &str = "image";

/// Where the gateway's files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// On the rig's disk itself: each sync of the gateway is a sync of the disk.
    Files,
    /// On ext4 on a loop device on the rig's disk: its journal, its FLUSHes, its recovery at mount.
    Ext4,
    /// On XFS, the same way.
    Xfs,
}

impl Medium {
    /// Its name in what is printed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// What the disk below tears writes at. XFS does not survive a metadata block that is torn inside: its first sector says how new
    /// it is, recovery takes that for the whole block and leaves it alone, and the checksum then stops the mount.
    pub(crate) fn sector_bytes(self) -> usize {
        match self {
            Self::Files | Self::Ext4 => SECTOR_BYTES,
            Self::Xfs => 4096,
        }
    }

    /// Makes the file system, durably.
    pub(super) fn format(self, disk_at: &Path) -> Result<(), String> {
        if self == Self::Files {
            return Ok(());
        }
        // By programs: a process that serves a FUSE disk and has a file of it open cannot be killed, it waits for itself.
        let image = disk_at.join(IMAGE);
        run(Command::new("truncate").arg("--size").arg(IMAGE_BYTES.to_string()).arg(&image))?;
        let mut mkfs = Command::new(format!("mkfs.{}", self.name()));
        match self {
            // Everything now: what the kernel would do later in the background only makes runs differ.
            Self::Ext4 => mkfs.args(["-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]),
            _ => mkfs.args(["-q", "-f", "-K"]),
        };
        run(mkfs.arg(&image))?;
        run(Command::new("sync").arg(&image).arg(disk_at))
    }

    /// Mounts the file system of the disk at `disk_at`; it repairs itself as after any power cut.
    pub(super) fn mount(self, disk_at: &Path, files_at: &Path) -> Result<Option<Held>, String> {
        match self {
            Self::Files => Ok(None),
            Self::Ext4 | Self::Xfs => Held::new(self.name(), &disk_at.join(IMAGE), files_at).map(Some),
        }
    }
}

/// A file system on a loop device, mounted in a namespace of its own that a process of ours holds.
///
/// The rig must not see this mount: when the rig is killed, the kernel would unmount first and end the rig's side of FUSE later, and
/// the unmounting would wait for it for ever. A process that holds the mount and not the disk waits for nobody.
pub(super) struct Held {
    holder: Child,
}

impl Held {
    fn new(kind: &str, image: &Path, at: &Path) -> Result<Self, String> {
        // The loop device goes with the mount, and the mount with the namespace. -n: no line in a table of mounts that others read.
        let script = "mount -n -t \"$1\" -o loop \"$2\" \"$3\" && echo mounted && exec cat";
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--", "sh", "-c", script, "sh", kind]).args([image, at]);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = unshare.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut line = [0; b"mounted\n".len()];
        let mounted = holder.stdout.as_mut().is_some_and(|stdout| stdout.read_exact(&mut line).is_ok());
        if mounted {
            return Ok(Self { holder });
        }
        let said =
            holder.wait_with_output().map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned());
        Err(format!("{}: cannot mount {kind} on a loop device: {said:?}", image.display()))
    }

    /// The namespace, for a process that shall see the files.
    pub(super) fn namespace(&self) -> String {
        format!("/proc/{}/ns/mnt", self.holder.id())
    }

    /// Unmounts, and with that lets go of the loop device.
    pub(super) fn unmount(mut self) -> Result<(), String> {
        drop(self.holder.stdin.take());
        let status = self.holder.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("who held a loop device ended with {status}")) }
    }
}

/// Runs a program that must succeed.
pub(super) fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}
