//! A world of the rig's own: a mount and a process namespace that end with it.
//!
//! Always: whatever ends the rig (a failure, Ctrl-C, SIGKILL), the kernel kills every process it started, unmounts everything it mounted
//! and lets go of its loop devices; its files are in a tmpfs of that world. Nothing is left to clean up, so no code does.
//! Not here: what happens inside.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::mount::MountFlags;
use system_tests::python::installed;

use crate::watch;

/// The argument that says that the world has been made.
pub(crate) const INSIDE: &str = "--inside";

/// How often the outer process looks whether the inner one has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Programs that are needed, and the Debian package of each.
const PROGRAMS: [(&str, &str); 6] = [
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
];

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

/// Runs the rig inside of its world until it ends or somebody wants it to end.
pub(crate) fn run() -> io::Result<ExitCode> {
    // Each is killed with its parent: SIGKILL of this process takes the world along too.
    let mut world = Command::new("setpriv");
    world.args([
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
    ]);
    let mut world = world.arg(std::env::current_exe()?).arg(INSIDE).spawn()?;
    // A handler is not inherited by programs that are started: inside, the rig has its own.
    let stopped = watch::stopped();
    loop {
        if let Some(status) = world.try_wait()? {
            return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        if stopped.recv_timeout(LOOK_EVERY).is_ok() {
            world.kill()?;
            world.wait()?;
            return Ok(ExitCode::from(watch::INTERRUPTED));
        }
    }
}

/// A directory that nobody else sees, in memory, beside the program: the mount point stays behind, empty.
pub(crate) fn home() -> io::Result<PathBuf> {
    let home = std::env::current_exe()?.with_extension("home");
    std::fs::create_dir_all(&home)?;
    rustix::mount::mount("power-rig", &home, "tmpfs", MountFlags::empty(), None)?;
    Ok(home)
}
