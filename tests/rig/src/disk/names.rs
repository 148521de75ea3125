//! Directories: what names there are now, what names the disk would have after a cut, and the changes in between.
//!
//! A change is durable when its directory was synced after it, whatever was synced of the file itself. At a cut each pending
//! change is kept or lost as a whole; one that builds on a lost one (same file, or same name) is lost with it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use super::Fates;

/// A name in a directory.
pub(crate) type Slot = (u64, OsString);

/// Names of all directories.
type Tree = BTreeMap<Slot, u64>;

/// What happened to a name and is not durable yet.
#[derive(Clone, Debug)]
struct Change {
    /// The file or directory concerned.
    node: u64,
    /// The name it had.
    from: Option<Slot>,
    /// The name it has now; a file that had it loses it.
    to: Option<Slot>,
}

impl Change {
    fn apply(&self, tree: &mut Tree) {
        if let Some(from) = &self.from {
            tree.remove(from);
        }
        if let Some(to) = &self.to {
            tree.insert(to.clone(), self.node);
        }
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.from.iter().chain(&self.to)
    }

    fn touches(&self, dir: u64) -> bool {
        self.slots().any(|slot| slot.0 == dir)
    }
}

/// Files and names that a set of changes is about; another change about one of them depends on the set.
#[derive(Default)]
struct Concerned {
    nodes: BTreeSet<u64>,
    slots: BTreeSet<Slot>,
}

impl Concerned {
    fn add(&mut self, change: &Change) {
        self.nodes.insert(change.node);
        self.slots.extend(change.slots().cloned());
    }

    fn meets(&self, change: &Change) -> bool {
        self.nodes.contains(&change.node) || change.slots().any(|slot| self.slots.contains(slot))
    }
}

/// The names of a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    now: Tree,
    durable: Tree,
    pending: Vec<Change>,
}

impl Names {
    /// Which file has this name.
    pub(crate) fn get(&self, dir: u64, name: &OsStr) -> Option<u64> {
        self.now.get(&(dir, name.to_owned())).copied()
    }

    /// Names in a directory, in order.
    pub(crate) fn list(&self, dir: u64) -> impl Iterator<Item = (&OsStr, u64)> {
        let from = (dir, OsString::new());
        self.now
            .range(from..)
            .take_while(move |((at, _), _)| *at == dir)
            .map(|((_, name), node)| (name.as_os_str(), *node))
    }

    /// Gives a new file a name, removes a name, or moves a file from one name to another.
    pub(crate) fn change(&mut self, node: u64, from: Option<Slot>, to: Option<Slot>) {
        let change = Change { node, from, to };
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    /// Makes every change of this directory durable, and what those build on.
    pub(crate) fn sync(&mut self, dir: u64) {
        let mut needed = Concerned::default();
        let mut wanted = vec![false; self.pending.len()];
        for (change, wanted) in self.pending.iter().zip(&mut wanted).rev() {
            *wanted = change.touches(dir) || needed.meets(change);
            if *wanted {
                needed.add(change);
            }
        }
        let mut wanted = wanted.into_iter();
        let durable = &mut self.durable;
        self.pending.retain(|change| {
            let wanted = wanted.next().expect("one answer for each change");
            if wanted {
                change.apply(durable);
            }
            !wanted
        });
    }

    /// How many changes a cut would decide about.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The names after a cut: all of them durable. How many changes were lost with it.
    pub(crate) fn cut(&self, fates: &mut Fates) -> (Self, usize) {
        let (mut tree, mut lost, mut count) = (self.durable.clone(), Concerned::default(), 0);
        for change in &self.pending {
            // Asked in any case: what follows must not depend on what fell with another.
            let kept = fates.keeps_name();
            if kept && !lost.meets(change) {
                change.apply(&mut tree);
            } else {
                lost.add(change);
                count += 1;
            }
        }
        (Self { now: tree.clone(), durable: tree, pending: Vec::new() }, count)
    }
}
