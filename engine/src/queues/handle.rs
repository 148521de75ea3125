//! Receipt handles and paging tokens of queues: what a consumer is handed and hands back unread.
//!
//! ```text
//! receipt: base64 of kind u8 | queue u32 | shard u32 | position u64 | index u16 | serial u32 | check 8 bytes
//! page:    base64 of kind u8 | issued_ms u64 | last queue u32                                | check 8 bytes
//! ```
//! Integers are big-endian. `check` is the beginning of an MD5 over everything before it: it finds handles that were cut
//! or mixed up, and is no protection against a consumer that makes its own: who may use a queue may use all of it.
//! Invariant: a handle of one kind is never taken for one of another.

use super::core::{Receipt, Side};
use crate::api::ApiError;
use crate::api::error::ErrorType;
use crate::limits;
use crate::names::ShardId;
use crate::storage::Position;
use md5::Digest;

const CHECK_BYTES: usize = 8;
/// Longest handle or token this engine makes, in base64, with room to grow. Model: 1,024 for a handle.
const CHARS_MAX: usize = 128;

const LIVE: u8 = 1;
const DEAD: u8 = 2;
const PAGE: u8 = 3;

/// A handle of one delivery.
pub(crate) fn seal_receipt(queue: u32, receipt: &Receipt) -> String {
    let mut bytes = Vec::with_capacity(32);
    bytes.push(if receipt.side == Side::Live { LIVE } else { DEAD });
    bytes.extend_from_slice(&queue.to_be_bytes());
    bytes.extend_from_slice(&receipt.shard.0.to_be_bytes());
    bytes.extend_from_slice(&receipt.position.position.to_be_bytes());
    bytes.extend_from_slice(&receipt.position.index.to_be_bytes());
    bytes.extend_from_slice(&receipt.serial.to_be_bytes());
    seal(bytes)
}

/// The delivery a handle names; `None` for anything this queue did not hand out.
pub(crate) fn open_receipt(queue: u32, text: &str) -> Option<Receipt> {
    let bytes = open(text)?;
    let mut rest = &bytes[..];
    let side = match take(&mut rest)? {
        [LIVE] => Side::Live,
        [DEAD] => Side::Dead,
        _ => return None,
    };
    let of = u32::from_be_bytes(take(&mut rest)?);
    let shard = ShardId(u32::from_be_bytes(take(&mut rest)?));
    let position = u64::from_be_bytes(take(&mut rest)?);
    let position = Position { position, index: u16::from_be_bytes(take(&mut rest)?) };
    let serial = u32::from_be_bytes(take(&mut rest)?);
    (of == queue && rest.is_empty()).then_some(Receipt { side, shard, position, serial })
}

/// A token that goes on behind queue `after`.
pub(crate) fn seal_page(issued_ms: u64, after: u32) -> String {
    seal([&[PAGE][..], &issued_ms.to_be_bytes(), &after.to_be_bytes()].concat())
}

/// The queue behind which a page begins.
///
/// # Errors
/// `InvalidArgumentException`, or `ExpiredNextTokenException` five minutes after it was issued.
pub(crate) fn open_page(text: &str, now_ms: u64) -> Result<u32, ApiError> {
    let read = || {
        let bytes = open(text)?;
        let mut rest = &bytes[..];
        let [kind] = take(&mut rest)?;
        let issued_ms = u64::from_be_bytes(take(&mut rest)?);
        let after = u32::from_be_bytes(take(&mut rest)?);
        (kind == PAGE && rest.is_empty()).then_some((issued_ms, after))
    };
    let (issued_ms, after) = read().ok_or_else(|| ApiError::invalid("Invalid NextToken."))?;
    if now_ms.saturating_sub(issued_ms) > limits::TOKEN_AGE_MS_MAX {
        return Err(ApiError::new(ErrorType::ExpiredNextToken, "NextToken expired."));
    }
    Ok(after)
}

pub(super) fn seal(mut bytes: Vec<u8>) -> String {
    let check = check(&bytes);
    bytes.extend_from_slice(&check);
    base64_simd::STANDARD.encode_to_string(&bytes)
}

fn open(text: &str) -> Option<Vec<u8>> {
    if text.len() > CHARS_MAX {
        return None;
    }
    let mut bytes = base64_simd::STANDARD.decode_to_vec(text).ok()?;
    let (body, found) = bytes.split_last_chunk::<CHECK_BYTES>()?;
    let body_bytes = body.len();
    if check(body) != *found {
        return None;
    }
    bytes.truncate(body_bytes);
    Some(bytes)
}

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = md5::Md5::new_with_prefix(b"headwater queue 1").chain_update(bytes).finalize();
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&digest[..CHECK_BYTES]);
    check
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_comes_back_only_for_its_queue_and_unchanged() {
        for side in [Side::Live, Side::Dead] {
            let position = Position { position: u64::MAX, index: 3 };
            let receipt = Receipt { side, shard: ShardId(u32::MAX), position, serial: 9 };
            let text = seal_receipt(5, &receipt);
            assert_eq!(open_receipt(5, &text), Some(receipt));
            assert_eq!(open_receipt(6, &text), None);
            assert!(open_page(&text, 0).is_err());
            for i in 0..text.len() {
                let mut changed = text.clone().into_bytes();
                changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(changed).unwrap();
                assert_eq!(open_receipt(5, &changed), None, "{i}");
                assert_eq!(open_receipt(5, &text[..i]), None, "{i}");
            }
        }
    }

    #[test]
    fn a_page_token_lasts_five_minutes() {
        let text = seal_page(1_000, 7);
        assert_eq!(open_page(&text, 301_000), Ok(7));
        assert_eq!(open_page(&text, 301_001).unwrap_err().error, ErrorType::ExpiredNextToken);
        assert_eq!(open_receipt(7, &text), None);
    }
}
