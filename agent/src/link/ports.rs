//! Serial ports that come and go: every port that matches a pattern is a link while it is there.
//!
//! In: patterns of device files. Out: one link a port. Invariants: a port has one link under however many names it appears; a bounded
//! number is open. Not here: what happens on a port that is open ([`run_serial`]).

use super::{Links, run_serial};
use crate::limits::{PORTS_EVERY_MS, PORTS_MAX};
use glob::{Pattern, glob};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Which ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) patterns: Vec<String>,
    pub(crate) exclude: Vec<Pattern>,
    /// Ports that have links of their own.
    pub(crate) taken: Vec<PathBuf>,
}

/// Serves the ports that match until the links are told to stop.
pub(crate) async fn run_ports(links: Links, wanted: Wanted, baud: u32, seed: u64) {
    let mut stop = links.stop.clone();
    let mut tick = interval(Duration::from_millis(PORTS_EVERY_MS));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open: BTreeMap<PathBuf, String> = BTreeMap::new();
    let (mut ports, mut is_full) = (JoinSet::new(), false);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            Some(ended) = ports.join_next() => {
                if let Ok(port) = ended {
                    open.remove(&port);
                }
                continue;
            }
            () = stop.stopped() => break,
        }
        let looking = wanted.clone();
        let Ok(found) = tokio::task::spawn_blocking(move || looking.look()).await else { continue };
        for (port, name) in found {
            if open.contains_key(&port) {
                continue;
            }
            if open.len() >= PORTS_MAX {
                if !is_full {
                    tracing::warn!(port = name, ports_max = PORTS_MAX, "port not opened, too many are open");
                }
                is_full = true;
                break;
            }
            is_full = false;
            tracing::info!(port = name, "serial port found");
            let seed = seed.wrapping_add(open.len() as u64);
            open.insert(port.clone(), name.clone());
            let links = links.clone();
            ports.spawn(async move {
                run_serial(links, Path::new(&name), baud, true, seed).await;
                port
            });
        }
    }
    while ports.join_next().await.is_some() {}
}

impl Wanted {
    /// The ports there are: what they really are, and the name they were found by. Blocks on the file system, for a moment.
    fn look(&self) -> BTreeMap<PathBuf, String> {
        let taken: Vec<PathBuf> = self.taken.iter().filter_map(|path| path.canonicalize().ok()).collect();
        let mut found = BTreeMap::new();
        let names = self.patterns.iter().filter_map(|pattern| glob(pattern).ok()).flatten().flatten();
        for name in names {
            // A link into nothing is a port that is just going away.
            let Ok(port) = name.canonicalize() else { continue };
            let is_excluded =
                self.exclude.iter().any(|pattern| pattern.matches_path(&name) || pattern.matches_path(&port));
            if !is_excluded && !taken.contains(&port) {
                found.entry(port).or_insert_with(|| name.display().to_string());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_found_once_and_those_that_are_excluded_or_taken_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["tty0", "tty1", "tty2", "zigbee-stick"] {
            std::fs::write(at(name), "").unwrap();
        }
        std::os::unix::fs::symlink(at("tty0"), at("by-id-sensor")).unwrap();
        std::os::unix::fs::symlink(at("tty2"), at("my-port")).unwrap();
        std::os::unix::fs::symlink(at("gone"), at("by-id-gone")).unwrap();
        let pattern = |name: &str| at(name).to_str().unwrap().to_owned();
        let wanted = Wanted {
            patterns: vec![pattern("by-id-*"), pattern("tty*"), pattern("zig*")],
            exclude: vec![Pattern::new(&pattern("zigbee-*")).unwrap()],
            taken: vec![at("my-port")],
        };
        let found = wanted.look();
        let names: Vec<&str> = found.values().map(String::as_str).collect();
        assert_eq!(names, [pattern("by-id-sensor"), pattern("tty1")]);
    }
}
