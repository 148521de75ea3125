//! Doors for the fuzz targets: the decoders of everything that is on disk, one call each. Only with the feature `fuzzing`.
//!
//! In: bytes that may be anything. Out: nothing; a door panics when what it holds true of the decoder behind it does not hold.
//! Not here: whole journals, which the targets open through the public face.

use crate::ShardKey;
use crate::blocks::Blocks;
use crate::bytes::{Fields, crc32c};
use crate::config::{Cipher, Compression};
use crate::core::coder::{Coder, Sealing, Stored};
use crate::format::body::{Form, LZ4_RATIO_MAX, Origin};
use crate::format::footer::{PIECE_BYTES, PieceEntry, RUN_BYTES, RunRef};
use crate::format::group::{GroupHead, HEAD_BYTES, RUN_HEADER_BYTES, RunHeader};
use crate::format::segment::{FileName, SegmentHeader, Trailer};
use crate::format::snapshot::Snapshot;
use crate::keys::StreamKey;
use crate::limits::RUN_BYTES_MAX;
use crate::page::Records;
use std::sync::Arc;

/// Puts the checksum of `bytes[..at]` at `at`.
fn sum(bytes: &mut [u8], at: usize) {
    if bytes.len() >= at + 4 {
        let crc = crc32c(&bytes[..at]).to_le_bytes();
        bytes[at..at + 4].copy_from_slice(&crc);
    }
}

/// Makes the checksums of whatever `block` begins with right: a segment header, a trailer, a snapshot or a group with its bodies.
/// Footers are left as they are, except that the trailer's own checksum covers what it says of them.
pub fn forge(block: &mut [u8]) {
    match block.get(..4) {
        Some(b"HWSE") => sum(block, 68),
        Some(b"HWTR") => sum(block, 64),
        Some(b"HWSN") => {
            let length = Fields::new(block.get(12..16).unwrap_or_default()).u32().unwrap_or(0);
            if let Some(body) = block.get(72..72 + crate::format::index(length)) {
                let crc = crc32c(body).to_le_bytes();
                block[64..68].copy_from_slice(&crc);
            }
            sum(block, 68);
        }
        Some(b"HWGR") => forge_group(block),
        _ => {}
    }
}

fn forge_group(group: &mut [u8]) {
    let Some(head) = GroupHead::peek(group) else { return };
    let tables = head.tables_bytes();
    if tables > group.len() {
        return;
    }
    let mut at = tables;
    for run in 0..crate::format::index(head.runs) {
        let field = HEAD_BYTES + run * RUN_HEADER_BYTES + 28;
        let stored = Fields::new(&group[field..]).u32().map_or(0, crate::format::index);
        let Some(body) = group.get(at..at + stored) else { break };
        let crc = crc32c(body).to_le_bytes();
        group[field + 4..field + 8].copy_from_slice(&crc);
        at += stored;
    }
    let crc = crc32c(&[&group[..44], &group[HEAD_BYTES..tables]].concat()).to_le_bytes();
    group[44..48].copy_from_slice(&crc);
}

/// Segment headers, trailers, groups, footers and snapshots, with their checksums as they came and made right.
///
/// # Panics
/// When something that was read is not written again as it was read.
pub fn formats(bytes: &[u8]) {
    decode(bytes);
    let mut forged = bytes.to_vec();
    forge(&mut forged);
    decode(&forged);
    let name = String::from_utf8_lossy(bytes);
    if let Some(parsed) = FileName::parse(&name) {
        assert_eq!(parsed.to_string(), name);
    }
}

fn decode(bytes: &[u8]) {
    if let Ok(header) = SegmentHeader::decode(bytes) {
        let mut out = Blocks::new();
        header.encode(&mut out);
        assert_eq!(SegmentHeader::decode(out.as_slice()), Ok(header));
    }
    if let Some(trailer) = Trailer::decode(bytes) {
        let mut out = Blocks::new();
        trailer.encode(&mut out);
        assert_eq!(out.as_slice()[..68], bytes[..68]);
    }
    let _ = GroupHead::trace(bytes);
    if let Some((head, runs)) = GroupHead::peek(bytes).and_then(|head| Some((head, head.runs(bytes)?))) {
        assert!(head.padded() >= head.tables_bytes());
        for run in runs {
            assert!(run.last() >= run.first && run.offset < head.length);
            let end = crate::format::index(run.offset) + crate::format::index(run.stored);
            assert!(end <= head.padded());
        }
    }
    if let Some(Ok(snapshot)) = Snapshot::decode(bytes) {
        assert_eq!(Snapshot::decode(snapshot.encode().as_slice()), Some(Ok(snapshot)));
    }
    footer(bytes);
}

fn footer(bytes: &[u8]) {
    let count = bytes.len() / PIECE_BYTES;
    let table = &bytes[..count * PIECE_BYTES];
    let pieces = u32::try_from(count).unwrap_or(0);
    if let Some(pieces) = PieceEntry::decode_all(table, pieces, crc32c(table)) {
        let mut out = Vec::new();
        pieces.iter().for_each(|piece| piece.encode(&mut out));
        assert_eq!(out, table);
    }
    let table = &bytes[..bytes.len() / RUN_BYTES * RUN_BYTES];
    if let Some(runs) = RunRef::decode_all(table, crc32c(table)) {
        let mut out = Vec::new();
        for run in runs {
            assert!(run.last() >= run.first && run.end() >= run.offset && run.newest_ms() >= run.base_ms);
            run.encode(&mut out);
        }
        assert_eq!(out, table);
    }
}

const SECRET: [u8; 32] = [7; 32];
const ORIGIN: Origin = Origin { lane: 1, salt: 2, group: 3, run: 4 };

/// The body of one run. The first bytes are its flags and how many records it says to have; the rest is the body.
///
/// # Panics
/// When more comes out of a body than can be in it.
pub fn run(bytes: &[u8]) {
    let mut fields = Fields::new(bytes);
    let (Some(flags), Some(count), Some(first)) = (fields.u16(), fields.u32(), fields.u64()) else { return };
    let body = fields.rest();
    let base_ms = u64::from(flags);
    // `RunHeader::decode` refuses the others.
    if first.checked_add(u64::from(count)).is_none() {
        return;
    }
    records(body, first, base_ms, count);
    let Some(form) = Form::of(flags, flags & 0x30) else { return };
    let Some(stored) = Stored::of(form, body) else { return };
    let raw = crate::format::index(stored.front.raw);
    assert!(raw <= RUN_BYTES_MAX && raw / LZ4_RATIO_MAX <= body.len());
    let header = RunHeader {
        shard: ShardKey { stream: 1, shard: 0 },
        first,
        base_ms,
        count,
        stored: u32::try_from(body.len()).unwrap_or(u32::MAX),
        crc: 0,
        flags,
        key_id: flags & 0x30,
        offset: 0,
    };
    let key = stored.front.seal.zip(form.cipher);
    let key =
        key.map(|((origin, _), cipher)| StreamKey::new(&SECRET).run_key(origin.lane, origin.salt, cipher));
    let mut out = Blocks::new();
    if stored.open(&header, key.as_ref(), &mut out).is_some() {
        assert!(out.len() <= raw.max(body.len()), "{} bytes out of {}", out.len(), body.len());
        records(out.as_slice(), first, base_ms, count);
    }
}

fn records(bytes: &[u8], first: u64, base_ms: u64, count: u32) {
    let (mut taken, mut last_ms) = (0, base_ms);
    let mut records = Records::over(bytes, first, base_ms, crate::format::index(count));
    for (record, sequence) in records.by_ref().zip(first..) {
        taken += 3 + record.key.len() + record.data.len();
        assert!(record.sequence == sequence && record.time_ms >= last_ms);
        last_ms = record.time_ms;
    }
    assert!(taken + records.rest().len() <= bytes.len() && records.next().is_none());
}

/// What is coded comes back, and what was sealed does not when a byte of it was changed. The first byte chooses compression and
/// cipher, the next two the byte that is changed; the rest is the text of a run.
///
/// # Panics
/// When that does not hold.
pub fn coder(bytes: &[u8]) {
    let Some((&[how, high, low], text)) = bytes.split_first_chunk::<3>() else { return };
    if text.is_empty() {
        return;
    }
    let compression = if how & 1 == 0 { Compression::None } else { Compression::Lz4 };
    let cipher = [None, Some(Cipher::Aes256Gcm), Some(Cipher::ChaCha20Poly1305)][usize::from(how >> 1) % 3];
    let run_key = |cipher| Arc::new(StreamKey::new(&SECRET).run_key(ORIGIN.lane, ORIGIN.salt, cipher));
    let sealing = cipher.map(|cipher| Sealing { cipher, key_id: 5, key: run_key(cipher), origin: ORIGIN });
    let shard = ShardKey { stream: 1, shard: 0 };
    let header = RunHeader {
        shard,
        first: 1,
        base_ms: 9,
        count: 1,
        stored: 0,
        crc: 0,
        flags: 0,
        key_id: 0,
        offset: 0,
    };
    let mut stored = Blocks::new();
    let (left, right) = text.split_at(text.len() / 2);
    let header = Coder::new(compression).body(&mut stored, header, &[left, right], 0, sealing.as_ref());
    let form = Form::of(header.flags, header.key_id).expect("flags of its own");
    assert_eq!(stored.len(), crate::format::index(header.stored));
    let key = sealing.as_ref().map(|sealing| &*sealing.key);
    let mut out = Blocks::new();
    let opened = |body: &[u8], out: &mut Blocks| Stored::of(form, body)?.open(&header, key, out);
    if form.is_plain() {
        assert_eq!(stored.as_slice(), text);
        return;
    }
    assert!(opened(stored.as_slice(), &mut out).is_some() && out.as_slice() == text);
    let at = usize::from(u16::from_le_bytes([high, low])) % stored.len();
    stored.as_mut_slice()[at] ^= how | 1;
    let changed = opened(stored.as_slice(), &mut out);
    // Lane and salt only choose the key, which the caller makes from them; here it stays the same one and the front is bound.
    assert!(changed.is_none() || sealing.is_none(), "byte {at} of a sealed run was changed unnoticed");
    assert!(out.len() <= RUN_BYTES_MAX);
}
