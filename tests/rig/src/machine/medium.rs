//! What lies between the disk and the gateway's files: nothing, or a loop device with a real file system.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::mount::UnmountFlags;
use system_tests::wait_until;

/// Bytes of the image below a loop device: mkfs.xfs makes nothing under 300 MB.
const IMAGE_BYTES: u64 = 320 << 20;

/// The image's name on the disk.
const IMAGE: &str = "image";

/// How long the kernel may take to write what a dead machine had in memory to a disk that nobody keeps.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(20);

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

    /// Makes the file system, durably.
    pub(super) fn format(self, disk_at: &Path) -> Result<(), String> {
        let image = disk_at.join(IMAGE);
        let file = match self {
            Self::Files => return Ok(()),
            Self::Ext4 | Self::Xfs => {
                File::create_new(&image).and_then(|file| file.set_len(IMAGE_BYTES).map(|()| file))
            }
        };
        let file = file.map_err(|error| format!("{}: {error}", image.display()))?;
        let mut mkfs = Command::new(format!("mkfs.{}", self.name()));
        match self {
            // Everything now: what the kernel would do later in the background only makes runs differ.
            Self::Ext4 => mkfs.args(["-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]),
            _ => mkfs.args(["-q", "-f", "-K"]),
        };
        run(mkfs.arg(&image))?;
        let synced = file.sync_all().and_then(|()| File::open(disk_at)?.sync_all());
        synced.map_err(|error| format!("{}: {error}", image.display()))
    }

    /// Mounts the file system of the disk at `disk_at`; it repairs itself as after any power cut.
    pub(super) fn mount(self, disk_at: &Path, files_at: &Path) -> Result<(), String> {
        if self == Self::Files {
            return Ok(());
        }
        // The loop device goes with the mount, and the mount with the namespace: nothing stays behind whatever happens to the rig.
        // -n: no line in a table of mounts that others read.
        let mut mount = Command::new("mount");
        run(mount.args(["-n", "-t", self.name(), "-o", "loop"]).arg(disk_at.join(IMAGE)).arg(files_at))
    }

    /// Unmounts it.
    pub(super) fn unmount(self, files_at: &Path) -> Result<(), String> {
        if self == Self::Files {
            return Ok(());
        }
        let mut said = Ok(());
        let gone = wait_until(UNMOUNT_PATIENCE, || {
            said = rustix::mount::unmount(files_at, UnmountFlags::empty());
            said.is_ok()
        });
        if gone { Ok(()) } else { Err(format!("{}: cannot unmount: {:?}", files_at.display(), said.err())) }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}
