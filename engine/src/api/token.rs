//! Shard iterators and paging tokens: what a client is handed and hands back unread.
//!
//! ```text
//! base64 of: kind u8 | issued_ms u64 | stream number u32 | shard u32 | position u64 | index u16 | text …| check 8 bytes
//! ```
//! Integers are big-endian; `text` is a name in UTF-8. `check` is the beginning of an MD5 over everything before it: it
//! finds tokens that were cut or mixed up, and is no protection against a client that makes its own, which gains nothing
//! that it could not ask for. Invariant: a token of one kind is never taken for one of another.

use crate::api::error::{ApiError, ErrorType};
use crate::api::time::utc_text;
use crate::limits;
use crate::names::{ShardId, StreamName, StreamNumber};
use crate::storage::{Position, ShardKey};
use md5::Digest;

const HEAD_BYTES: usize = 1 + 8 + 4 + 4 + 8 + 2;
const CHECK_BYTES: usize = 8;
/// Longest token in base64. Model: a shard iterator has at most 512 characters.
const TOKEN_CHARS_MAX: usize = 512;
const _: () =
    assert!((HEAD_BYTES + limits::STREAM_NAME_CHARS_MAX + CHECK_BYTES).div_ceil(3) * 4 <= TOKEN_CHARS_MAX);

/// What a token is for. A kind's number is never used for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    ShardIterator = 1,
    ListShards = 2,
    ListStreams = 3,
    ListStreamConsumers = 4,
}

/// The content of a token. Kinds leave what they do not need at zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) issued_ms: u64,
    pub(crate) shard: ShardKey,
    pub(crate) position: Position,
    pub(crate) name: StreamName,
}

impl Token {
    /// The token as text.
    pub(crate) fn seal(&self, kind: Kind) -> String {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + limits::STREAM_NAME_CHARS_MAX + CHECK_BYTES);
        bytes.push(kind as u8);
        bytes.extend_from_slice(&self.issued_ms.to_be_bytes());
        bytes.extend_from_slice(&self.shard.stream.0.to_be_bytes());
        bytes.extend_from_slice(&self.shard.shard.0.to_be_bytes());
        bytes.extend_from_slice(&self.position.position.to_be_bytes());
        bytes.extend_from_slice(&self.position.index.to_be_bytes());
        bytes.extend_from_slice(self.name.as_str().as_bytes());
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        base64_simd::STANDARD.encode_to_string(&bytes)
    }

    /// Reads a token of this kind; `None` for anything that was not sealed as one.
    pub(crate) fn open(text: &str, kind: Kind) -> Option<Token> {
        if text.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let bytes = base64_simd::STANDARD.decode_to_vec(text).ok()?;
        let (body, found) = bytes.split_last_chunk::<CHECK_BYTES>()?;
        if check(body) != *found {
            return None;
        }
        let (head, name) = body.split_first_chunk::<HEAD_BYTES>()?;
        let mut rest = &head[..];
        let sealed = u8::from_be_bytes(take(&mut rest)?);
        let token = Token {
            issued_ms: u64::from_be_bytes(take(&mut rest)?),
            shard: ShardKey {
                stream: StreamNumber(u32::from_be_bytes(take(&mut rest)?)),
                shard: ShardId(u32::from_be_bytes(take(&mut rest)?)),
            },
            position: Position {
                position: u64::from_be_bytes(take(&mut rest)?),
                index: u16::from_be_bytes(take(&mut rest)?),
            },
            name: StreamName::parse(std::str::from_utf8(name).ok()?).ok()?,
        };
        (sealed == kind as u8).then_some(token)
    }

    /// Opens a shard iterator.
    ///
    /// # Errors
    /// `InvalidArgumentException`, or `ExpiredIteratorException` five minutes after it was issued.
    pub(crate) fn iterator(text: &str, now_ms: u64) -> Result<Token, ApiError> {
        let token = Token::open(text, Kind::ShardIterator)
            .ok_or_else(|| ApiError::invalid("Invalid ShardIterator."))?;
        if token.is_expired(now_ms) {
            let message = format!(
                "Iterator expired. The iterator was created at time {} while right now it is {} which is further in the \
                 future than the tolerated delay of {} milliseconds.",
                utc_text(token.issued_ms),
                utc_text(now_ms),
                limits::TOKEN_AGE_MS_MAX
            );
            return Err(ApiError::new(ErrorType::ExpiredIterator, message));
        }
        Ok(token)
    }

    /// Opens a paging token.
    ///
    /// # Errors
    /// `InvalidArgumentException`, or `ExpiredNextTokenException` five minutes after it was issued.
    pub(crate) fn page(text: &str, kind: Kind, now_ms: u64) -> Result<Token, ApiError> {
        let token = Token::open(text, kind).ok_or_else(|| ApiError::invalid("Invalid NextToken."))?;
        if token.is_expired(now_ms) {
            let message = format!(
                "NextToken expired. It was created at time {} while right now it is {}.",
                utc_text(token.issued_ms),
                utc_text(now_ms)
            );
            return Err(ApiError::new(ErrorType::ExpiredNextToken, message));
        }
        Ok(token)
    }

    fn is_expired(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.issued_ms) > limits::TOKEN_AGE_MS_MAX
    }
}

pub(super) fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = md5::Md5::new_with_prefix(b"headwater token 1").chain_update(bytes).finalize();
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

    fn token() -> Token {
        Token {
            issued_ms: 1_700_000_000_000,
            shard: ShardKey { stream: StreamNumber(7), shard: ShardId(3) },
            position: Position { position: u64::MAX - 1, index: 9 },
            name: StreamName::parse("telemetry").unwrap(),
        }
    }

    #[test]
    fn a_token_comes_back_and_only_as_its_kind() {
        let text = token().seal(Kind::ShardIterator);
        assert_eq!(Token::open(&text, Kind::ShardIterator), Some(token()));
        assert_eq!(Token::open(&text, Kind::ListShards), None);
        let long = Token { name: StreamName::parse(&"n".repeat(128)).unwrap(), ..token() };
        assert!(long.seal(Kind::ListShards).len() <= 512);
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let text = token().seal(Kind::ShardIterator);
        for i in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(Token::open(&changed, Kind::ShardIterator), None, "{i}");
            assert_eq!(Token::open(&text[..i], Kind::ShardIterator), None, "{i}");
        }
    }

    #[test]
    fn iterators_expire_after_five_minutes() {
        let text = token().seal(Kind::ShardIterator);
        let issued = token().issued_ms;
        assert!(Token::iterator(&text, issued + 300_000).is_ok());
        // A clock that was set back must not break readers.
        assert!(Token::iterator(&text, issued - 1).is_ok());
        let error = Token::iterator(&text, issued + 300_001).unwrap_err();
        assert_eq!(error.error, ErrorType::ExpiredIterator);
        assert!(
            error.message.starts_with(
                "Iterator expired. The iterator was created at time Tue Nov 14 22:13:20 UTC 2023"
            )
        );
    }
}
