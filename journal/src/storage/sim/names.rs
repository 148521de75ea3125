//! The directory of the simulated disk: names as they are seen, and as a cut would leave them.
//!
//! In: creations, renamings, removals, syncs, a cut with its fates. Out: the file behind a name.
//! Always: what a sync covered survives a cut; a change that builds on a lost one is lost with it.
//! Not here: the files themselves, faults (`disk`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::{Fate, Operation, Pending};

#[derive(Clone, Default)]
pub(super) struct Names {
    seen: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    changes: Vec<Change>,
}

/// A change of the directory that no directory sync has covered.
#[derive(Clone)]
struct Change {
    operation: Operation,
    file: u64,
    sets: Vec<(String, Option<u64>)>,
}

impl Names {
    pub(super) fn list(&self) -> Vec<String> {
        self.seen.keys().cloned().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.seen.iter().map(|(name, &file)| (name.as_str(), file))
    }

    pub(super) fn find(&self, name: &str) -> io::Result<u64> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"));
        self.seen.get(name).copied().ok_or_else(missing)
    }

    /// Sets names to files, or takes them away, all together.
    pub(super) fn change(&mut self, operation: Operation, file: u64, sets: Vec<(String, Option<u64>)>) {
        apply(&mut self.seen, sets.clone());
        self.changes.push(Change { operation, file, sets });
    }

    pub(super) fn sync(&mut self) {
        self.changes.clear();
        self.durable = self.seen.clone();
    }

    /// Changes that no sync has covered.
    pub(super) fn pending(&self) -> usize {
        self.changes.len()
    }

    /// Power goes: every pending change meets its fate.
    pub(super) fn cut(&mut self, choose: &mut dyn FnMut(Pending<'_>) -> Fate) {
        let mut lost_names = BTreeSet::new();
        let mut lost_files = BTreeSet::new();
        for change in std::mem::take(&mut self.changes) {
            let name = change.sets.last().map_or("", |(name, _)| name.as_str());
            let builds_on_lost = lost_files.contains(&change.file)
                || change.sets.iter().any(|(name, _)| lost_names.contains(name.as_str()));
            let pending = Pending { operation: change.operation, name, offset: 0, len: 0 };
            if builds_on_lost || choose(pending) == Fate::Lost {
                lost_files.insert(change.file);
                lost_names.extend(change.sets.into_iter().map(|(name, _)| name));
            } else {
                apply(&mut self.durable, change.sets);
            }
        }
        self.seen = self.durable.clone();
    }

    /// Files that a name leads to, now or after some cut.
    pub(super) fn reachable(&self) -> BTreeSet<u64> {
        let named = self.seen.values().chain(self.durable.values()).copied();
        named.chain(self.changes.iter().map(|change| change.file)).collect()
    }
}

fn apply(names: &mut BTreeMap<String, u64>, sets: Vec<(String, Option<u64>)>) {
    for (name, file) in sets {
        match file {
            Some(file) => names.insert(name, file),
            None => names.remove(&name),
        };
    }
}
