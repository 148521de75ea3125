//! The ports: free, or taken by whom.
//!
//! In: the addresses of the configuration. Out: findings. Each port is taken for a moment to see whether it can be; who has
//! one is read in `/proc` (Linux), as far as this user may.

use super::Subject;
use super::report::Finding;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

/// Processes looked at for the one that has a port.
const PROCESSES_MAX: usize = 100_000;

/// Somebody who has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    pid: u32,
    name: String,
}

pub(super) fn check(subject: &Subject<'_>) -> Vec<Finding> {
    let config = subject.config;
    let mut ports = vec![
        ("mqtt.listen", config.mqtt.listen),
        ("kinesis.listen", config.kinesis.listen),
        ("http.listen", config.http.listen),
    ];
    ports.extend(config.mqtt.tls.as_ref().map(|tls| ("mqtt.tls.listen", tls.listen)));
    // The one that answers on the status port is the gateway.
    let gateway = subject.running.as_ref().map(|_| owner(config.http.listen.port()));
    ports.into_iter().map(|(key, addr)| port(key, addr, gateway.as_ref())).collect()
}

/// `gateway` is who has the status port of a gateway that runs, as far as that can be known.
fn port(key: &str, addr: SocketAddr, gateway: Option<&Option<Owner>>) -> Finding {
    let about = format!("port {} ({key})", addr.port());
    if addr.port() == 0 {
        return Finding::ok(about, "a free one is taken at the start");
    }
    let error = match TcpListener::bind(addr) {
        Ok(_) if gateway.is_some() => {
            let remedy = "restart the gateway: it runs with another configuration";
            return Finding::warn(about, "free, although a gateway runs", remedy);
        }
        Ok(_) => return Finding::ok(about, "free"),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::AddrInUse => taken(about, key, owner(addr.port()), gateway),
        ErrorKind::PermissionDenied => Finding::fail(
            about,
            format!("{addr}: {error}"),
            format!("set {key} to a port above 1023, or give the program CAP_NET_BIND_SERVICE"),
        ),
        ErrorKind::AddrNotAvailable => Finding::fail(
            about,
            format!("{} is no address of this machine", addr.ip()),
            format!("set {key} to one of its addresses (`ip address`), or to 0.0.0.0 for all"),
        ),
        _ => Finding::fail(about, format!("{addr}: {error}"), format!("set {key} to another address")),
    }
}

fn taken(about: String, key: &str, owner: Option<Owner>, gateway: Option<&Option<Owner>>) -> Finding {
    match (owner, gateway) {
        (Some(owner), Some(Some(gateway))) if owner == *gateway => {
            Finding::ok(about, format!("taken by the gateway that runs (process {})", owner.pid))
        }
        // Whose processes this user may not see.
        (None, Some(_)) => Finding::ok(about, "taken, by the gateway that runs as it seems"),
        (Some(Owner { pid, name }), _) => Finding::fail(
            about,
            format!("taken by {name} (process {pid})"),
            format!("stop {name}, or set {key} to another port"),
        ),
        (None, None) => Finding::fail(
            about,
            "taken by a process of another user",
            format!("`sudo ss -ltnp` says by which; stop it, or set {key} to another port"),
        ),
    }
}

/// Who listens on a port; none when this user may not know.
fn owner(port: u16) -> Option<Owner> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = std::fs::read_dir("/proc").ok()?.flatten().take(PROCESSES_MAX);
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if has(&process.path(), &sockets) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(Owner { pid, name: name.trim().to_owned() });
        }
    }
    None
}

fn has(process: &Path, sockets: &[String]) -> bool {
    let Ok(files) = std::fs::read_dir(process.join("fd")) else { return false };
    files
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| sockets.iter().any(|socket| socket == target)))
}

/// Inodes of the sockets that listen on a port, out of a table of the kernel (proc(5): `/proc/net/tcp`).
fn listening(table: &str, port: u16) -> Vec<u64> {
    const LISTENS: &str = "0A";
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, found) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(found, 16).ok()? == port && *fields.get(3)? == LISTENS;
        if is_it { fields.get(9)?.parse().ok() } else { None }
    };
    table.lines().skip(1).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn a_taken_port_names_who_has_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let us = owner(addr.port()).unwrap();
        assert_eq!(us.pid, std::process::id());
        let finding = port("mqtt.listen", addr, None);
        assert_eq!(finding.level, Level::Fail);
        assert_eq!(finding.found, format!("taken by {} (process {})", us.name, us.pid));
        // It is the gateway's own when the gateway has the status port too.
        assert_eq!(port("mqtt.listen", addr, Some(&Some(us))).level, Level::Ok);
        let other = Owner { pid: 1, name: "init".to_owned() };
        assert_eq!(port("mqtt.listen", addr, Some(&Some(other))).level, Level::Fail);
        drop(listener);
        assert_eq!(port("mqtt.listen", addr, None).level, Level::Ok);
        assert_eq!(port("mqtt.listen", addr, Some(&None)).level, Level::Warn);
    }

    #[test]
    fn an_address_of_another_machine_fails() {
        let finding = port("http.listen", "192.0.2.1:9464".parse().unwrap(), None);
        assert_eq!(
            (finding.level, finding.found.as_str()),
            (Level::Fail, "192.0.2.1 is no address of this machine")
        );
    }
}
