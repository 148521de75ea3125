//! Bytes on disk, format version 1. All numbers little-endian; all checksums CRC-32C.
//!
//! A lane is a directory of files of one retention class:
//! ```text
//! 0000000000000007.seg   segment 7, named by its number in hex; one more is prepared ahead under its future name
//! 000000000000001f.pool  a segment file whose content is of no more use, to be renamed and written again
//! snapshot-0, snapshot-1 metadata and shard table, written in turn; the newer valid one counts
//! ```
//!
//! Segment, `segment_bytes` long, written with zeros once and reused for ever after:
//! ```text
//! 0        4096                                                        len-4096    len
//! | header | group | group | ... (each from a 4 KiB boundary) | footer | trailer |
//! ```
//! Header (the rest of the block is zero):
//! ```text
//! 0 magic "HWSEGMNT" | 8 version u16 | 10 lane id u16 | 12 zero u32 | 16 lane uuid u128 | 32 number u64 | 40 salt u64
//! 48 first group u64 | 56 wall ms u64 | 64 CRC of the group before the first u32 | 68 CRC of 0..68 u32
//! 72 kept ms u64 (see `kept`) | 80 CRC of 72..80 u32, zero in segments of programs that knew no kept time
//! ```
//! Group, the unit of commit and of atomicity:
//! ```text
//! 0 magic "HWGR" | 4 run count u32 | 8 number u64 | 16 salt u64 | 24 wall ms u64 | 32 length u32 (head, run headers, bodies)
//! 36 CRC of the previous group u32 | 40 zero u32 | 44 CRC of 0..44 and the run headers u32
//! 48 run headers, 40 bytes each | bodies in the same order | zeros up to 4 KiB
//! ```
//! Run header. Its CRC is that of the body, and the group's CRC covers it: every byte is checked, and summed once.
//! ```text
//! 0 stream u32 | 4 shard u32 | 8 first sequence u64 | 16 base ms u64 | 24 count u32 | 28 stored length u32 | 32 CRC of the body u32
//! 36 flags u16 | 38 key id u16
//! flags: 0x0001 compressed (an LZ4 block) | 0x0010 sealed with AES-256-GCM | 0x0020 sealed with ChaCha20-Poly1305
//! ```
//! Without flags the body is records, one after the other. With flags (programs before them say that they cannot read it):
//! ```text
//! 0 ms from base to the last record, at most 2^32-1 u32 | 4 length of the records u32 | text
//! ```
//! and when it is sealed, compressed or not before:
//! ```text
//! 0 ms to the last record u32 | 4 length of the records u32 | 8 lane uuid u128 | 24 segment salt u64 | 32 group u64 | 40 run index u32
//! 44 key check u32 | 48 text, encrypted | tag, 16 bytes
//! key:   HKDF-SHA256 over the stream's key; salt: 8..32; info: "headwater journal run aes-256-gcm" or "... run chacha20-poly1305"
//! check: the first four bytes of the same with info "headwater journal key check"
//! nonce: 32..44; the tag also proves the run header, its CRC as zero, and 0..48
//! ```
//! Lane, salt, group and index are those of the place where the run was written first; a copy to another segment is the same bytes. A
//! salt is drawn anew for every segment and a start never goes on with an old one, so a group number that is given again after a torn
//! tail meets another key. Whole runs are padded by nothing: their lengths, and with compression how well they pack, can be seen.
//!
//! Record: `varint ms after the record before (the first: after base) | varint key length | varint payload length | key | payload`.
//!
//! Metadata is stream 0, shard 0: the record's key is the metadata key, its payload `1 | value` for a write and `2` for a removal,
//! its sequence the version. Keys that begin with 0x00 are the journal's own (`meta::own`).
//!
//! Footer and trailer are written when a segment is full. They are derived: bad or missing means that the segment is read whole.
//! ```text
//! footer:  pieces, 56 bytes each, by shard and sequence | run table, 40 bytes each, in the order of the pieces
//! piece:   0 stream u32 | 4 shard u32 | 8 first u64 | 16 last u64 | 24 oldest ms u64 | 32 newest ms u64 | 40 index of first run u32
//!          44 runs u32 | 48 stored bytes u32 | 52 CRC of its runs in the table u32
//! run:     0 first u64 | 8 base ms u64 | 16 offset of the body in the segment u32 | 20 stored u32 | 24 count u32 | 28 CRC u32
//!          32 flags u16 | 34 key id u16 | 36 ms from base to the last record, at most 2^32-1 u32
//! trailer: 0 magic "HWTRAILR" | 8 number u64 | 16 salt u64 | 24 first group u64 | 32 last group u64 | 40 CRC of the last group u32
//!          44 end of the groups u32 | 48 offset of the footer u32 | 52 pieces u32 | 56 runs u32 | 60 CRC of the pieces u32
//!          64 CRC of 0..64 u32
//! ```
//! Snapshot:
//! ```text
//! 0 magic "HWSNAPSH" | 8 version u16 | 10 zero u16 | 12 length of the body u32 | 16 lane uuid u128 | 32 group u64 | 40 generation u64
//! 48 next segment number u64 | 56 shards u32 | 60 keys u32 | 64 CRC of the body u32 | 68 CRC of 0..68 u32 | 72 body
//! body:    shards: stream u32 | shard u32 | floor u64 | next u64 | newest ms u64
//!          keys:   varint key length | varint value length | varint version | key | value
//! ```

pub(crate) mod body;
pub(crate) mod footer;
pub(crate) mod group;
pub(crate) mod segment;
pub(crate) mod snapshot;

/// Version that this program writes, and the newest it reads.
pub(crate) const FORMAT_VERSION: u16 = 1;

/// Highest number of a file, a group, a snapshot or a record that is believed. No journal counts so far, and whoever counts on from
/// what was read cannot overflow; what claims more is damaged.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

/// A length or count as the 32 bits it has on disk.
///
/// # Panics
/// Never for what the journal builds: segments are at most `SEGMENT_BYTES_MAX`, far below 4 GiB.
pub(crate) fn u32_of(count: usize) -> u32 {
    u32::try_from(count).expect("lengths inside a segment are below 4 GiB")
}

/// A 32-bit length or offset as an index.
pub(crate) fn index(value: u32) -> usize {
    // Lossless: hosts have at least 32-bit addresses.
    value as usize
}
