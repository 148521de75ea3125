//! How the state of a queue is stored: a header per shard and pages of open records.
//!
//! ```text
//! key    s/q/h/ queue u32 | shard u32                header
//!        s/q/p/ queue u32 | shard u32 | page u64     the open records of 32 positions
//!        s/q/a/ queue u32                            the policy of the queue, as the API was given it
//! header version 1 | frontier: position, index
//! page   version 1 | base time, ms | entry …
//! entry  place in the page (bits 0-4), dead letter (5), index follows (6) | index? | bytes | serial | forgiven
//!        | until - base | first - base
//! ```
//! Integers in keys are big-endian, so that a queue's keys lie together; those in values are variable-length, differences
//! zigzag. A page without open records is not stored. Invariant: what was encoded decodes to the same.

use super::Entry;
use crate::names::ShardId;
use crate::storage::Position;

/// Prefix of everything stored here.
pub(crate) const PREFIX: &[u8] = b"s/q/";
const HEADERS: &[u8] = b"s/q/h/";
const PAGES: &[u8] = b"s/q/p/";
const POLICIES: &[u8] = b"s/q/a/";
const VERSION: u8 = 1;

/// Positions in one page. A receive of ten touches one or two and rewrites them: about 14 bytes an open record.
pub(super) const PAGE_POSITIONS: u64 = 32;
const PLACE: u8 = 31;
const DEAD: u8 = 1 << 5;
const INDEXED: u8 = 1 << 6;

/// What a stored value is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StoredKey {
    Header(ShardId),
    Page(ShardId, u64),
}

impl StoredKey {
    pub(super) fn page_of(shard: ShardId, position: Position) -> Self {
        StoredKey::Page(shard, position.position / PAGE_POSITIONS)
    }

    /// The key of this value of a queue.
    pub(crate) fn bytes(self, queue: u32) -> Vec<u8> {
        let queue = queue.to_be_bytes();
        match self {
            StoredKey::Header(shard) => [HEADERS, &queue, &shard.0.to_be_bytes()].concat(),
            StoredKey::Page(shard, page) => {
                [PAGES, &queue, &shard.0.to_be_bytes(), &page.to_be_bytes()].concat()
            }
        }
    }

    /// Prefixes of all keys of a queue.
    pub(crate) fn prefixes(queue: u32) -> [Vec<u8>; 3] {
        [HEADERS, PAGES, POLICIES].map(|prefix| [prefix, &queue.to_be_bytes()].concat())
    }

    /// The queue a key belongs to, for keys of this kind.
    pub(crate) fn queue_of(key: &[u8]) -> Option<u32> {
        let rest = [HEADERS, PAGES, POLICIES].iter().find_map(|prefix| key.strip_prefix(*prefix))?;
        rest.first_chunk().map(|queue| u32::from_be_bytes(*queue))
    }

    /// Takes a key apart, as [`StoredKey::bytes`] wrote it.
    pub(crate) fn parse(key: &[u8]) -> Option<StoredKey> {
        let shard = |bytes: &[u8]| bytes.first_chunk().map(|shard| ShardId(u32::from_be_bytes(*shard)));
        if let Some(rest) = key.strip_prefix(HEADERS) {
            return (rest.len() == 8).then(|| shard(&rest[4..]).map(StoredKey::Header)).flatten();
        }
        let rest = key.strip_prefix(PAGES).filter(|rest| rest.len() == 16)?;
        let page = rest.last_chunk().map(|page| u64::from_be_bytes(*page))?;
        Some(StoredKey::Page(shard(&rest[4..])?, page))
    }
}

/// The key of the policy of a queue.
pub(crate) fn policy_key(queue: u32) -> Vec<u8> {
    [POLICIES, &queue.to_be_bytes()].concat()
}

pub(super) fn write_header(frontier: Position) -> Vec<u8> {
    let mut out = vec![VERSION];
    put(&mut out, frontier.position);
    put(&mut out, u64::from(frontier.index));
    out
}

pub(super) fn read_header(value: &[u8]) -> Option<Position> {
    let (&version, mut rest) = value.split_first()?;
    if version != VERSION {
        return None;
    }
    let position = take(&mut rest)?;
    let index = u16::try_from(take(&mut rest)?).ok()?;
    rest.is_empty().then_some(Position { position, index })
}

/// The entries of one page, in order; `None` when there are none.
pub(super) fn write_page<'a>(entries: impl Iterator<Item = (&'a Position, &'a Entry)>) -> Option<Vec<u8>> {
    let mut entries = entries.peekable();
    let base_ms = entries.peek()?.1.first_ms;
    let mut out = vec![VERSION];
    put(&mut out, base_ms);
    for (position, entry) in entries {
        let place = u8::try_from(position.position % PAGE_POSITIONS).unwrap_or(0);
        let flags = if entry.dead { DEAD } else { 0 } | if position.index > 0 { INDEXED } else { 0 };
        out.push(place | flags);
        if position.index > 0 {
            put(&mut out, u64::from(position.index));
        }
        put(&mut out, u64::from(entry.bytes));
        put(&mut out, u64::from(entry.serial));
        put(&mut out, u64::from(entry.forgiven));
        put(&mut out, zigzag(entry.until_ms.wrapping_sub(base_ms)));
        put(&mut out, zigzag(entry.first_ms.wrapping_sub(base_ms)));
    }
    Some(out)
}

pub(super) fn read_page(page: u64, value: &[u8]) -> Option<Vec<(Position, Entry)>> {
    let (&version, mut rest) = value.split_first()?;
    if version != VERSION {
        return None;
    }
    let base_ms = take(&mut rest)?;
    let mut entries = Vec::new();
    while let Some((&head, after)) = rest.split_first() {
        rest = after;
        let index = if head & INDEXED > 0 { u16::try_from(take(&mut rest)?).ok()? } else { 0 };
        let place = u64::from(head & PLACE);
        let position = Position { position: page.checked_mul(PAGE_POSITIONS)?.checked_add(place)?, index };
        let bytes = u32::try_from(take(&mut rest)?).ok()?;
        let serial = u32::try_from(take(&mut rest)?).ok()?;
        let forgiven = u32::try_from(take(&mut rest)?).ok()?;
        let until_ms = base_ms.wrapping_add(unzigzag(take(&mut rest)?));
        let first_ms = base_ms.wrapping_add(unzigzag(take(&mut rest)?));
        let dead = head & DEAD > 0;
        entries.push((position, Entry { until_ms, first_ms, bytes, serial, forgiven, dead }));
    }
    Some(entries)
}

/// Seven bits a byte, least significant first; the top bit says that more follow.
fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A difference, as wrapping arithmetic gives it, so that small ones of either sign are small.
fn zigzag(difference: u64) -> u64 {
    let negative = if difference >> 63 == 1 { u64::MAX } else { 0 };
    (difference << 1) ^ negative
}

fn unzigzag(value: u64) -> u64 {
    let negative = if value & 1 == 1 { u64::MAX } else { 0 };
    (value >> 1) ^ negative
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_and_a_header_come_back_as_they_were_written() {
        let entry = |i: u64| Entry {
            until_ms: [0, 1_700_000_000_000 + i, u64::MAX][usize::try_from(i % 3).unwrap()],
            first_ms: 1_700_000_000_000 - i,
            bytes: u32::MAX,
            serial: 7,
            forgiven: 3,
            dead: i.is_multiple_of(2),
        };
        let all: Vec<(Position, Entry)> = (0..PAGE_POSITIONS)
            .map(|i| (Position { position: 96 + i, index: if i % 4 == 0 { 0 } else { u16::MAX } }, entry(i)))
            .collect();
        let value = write_page(all.iter().map(|(position, entry)| (position, entry))).unwrap();
        assert_eq!(read_page(3, &value), Some(all));
        assert!(value.len() <= 64 << 10);
        for cut in 0..value.len() {
            assert_ne!(read_page(3, &value[..cut]).map(|found| found.len()), Some(32), "{cut}");
        }
        assert_eq!(write_page([].into_iter()), None);
        let frontier = Position { position: u64::MAX, index: 9 };
        assert_eq!(read_header(&write_header(frontier)), Some(frontier));
        assert_eq!(read_header(&[2, 0, 0]), None);
    }

    #[test]
    fn a_stored_page_reads_as_version_1_wrote_it() {
        // If this fails, the code is wrong: such bytes are on disks.
        let entry =
            Entry { until_ms: 31_000, first_ms: 1_000, bytes: 200, serial: 2, forgiven: 0, dead: false };
        let value = write_page([(&Position { position: 33, index: 0 }, &entry)].into_iter()).unwrap();
        assert_eq!(value, [1, 0xe8, 7, 1, 0xc8, 1, 2, 0, 0xe0, 0xd4, 3, 0]);
    }

    #[test]
    fn keys_come_back_and_lie_together_per_queue() {
        for key in [StoredKey::Header(ShardId(4)), StoredKey::Page(ShardId(4), u64::MAX / 32)] {
            let bytes = key.bytes(9);
            assert_eq!(StoredKey::parse(&bytes), Some(key));
            assert_eq!(StoredKey::queue_of(&bytes), Some(9));
            assert!(StoredKey::prefixes(9).iter().any(|prefix| bytes.starts_with(prefix)));
        }
        assert_eq!(StoredKey::parse(b"s/q/d/00000001"), None);
    }
}
