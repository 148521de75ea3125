//! Metadata as an input describes it, and an engine that starts on it.
//!
//! ```text
//! input := calls | 0xff | entry*
//! entry := key bytes u8 | value bytes u16 | key | value
//! ```
//! Integers are big-endian. The check behind a stored layout is made right, so that what is behind it is reached.

use crate::Cursor;
use headwater_engine::storage::MetaStore;
use headwater_engine::storage::embedded::EmbeddedMeta;
use md5::Digest;
use std::collections::BTreeMap;

/// What ends the calls.
pub const END_OF_CALLS: u8 = 0xff;

/// Entries as an input has them.
#[must_use]
pub fn encode(calls: &[u8], entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = [calls, &[END_OF_CALLS]].concat();
    for (key, value) in entries {
        out.push(u8::try_from(key.len()).expect("keys of the engine are short"));
        out.extend_from_slice(&u16::try_from(value.len()).expect("values are at most 64 KiB").to_be_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(value);
    }
    out
}

/// The calls and the entries of an input.
#[must_use]
pub fn decode(input: &[u8]) -> (&[u8], BTreeMap<Vec<u8>, Vec<u8>>) {
    let end = input.iter().position(|&byte| byte == END_OF_CALLS).unwrap_or(input.len());
    let mut cursor = Cursor(input.get(end + 1..).unwrap_or_default());
    let mut entries = BTreeMap::new();
    while !cursor.is_empty() {
        let (key, value) = (cursor.u8(), cursor.u16());
        let key = cursor.bytes(key.into()).to_vec();
        let mut value = cursor.bytes(value.into()).to_vec();
        if key.starts_with(b"s/l/") && value.len() >= 8 {
            let body = value.len() - 8;
            let check = md5::Md5::digest(&value[..body]);
            value[body..].copy_from_slice(&check[..8]);
        }
        entries.insert(key, value);
    }
    (&input[..end], entries)
}

/// Puts the entries that an engine may have written into a store, staged, which is where the engine reads them.
pub fn put(meta: &EmbeddedMeta, entries: &BTreeMap<Vec<u8>, Vec<u8>>) {
    for (key, value) in entries.iter().filter(|(key, _)| key.starts_with(b"s/")) {
        // One that the store refuses is not there.
        drop(meta.put(key, value, 0));
    }
}
