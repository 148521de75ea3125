//! Bodies of runs as they are stored: compressed, sealed, or as they are.
//!
//! In: encoded records and what their stream is sealed with. Out: the stored body and its header; and the records again.
//! Invariants: compression comes before encryption; a body is never longer than its records and `SEAL_BYTES`; a length from outside is
//! checked before memory is taken for it.
//! Not here: which key (`core::keys`), which runs (`writer`, `read`).

use std::sync::Arc;

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

use crate::blocks::Blocks;
use crate::bytes::crc32c;
use crate::config::{Cipher, Compression};
use crate::format::body::{FRONT_BYTES, Form, Front, Origin, SEALED_FRONT_BYTES, TAG_BYTES};
use crate::format::group::{RUN_HEADER_BYTES, RunHeader};
use crate::format::{index, u32_of};
use crate::keys::RunKey;
use crate::limits::{COMPRESS_BYTES_MIN, COMPRESS_GAIN_MIN};

/// Below this input LZ4's small table serves; clearing the large one costs more than it brings.
const SMALL_TABLE_BYTES: usize = u16::MAX as usize;

/// Memory that is kept from one group to the next; more is given back.
const KEPT_BYTES: usize = 2 << 20;

/// What a run is sealed with.
pub(super) struct Sealing {
    pub(super) cipher: Cipher,
    pub(super) key_id: u16,
    pub(super) key: Arc<RunKey>,
    pub(super) origin: Origin,
}

/// Makes bodies. Keeps its memory from run to run.
pub(super) struct Coder {
    compression: Compression,
    // Records of a run that stand in several chunks, in one piece.
    raw: Vec<u8>,
    packed: Vec<u8>,
    small: CompressTable,
    large: Option<CompressTable>,
}

impl Coder {
    pub(super) fn new(compression: Compression) -> Self {
        let (raw, packed) = (Vec::new(), Vec::new());
        Self { compression, raw, packed, small: CompressTable::small(), large: None }
    }

    /// Whether a run of `bytes` that is not sealed is worth a try.
    pub(super) fn compresses(&self, bytes: usize) -> bool {
        self.compression == Compression::Lz4 && bytes >= COMPRESS_BYTES_MIN
    }

    /// Appends the body of a run to `buffer` and gives its header. `header` has everything but what depends on the body; `span_ms` is
    /// the time from its base to its last record.
    pub(super) fn body(
        &mut self,
        buffer: &mut Blocks,
        header: RunHeader,
        chunks: &[&[u8]],
        span_ms: u32,
        sealing: Option<&Sealing>,
    ) -> RunHeader {
        let start = buffer.len();
        let length: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        let packed = self.compresses(length).then(|| self.pack(chunks, length)).flatten();
        let form = Form { lz4: packed.is_some(), cipher: sealing.map(|sealing| sealing.cipher) };
        if !form.is_plain() {
            let seal = sealing.map(|sealing| (sealing.origin, sealing.key.check));
            let (front, len) = Front { span_ms, raw: u32_of(length), seal }.encode();
            buffer.extend_from_slice(&front[..len]);
        }
        match packed {
            Some(len) => buffer.extend_from_slice(&self.packed[..len]),
            None => chunks.iter().for_each(|chunk| buffer.extend_from_slice(chunk)),
        }
        let tag_bytes = if sealing.is_some() { TAG_BYTES } else { 0 };
        let mut header = RunHeader {
            stored: u32_of(buffer.len() - start + tag_bytes),
            flags: form.flags(),
            key_id: sealing.map_or(0, |sealing| sealing.key_id),
            crc: 0,
            ..header
        };
        if let Some(sealing) = sealing {
            let (front, text) = buffer.as_mut_slice()[start..].split_at_mut(SEALED_FRONT_BYTES);
            let tag = sealing.key.seal(&sealing.origin, &bound(&header, front), text);
            buffer.extend_from_slice(&tag);
        }
        header.crc = crc32c(&buffer.as_slice()[start..]);
        header
    }

    /// Compresses the chunks into `packed` and gives the length, when that is worth it.
    fn pack(&mut self, chunks: &[&[u8]], length: usize) -> Option<usize> {
        let raw = match chunks {
            [one] => one,
            _ => {
                self.raw.clear();
                chunks.iter().for_each(|chunk| self.raw.extend_from_slice(chunk));
                &self.raw[..]
            }
        };
        let room = get_maximum_output_size(length);
        if self.packed.len() < room {
            self.packed.resize(room, 0);
        }
        let table = if length < SMALL_TABLE_BYTES {
            &mut self.small
        } else {
            self.large.get_or_insert_with(CompressTable::large)
        };
        let len = compress_into_with_table(raw, &mut self.packed, table).ok()?;
        (len + FRONT_BYTES <= length - length / COMPRESS_GAIN_MIN).then_some(len)
    }

    /// Gives back what one big set made it take.
    pub(super) fn rest(&mut self) {
        if self.raw.capacity() > KEPT_BYTES {
            self.raw = Vec::new();
        }
        if self.packed.capacity() > KEPT_BYTES {
            self.packed = Vec::new();
        }
    }
}

/// What a tag proves besides the text: the run's header as stored, without the checksum of what it is part of, and the front.
fn bound(header: &RunHeader, front: &[u8]) -> [u8; RUN_HEADER_BYTES + SEALED_FRONT_BYTES] {
    let mut bound = [0; RUN_HEADER_BYTES + SEALED_FRONT_BYTES];
    bound[..RUN_HEADER_BYTES].copy_from_slice(&RunHeader { crc: 0, ..*header }.encode());
    bound[RUN_HEADER_BYTES..].copy_from_slice(front);
    bound
}

/// A stored body whose open part was read.
pub(super) struct Stored<'a> {
    form: Form,
    pub(super) front: Front,
    body: &'a [u8],
}

impl<'a> Stored<'a> {
    /// `None` when the body is not one of this form.
    pub(super) fn of(form: Form, body: &'a [u8]) -> Option<Self> {
        Some(Self { form, front: Front::decode(form, body)?, body })
    }

    /// Writes the records into `out`; `None` when the body is damaged. `header` is the run's, `key` opens it when it is sealed.
    pub(super) fn open(&self, header: &RunHeader, key: Option<&RunKey>, out: &mut Blocks) -> Option<()> {
        let text = &self.body[self.form.front_bytes()..];
        let Some((origin, _)) = &self.front.seal else { return self.unpack(text, out) };
        let front = &self.body[..SEALED_FRONT_BYTES];
        let bound = bound(header, front);
        if self.form.lz4 {
            let mut sealed = text.to_vec();
            let len = key?.open(origin, &bound, &mut sealed)?;
            return self.unpack(&sealed[..len], out);
        }
        out.clear();
        out.extend_from_slice(text);
        let len = key?.open(origin, &bound, out.as_mut_slice())?;
        out.set_len(len);
        Some(())
    }

    fn unpack(&self, text: &[u8], out: &mut Blocks) -> Option<()> {
        out.set_len(index(self.front.raw));
        let len = decompress_into(text, out.as_mut_slice()).ok()?;
        (len == out.len()).then_some(())
    }
}
