//! One group to the disk: sorted into runs, sealed, written, synced, entered into the index.
//!
//! In: a group the leader took from the queue. Out: the same, durable, or the reason why the journal stops.
//! Invariants: one caller at a time; a group is written once, at a place that was never acknowledged before; after an error nothing
//! is written again.
//! Not here: who leads (`queue`), where the file comes from (`files`).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::blocks::{BLOCK_BYTES, Blocks};
use crate::bytes::{crc32c, splitmix};
use crate::config::{Cipher, Config, Durability};
use crate::core::coder::{Coder, Sealing};
use crate::core::index::{Segment, Tables, Written};
use crate::core::keys::KeyRing;
use crate::core::stage::{Building, Chunk};
use crate::core::{Core, lock};
use crate::error::Failed;
use crate::format::body::Origin;
use crate::format::footer::RunRef;
use crate::format::group::{GroupHead, HEAD_BYTES, RUN_HEADER_BYTES, RunHeader};
use crate::format::segment::{FileName, HEADER_BYTES, SegmentHeader, TRAILER_BYTES};
use crate::format::{index, u32_of};
use crate::storage::{Storage, StorageFile};

/// State of whoever leads.
pub(super) struct Writer<F> {
    open: Option<OpenSegment<F>>,
    /// Number of the next segment to open.
    pub(super) next_number: u64,
    /// Checksum of the last group: the next one carries it.
    pub(super) chain: u32,
    /// Files written since the last sync, when durability is by interval.
    unsynced: Vec<Arc<F>>,
    synced_ms: u64,
    headers: Vec<(RunHeader, u32, u64)>,
    written: Vec<Written>,
    coder: Coder,
}

struct OpenSegment<F> {
    number: u64,
    salt: u64,
    file: Arc<F>,
    offset: u32,
    header: Option<SegmentHeader>,
}

impl<F> Writer<F> {
    pub(super) fn new(next_number: u64, chain: u32, config: &Config) -> Self {
        let (headers, written, coder) = (Vec::new(), Vec::new(), Coder::new(config.compression));
        Self { open: None, next_number, chain, unsynced: Vec::new(), synced_ms: 0, headers, written, coder }
    }
}

impl<S: Storage> Core<S> {
    /// Writes `group` and everything that makes it durable and visible.
    pub(super) fn write_group(&self, group: &mut Building) -> Result<(), Failed> {
        let mut writer = lock(&self.writer);
        let writer = &mut *writer;
        if group.rolls {
            self.open_segment(writer, group)?;
        }
        let open = writer.open.as_mut().ok_or_else(|| Failed::new("no segment is open"))?;
        let mut buffer = lock(&self.tail).buffer();
        let mut at = open.offset;
        if let Some(header) = open.header.take() {
            // Header and first group in one write: opening a segment costs no operation of its own.
            header.encode(&mut buffer);
            at = 0;
        }
        let group_at = at + u32_of(buffer.len());
        let place = Origin { lane: self.lane, salt: open.salt, group: group.number, run: 0 };
        let mut assembly =
            Assembly { place, cipher: self.config.cipher, ring: &self.ring, coder: &mut writer.coder };
        assembly.assemble(group, &mut buffer, &mut writer.headers);
        let start = index(group_at - at);
        let head = GroupHead {
            runs: u32_of(writer.headers.len()),
            number: group.number,
            salt: open.salt,
            wall_ms: group.wall_ms,
            length: u32_of(buffer.len() - start),
            previous_crc: writer.chain,
            crc: 0,
        };
        let crc = head.seal(&mut buffer.as_mut_slice()[start..]);
        buffer.pad();
        let (number, file) = (open.number, Arc::clone(&open.file));
        open.offset = at + u32_of(buffer.len());
        let data_end = open.offset;
        group.written = index(data_end - group_at);
        // What was planned is an upper bound; past it the footer's room, or another file's, would be written over.
        assert!(group.written <= group.size().next_multiple_of(BLOCK_BYTES), "a group stays in its place");
        assert!(
            u64::from(data_end + TRAILER_BYTES) <= self.config.segment_bytes,
            "a group stays in its file"
        );
        let failed = |doing, error: io::Error| {
            Failed::new(format!(
                "{}: {doing} of group {} failed: {error}",
                FileName::Segment(number),
                group.number
            ))
        };
        file.write_at(&buffer, u64::from(at)).map_err(|error| failed("write", error))?;
        self.sync_group(writer, &file, group.wall_ms).map_err(|error| failed("sync", error))?;
        writer.chain = crc;
        self.totals.device_writes.add(1);
        self.totals.bytes_written.add(buffer.len() as u64);
        self.count_group(group);
        // Before the index, so that whoever learns of the runs finds them in memory.
        lock(&self.tail).push(number, at, buffer);
        let written = writer.headers.iter().map(|(header, slot, newest_ms)| Written {
            slot: *slot,
            shard: header.shard,
            run: RunRef::of(header, group_at, *newest_ms),
        });
        writer.written.clear();
        writer.written.extend(written);
        let mut index = self.index_mut();
        let segment = index.segments.get_mut(&number).expect("open_segment entered it");
        (segment.last_group, segment.last_crc, segment.data_end) = (group.number, crc, data_end);
        index.install(number, &writer.written);
        Ok(())
    }

    fn sync_group(&self, writer: &mut Writer<S::File>, file: &Arc<S::File>, now_ms: u64) -> io::Result<()> {
        match self.config.durability {
            Durability::Sync => {
                self.totals.flushes.add(1);
                file.sync()
            }
            Durability::Interval(interval) => {
                if !writer.unsynced.iter().any(|other| Arc::ptr_eq(other, file)) {
                    writer.unsynced.push(Arc::clone(file));
                }
                // Either way: a clock that was put back must not put off the sync until it is there again.
                if u128::from(now_ms.abs_diff(writer.synced_ms)) < interval.as_millis() {
                    return Ok(());
                }
                self.sync_late(writer, now_ms)
            }
        }
    }

    fn sync_late(&self, writer: &mut Writer<S::File>, now_ms: u64) -> io::Result<()> {
        writer.synced_ms = now_ms;
        for file in writer.unsynced.drain(..) {
            self.totals.flushes.add(1);
            file.sync()?;
        }
        Ok(())
    }

    /// Syncs what an interval left unsynced, when it is due or `force`.
    pub(super) fn sync_interval(&self, now_ms: u64, force: bool) -> Result<(), Failed> {
        let Durability::Interval(interval) = self.config.durability else { return Ok(()) };
        let mut writer = lock(&self.writer);
        let due = u128::from(now_ms.abs_diff(writer.synced_ms)) >= interval.as_millis();
        if writer.unsynced.is_empty() || !(due || force) {
            return Ok(());
        }
        self.sync_late(&mut writer, now_ms).map_err(|error| Failed::new(format!("sync failed: {error}")))
    }

    /// Makes the next file the open segment. Its header goes out with the group.
    fn open_segment(&self, writer: &mut Writer<S::File>, group: &Building) -> Result<(), Failed> {
        let number = writer.next_number;
        let name = FileName::Segment(number);
        let (file, late) = lock(&self.files)
            .take(&self.storage, number)
            .map_err(|error| Failed::new(format!("{name}: preparing it failed: {error}")))?
            .ok_or_else(|| Failed::new(format!("{name}: no file is ready for it")))?;
        if late {
            self.totals.late_segments.add(1);
        }
        writer.next_number += 1;
        self.next_number.store(writer.next_number, Ordering::Release);
        // The salt must differ from that of every earlier life of this file, also when a caller gives the same seed twice.
        let mut chance = self.seed ^ number.rotate_left(32) ^ group.number.rotate_left(16) ^ group.wall_ms;
        let salt = splitmix(&mut chance);
        let kept_ms = self.kept_ms.load(Ordering::Relaxed);
        let header = SegmentHeader {
            lane_id: self.lane_id,
            lane: self.lane,
            number,
            salt,
            first_group: group.number,
            wall_ms: group.wall_ms,
            kept_ms,
            previous_crc: writer.chain,
        };
        let segment = Segment {
            file: Arc::clone(&file),
            file_bytes: self.config.segment_bytes,
            salt,
            first_group: group.number,
            last_group: group.number,
            last_crc: 0,
            data_end: HEADER_BYTES,
            tables: Tables::Memory(BTreeMap::new()),
            pieces: 0,
            live_bytes: 0,
            damaged: false,
            released: 0,
            opened_ms: Some(kept_ms),
        };
        let mut index = self.index_mut();
        index.segments.insert(number, segment);
        index.open = Some(number);
        drop(index);
        writer.open = Some(OpenSegment { number, salt, file, offset: HEADER_BYTES, header: Some(header) });
        self.upkeep_due.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn count_group(&self, group: &Building) {
        self.totals.groups.add(1);
        self.totals.records.add(group.records);
        self.totals.bytes_received.add(group.received);
    }
}

/// What turns the runs of a group into bytes.
struct Assembly<'a> {
    /// Where runs are sealed, but for their index.
    place: Origin,
    cipher: Cipher,
    ring: &'a KeyRing,
    coder: &'a mut Coder,
}

impl Assembly<'_> {
    /// Appends the group to `buffer`: room for the head, run headers, bodies. Leaves header, slot and newest time of every run in `runs`.
    fn assemble(&mut self, group: &mut Building, buffer: &mut Blocks, runs: &mut Vec<(RunHeader, u32, u64)>) {
        // First sequences rise per shard in the order of staging, so this order is stable and needs no memory.
        group.chunks.sort_unstable_by_key(|chunk| (chunk.key, chunk.first));
        runs.clear();
        let start = buffer.len();
        let tables = HEAD_BYTES + index(group.runs) * RUN_HEADER_BYTES;
        buffer.resize(start + tables);
        for run in group.chunks.chunk_by(|left, right| left.key == right.key) {
            let draft = header_of(run, u32_of(buffer.len() - start));
            let newest_ms = run[run.len() - 1].time_ms;
            let bytes: usize = run.iter().map(|chunk| index(chunk.len)).sum();
            let header = if self.coder.compresses(bytes) || group.seals.contains_key(&draft.shard.stream) {
                self.code(group, run, draft, u32_of(runs.len()), buffer)
            } else {
                plain(group, run, draft, buffer)
            };
            runs.push((header, run[0].slot, newest_ms));
        }
        for (copied, slot) in &group.copied {
            let body = buffer.len();
            let from = index(copied.offset);
            buffer.extend_from_slice(&group.bytes[from..from + index(copied.stored)]);
            let newest_ms = crate::core::scan::newest_ms(copied, &buffer.as_slice()[body..]);
            runs.push((RunHeader { offset: u32_of(body - start), ..*copied }, *slot, newest_ms));
        }
        self.coder.rest();
        assert_eq!(runs.len(), index(group.runs), "the stage counted the runs");
        let mut at = start + HEAD_BYTES;
        for (header, _, _) in runs.iter() {
            buffer.as_mut_slice()[at..at + RUN_HEADER_BYTES].copy_from_slice(&header.encode());
            at += RUN_HEADER_BYTES;
        }
    }

    /// Appends a body that is compressed or sealed.
    fn code(
        &mut self,
        group: &Building,
        run: &[Chunk],
        draft: RunHeader,
        number: u32,
        buffer: &mut Blocks,
    ) -> RunHeader {
        let stream = draft.shard.stream;
        let origin = Origin { run: number, ..self.place };
        let sealing = group.seals.get(&stream).map(|seal| {
            let key = seal.key.as_ref().expect("appends of a sealed stream without a key are refused");
            let key = self.ring.to_seal((stream, seal.key_id, key), &origin, self.cipher);
            Sealing { cipher: self.cipher, key_id: seal.key_id, key, origin }
        });
        let chunks: Vec<&[u8]> = run.iter().map(|chunk| bytes_of(group, chunk)).collect();
        let span_ms = run[run.len() - 1].time_ms - draft.base_ms;
        let span_ms = u32::try_from(span_ms).unwrap_or(u32::MAX);
        self.coder.body(buffer, draft, &chunks, span_ms, sealing.as_ref())
    }
}

fn bytes_of<'a>(group: &'a Building, chunk: &Chunk) -> &'a [u8] {
    &group.bytes[index(chunk.start)..index(chunk.start + chunk.len)]
}

/// Appends a body as it is.
fn plain(group: &Building, run: &[Chunk], draft: RunHeader, buffer: &mut Blocks) -> RunHeader {
    let start = buffer.len();
    for chunk in run {
        buffer.extend_from_slice(bytes_of(group, chunk));
    }
    let body = &buffer.as_slice()[start..];
    RunHeader { stored: u32_of(body.len()), crc: crc32c(body), ..draft }
}

/// The header of a run, but for what depends on its body.
fn header_of(run: &[Chunk], offset: u32) -> RunHeader {
    RunHeader {
        shard: run[0].key,
        first: run[0].first,
        base_ms: run[0].time_ms,
        count: run.iter().map(|chunk| chunk.count).sum(),
        stored: 0,
        crc: 0,
        flags: 0,
        key_id: 0,
        offset,
    }
}
