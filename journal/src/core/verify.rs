//! Every byte that counts, read and compared with its checksum; nothing is changed.
//!
//! In: a core on a view, what its opening found. Out: what is damaged, where, and which records that costs.
//! Rules: a start trusts footers; here the groups behind a footer are read too, and a record counts as lost when neither a group nor a
//! footer leads to whole bytes of it. What was let go, or copied elsewhere, is no loss. Zeros between groups, files of the pool and
//! what is left of a file's earlier life have no checksum and do not count.
//! Invariant: whatever a reader would meet as a gap is in a finding.
//! Not here: one segment (`segment`), which damage a hole belongs to (`holes`).

mod holes;
mod segment;

use std::collections::BTreeMap;

use self::segment::Unknown;
use crate::ShardKey;
use crate::core::Core;
use crate::core::meta::own;
use crate::core::recover::{by_shard, without};
use crate::format::segment::FileName;
use crate::format::snapshot::Snapshot;
use crate::page::LostRange;
use crate::storage::{Storage, StorageFile, ViewStorage};
use crate::types::{Lost, Recovery};

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Segments read.
    pub files: u64,
    /// Segments to read.
    pub files_all: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes to read.
    pub bytes_all: u64,
}

/// What a damage means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Records are lost, and nobody has been told yet: a start, or the reader that meets them, will note it.
    Lost,
    /// Records are lost, and an earlier start or reader has noted it.
    Known,
    /// No record that is kept is lost.
    Intact,
}

/// One place that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// Where in it the damaged part begins, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// What that costs. Stream 0 is the journal's own: metadata, in versions. Where several places may have held the same records, each
    /// of them names these.
    pub lost: Vec<Lost>,
    /// What it means.
    pub standing: Standing,
}

/// What reading everything gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Segments read.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Whole groups.
    pub groups: u64,
    /// Whole records in them, also such as were let go since.
    pub records: u64,
    /// Bytes behind the last group that a stop in the middle of a write left; nobody was told that they are safe.
    pub torn_bytes: u64,
    /// What is damaged, by file and place.
    pub findings: Vec<Finding>,
    /// Metadata is among what is lost: keys may be older than acknowledged.
    pub metadata_lost: bool,
}

impl Verification {
    /// Whether every checksum was right and every file there.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && !self.metadata_lost
    }

    /// All ranges lost, each once.
    #[must_use]
    pub fn lost(&self) -> Vec<Lost> {
        let mut lost: Vec<Lost> = self.findings.iter().flat_map(|finding| finding.lost.clone()).collect();
        lost.sort_unstable();
        lost.dedup();
        lost
    }

    fn find(&mut self, file: String, offset: u64, what: impl Into<String>) -> usize {
        let (what, lost) = (what.into(), Vec::new());
        self.findings.push(Finding { file, offset, what, lost, standing: Standing::Intact });
        self.findings.len() - 1
    }
}

impl Core<ViewStorage> {
    /// Reads every segment and snapshot; see the module.
    pub(crate) fn verify(&self, recovery: &Recovery, progress: &mut dyn FnMut(Progress)) -> Verification {
        let mut verification =
            Verification { metadata_lost: recovery.metadata_lost, ..Verification::default() };
        let mut unknown = Vec::new();
        for name in &recovery.unreadable {
            let finding =
                verification.find(name.clone(), 0, "cannot be read, or shows nothing that can be used");
            if let Some(FileName::Segment(number)) = FileName::parse(name) {
                unknown.push(Unknown { finding, number, at: 0 });
            }
        }
        let unreadable: Vec<u64> = unknown.iter().map(|unknown| unknown.number).collect();
        let segments: Vec<(u64, u64)> =
            self.index().segments.iter().map(|(&number, segment)| (number, segment.file_bytes)).collect();
        let mut at = Progress {
            files: 0,
            files_all: segments.len() as u64,
            bytes: 0,
            bytes_all: segments.iter().map(|(_, bytes)| bytes).sum(),
        };
        for (number, bytes) in segments {
            progress(at);
            if !unreadable.contains(&number) {
                self.verify_segment(number, &mut verification, &mut unknown);
            }
            at = Progress { files: at.files + 1, bytes: at.bytes + bytes, ..at };
        }
        progress(at);
        (verification.files, verification.bytes) = (at.files, at.bytes);
        self.verify_snapshots(&mut verification);
        self.place_holes(&unknown, &mut verification);
        self.judge(&recovery.lost, &mut verification);
        verification
    }

    fn verify_snapshots(&self, verification: &mut Verification) {
        let read = |name: &str| {
            let file = self.storage.open(name)?.untouched();
            if !file.is_there() {
                return Err(std::io::ErrorKind::NotFound.into());
            }
            let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
            file.read_at(&mut bytes, 0).map(|()| bytes)
        };
        for number in 0..2u8 {
            let name = FileName::Snapshot(number).to_string();
            match read(&name) {
                Ok(bytes) if bytes.iter().all(|&byte| byte == 0) => {}
                Ok(bytes) if matches!(Snapshot::decode(&bytes), Some(Ok(_))) => {}
                Ok(_) => {
                    let what = "this snapshot is damaged, or a stop in the middle of its writing tore it";
                    verification.find(name, 0, what);
                }
                Err(error) => {
                    verification.find(name, 0, format!("this snapshot cannot be read: {error}"));
                }
            }
        }
    }

    /// Says of every finding what it means, and puts them in order.
    fn judge(&self, fresh: &[Lost], verification: &mut Verification) {
        let mut known = self.queue.look(|staged| own::lost_ranges(&staged.meta));
        // The opening noted what it found itself, in memory alone.
        known.retain(|&(shard, range)| !fresh.contains(&Lost { shard, range }));
        let known: BTreeMap<ShardKey, Vec<LostRange>> = by_shard(known);
        for finding in &mut verification.findings {
            finding.lost.sort_unstable();
            finding.lost.dedup();
            let is_known = |lost: &Lost| {
                let known = known.get(&lost.shard).map(Vec::as_slice).unwrap_or_default();
                without(lost.range, known).is_empty()
            };
            finding.standing = match &finding.lost[..] {
                [] => Standing::Intact,
                lost if lost.iter().all(is_known) => Standing::Known,
                _ => Standing::Lost,
            };
        }
        verification.findings.sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
    }
}
