//! Two machines in one: this one, and another in a network namespace, with a link between them that is really cut.
//!
//! In: a test by its name, which runs once more in a world of its own. Out: a [`Link`] whose far end is another machine.
//! Invariants: the world is a mount, process and network namespace that ends with its first process. Whatever ends the test (a panic,
//! SIGKILL), the kernel kills what it started and removes interfaces, namespaces and mounts; nothing has to be cleaned up.
//! Not here: what TCP cannot see ([`crate::proxy`]), what breaks above it ([`crate::target_http`]).

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::Process;
use crate::{binaries, python};

/// Set inside of a world.
const INSIDE: &str = "HEADWATER_OWN_WORLD";

/// Programs that are needed, and the Debian package of each.
const PROGRAMS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
];

/// Namespaces as `unshare` is asked for them: processes end with the first one, mounts and interfaces with the last.
const NAMESPACES: [&str; 6] = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// The name of the other machine.
pub const FAR: &str = "far.headwater.test";

/// Ends of the link, first and second address of each.
const NEAR_ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 3)];
const FAR_ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 2), Ipv4Addr::new(10, 77, 0, 4)];

/// The link's interfaces.
const NEAR_END: &str = "near0";
const FAR_END: &str = "far0";

/// A program of a classic packet filter that drops what a random number says: load it, compare, pass 0, drop 2.
/// `4294963256` is the place of random numbers (`SKF_AD_OFF + SKF_AD_RANDOM`).
fn drops(of_hundred: u32) -> String {
    let least_passed = u64::from(of_hundred) * u64::from(u32::MAX) / 100;
    format!("4,32 0 0 4294963256,37 1 0 {least_passed},6 0 0 2,6 0 0 0")
}

/// Runs `run` in a world of its own: in a process that does nothing but the test of this name, which must be the caller. Says SKIPPED
/// where the machine cannot have such a world; with `CI` set that is a failure.
///
/// # Panics
/// When the test fails there, or takes longer than `patience`.
pub fn in_own_world(test: &str, patience: Duration, run: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return run();
    }
    if let Some(missing) = missing() {
        assert!(std::env::var_os("CI").is_none(), "{test}: {missing}");
        return python::skip(test, &missing);
    }
    let directory = tempfile::tempdir().expect("a directory for the log");
    let this = std::env::current_exe().expect("the path of this test");
    // Killed with its parent: SIGKILL of this process takes the world along too.
    let mut world = Process::new("world", "setpriv", directory.path())
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(NAMESPACES)
        .args(["--".as_ref(), this.as_os_str()])
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        // Built already, by whoever asks first.
        .env("HEADWATER_BIN_DIR", binaries::headwater().parent().expect("a program is in a folder"));
    world.start();
    let status = world.wait(patience);
    let said = world.output();
    assert!(status.success() && said.contains("1 passed"), "{test} in a world of its own: {status}\n{said}");
    // Captured, and shown like whatever the caller prints.
    said.lines().for_each(|line| eprintln!("{line}"));
}

/// What of the machine is missing for a world of its own, if anything is.
#[must_use]
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    let absent = PROGRAMS.into_iter().find(|(program, _)| python::installed(program).is_none());
    if let Some((program, package)) = absent {
        return Some(format!("no {program}; Debian has it in {package}"));
    }
    match Command::new("unshare").args(NAMESPACES).args(["ip", "link", "set", "lo", "up"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("no namespaces: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Some(format!("no namespaces: {error}")),
    }
}

/// The link between this machine and the other, in a world of its own.
#[derive(Debug)]
pub struct Link {
    hosts: PathBuf,
    /// Which of its addresses each end has.
    near: usize,
    far: usize,
    /// Whether the kernel can delay packets; else a slow link is a narrow one.
    delays: bool,
}

impl Link {
    /// Makes the other machine and the link; both ends are up. [`FAR`] is its name here, in a file below `directory`.
    ///
    /// # Panics
    /// Outside of a world of its own, and when the kernel refuses.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        assert!(std::env::var_os(INSIDE).is_some(), "only inside of `in_own_world`");
        let hosts = directory.join("hosts");
        let mut link = Self { hosts, near: 0, far: 0, delays: false };
        link.name();
        must(Command::new("mount").args(["-n", "--bind"]).arg(&link.hosts).arg("/etc/hosts"));
        // Names of namespaces are files below /run, which is this world's own from here on.
        must(Command::new("mount").args(["-n", "-t", "tmpfs", "none", "/run"]));
        ip(&["link", "set", "lo", "up"]);
        ip(&["netns", "add", "far"]);
        ip(&["link", "add", NEAR_END, "type", "veth", "peer", "name", FAR_END, "netns", "far"]);
        link.address_near();
        ip(&["link", "set", NEAR_END, "up"]);
        link.address_far();
        ip(&["-n", "far", "link", "set", FAR_END, "up"]);
        ip(&["-n", "far", "link", "set", "lo", "up"]);
        for end in ENDS {
            tc(end, &["qdisc", "add", "dev", end.interface, "clsact"]);
        }
        link.delays = link.try_delay();
        link
    }

    /// Where the other machine's processes live, for `nsenter`.
    #[must_use]
    pub fn namespace(&self) -> &'static Path {
        Path::new("/run/netns/far")
    }

    /// The other machine's address now.
    #[must_use]
    pub fn far_address(&self) -> IpAddr {
        FAR_ADDRESSES[self.far].into()
    }

    /// Packets vanish both ways, so many of a hundred: 100 is a black hole, which tells nobody anything, 0 a good link.
    pub fn lose(&self, of_hundred: u32) {
        for end in ENDS {
            let interface = end.interface;
            if of_hundred > 0 {
                let program = drops(of_hundred);
                // Where packets come in: a sender is told of what its own interface drops.
                let filter = ["filter", "replace", "dev", interface, "ingress", "pref", "1", "handle", "1"];
                tc(end, &[&filter[..], &["protocol", "ip", "bpf", "da", "bytecode", &program]].concat());
            } else {
                tc(end, &["filter", "del", "dev", interface, "ingress"]);
            }
        }
    }

    /// Packets take their time: a fifth of a second, or as long as a link of 300 kbit/s lets them wait where the kernel has no delays.
    /// What is said for the report.
    pub fn set_slow(&self, slow: bool) -> &'static str {
        let how: &[&str] = if self.delays {
            &["netem", "delay", "200ms", "50ms"]
        } else {
            &["tbf", "rate", "300kbit", "burst", "8k", "latency", "400ms"]
        };
        if slow {
            tc(ENDS[0], &[&["qdisc", "add", "dev", NEAR_END, "root"], how].concat());
        } else {
            tc(ENDS[0], &["qdisc", "del", "dev", NEAR_END, "root"]);
        }
        if self.delays { "delayed by 200 ms" } else { "narrowed to 300 kbit/s" }
    }

    /// The other machine's interface: down, its packets go nowhere and this one is told nothing.
    pub fn set_far_up(&self, up: bool) {
        ip(&["-n", "far", "link", "set", FAR_END, if up { "up" } else { "down" }]);
    }

    /// This machine's interface: down, there is no way to anybody.
    pub fn set_near_up(&self, up: bool) {
        ip(&["link", "set", NEAR_END, if up { "up" } else { "down" }]);
    }

    /// This machine has another address: connections of the old one hang.
    pub fn readdress_near(&mut self) {
        self.near = 1 - self.near;
        ip(&["addr", "flush", "dev", NEAR_END]);
        self.address_near();
    }

    /// The other machine has another address, and its name says so.
    pub fn readdress_far(&mut self) {
        self.far = 1 - self.far;
        ip(&["-n", "far", "addr", "flush", "dev", FAR_END]);
        self.address_far();
        self.name();
    }

    fn address_near(&self) {
        ip(&["addr", "add", &format!("{}/24", NEAR_ADDRESSES[self.near]), "dev", NEAR_END]);
    }

    fn address_far(&self) {
        ip(&["-n", "far", "addr", "add", &format!("{}/24", FAR_ADDRESSES[self.far]), "dev", FAR_END]);
    }

    fn name(&self) {
        // In place: what is mounted over /etc/hosts is this very file.
        let text = format!("127.0.0.1 localhost\n{} {FAR}\n", FAR_ADDRESSES[self.far]);
        std::fs::write(&self.hosts, text).expect("the names of machines can be written");
    }

    fn try_delay(&self) -> bool {
        let mut tried = Command::new("tc");
        tried.args(["qdisc", "add", "dev", NEAR_END, "root", "netem", "delay", "1ms"]);
        let delays = tried.output().is_ok_and(|output| output.status.success());
        if delays {
            tc(ENDS[0], &["qdisc", "del", "dev", NEAR_END, "root"]);
        }
        delays
    }
}

/// One end of the link.
#[derive(Debug, Clone, Copy)]
struct End {
    interface: &'static str,
    is_far: bool,
}

const ENDS: [End; 2] = [End { interface: NEAR_END, is_far: false }, End { interface: FAR_END, is_far: true }];

fn ip(args: &[&str]) {
    must(Command::new("ip").args(args));
}

fn tc(end: End, args: &[&str]) {
    let far: &[&str] = if end.is_far { &["-n", "far"] } else { &[] };
    must(Command::new("tc").args(far).args(args));
}

fn must(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {}", output.status, said.trim());
}
