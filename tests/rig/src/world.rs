//! A world of the rig's own: a mount and a process namespace that end with it.
//!
//! Always: whatever ends the rig (a failure, Ctrl-C, SIGKILL), the kernel kills every process it started, unmounts everything it mounted
//! and lets go of its loop devices; its files are in a tmpfs of that world. Nothing is left to clean up, so no code does.
//! Not here: what happens inside.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::MountFlags;
use system_tests::python::installed;

/// The argument that says that the world has been made.
pub(crate) const INSIDE: &str = "--inside";

/// Programs that are needed, and the Debian package of each.
const PROGRAMS: [(&str, &str); 4] =
    [("mkfs.ext4", "e2fsprogs"), ("mkfs.xfs", "xfsprogs"), ("mount", "mount"), ("unshare", "util-linux")];

/// What of the machine is missing to cut its power, if anything is.
pub(crate) fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting needs root".to_owned());
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if !Path::new(device).exists() {
            return Some(format!("no {device}"));
        }
    }
    for (program, package) in PROGRAMS {
        if installed(program).is_none() {
            return Some(format!("no {program}; Debian has it in {package}"));
        }
    }
    let tried = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "mount", "-n", "-t", "tmpfs", "none", "/tmp"])
        .output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("no namespaces: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Some(format!("no namespaces: {error}")),
    }
}

/// Becomes the rig inside of its world. Returns only when that fails.
pub(crate) fn enter() -> io::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    // SIGKILL of the outer process takes the inner one along, and with it the world.
    let world = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
    Command::new("unshare").args(world).arg(program).arg(INSIDE).exec()
}

/// A directory that nobody else sees, in memory, beside the program: the mount point stays behind, empty.
pub(crate) fn home() -> io::Result<PathBuf> {
    let home = std::env::current_exe()?.with_extension("home");
    std::fs::create_dir_all(&home)?;
    rustix::mount::mount("power-rig", &home, "tmpfs", MountFlags::empty(), None)?;
    Ok(home)
}
