//! The shards of a stream and which keys they take.

use super::call::Kinesis;
use super::error::{About, CallError};
use super::subject::StreamRef;
use crate::limits;
use crate::wire::Field;
use serde::Deserialize;
use std::fmt;
use std::ops::RangeInclusive;

/// A shard's number within its stream: 7 of `shardId-000000000007`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(u64);

impl ShardId {
    /// Reads `shardId-000000000007`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("shardId-")?;
        let fits = digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if fits { digits.parse().ok().map(ShardId) } else { None }
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shardId-{:012}", self.0)
    }
}

/// A shard, open or closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Which.
    pub id: ShardId,
    /// The hash keys it takes, or took.
    pub range: RangeInclusive<u128>,
    /// What it came from, as far as the stream still knows: one after a split, two after a merge.
    pub parents: Vec<ShardId>,
    /// Whether it takes records.
    pub is_open: bool,
}

/// All shards of a stream at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardMap {
    /// In the order of their numbers.
    shards: Vec<Shard>,
    /// Indexes of the open ones, in the order of their ranges.
    open: Vec<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    shards: Vec<Written>,
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    shard_id: String,
    hash_key_range: WrittenRange,
    sequence_number_range: WrittenNumbers,
    parent_shard_id: Option<String>,
    adjacent_parent_shard_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WrittenRange {
    starting_hash_key: String,
    ending_hash_key: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WrittenNumbers {
    ending_sequence_number: Option<String>,
}

impl Kinesis {
    /// All shards of a stream, page by page.
    ///
    /// # Errors
    /// [`CallError`]; also when pages or shards are more than [`limits`] allow.
    pub async fn list_shards(&self, stream: &StreamRef) -> Result<ShardMap, CallError> {
        let about = self.about("ListShards", stream.as_str());
        let mut shards = Vec::new();
        let mut token = None::<String>;
        for _ in 0..limits::SHARD_PAGES_MAX {
            let field = match &token {
                // A token stands for the stream too.
                Some(token) => ("NextToken", Field::Text(token)),
                None => stream.field(),
            };
            let page: Page = self.ask(about, &[field]).await?.read(about)?;
            for written in page.shards {
                shards.push(written.read().ok_or_else(|| about.malformed("a shard of the answer is none"))?);
            }
            if shards.len() > limits::SHARDS_MAX {
                break;
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return ShardMap::new(shards, about);
            }
        }
        Err(about.malformed("the list of shards does not end"))
    }
}

impl Written {
    fn read(self) -> Option<Shard> {
        let range = self.hash_key_range;
        let parents = [self.parent_shard_id, self.adjacent_parent_shard_id];
        let parents: Option<Vec<ShardId>> = parents
            .into_iter()
            .flatten()
            .filter(|text| !text.is_empty())
            .map(|text| ShardId::parse(&text))
            .collect();
        Some(Shard {
            id: ShardId::parse(&self.shard_id)?,
            range: range.starting_hash_key.parse().ok()?..=range.ending_hash_key.parse().ok()?,
            parents: parents?,
            is_open: self.sequence_number_range.ending_sequence_number.is_none_or(|number| number.is_empty()),
        })
    }
}

impl ShardMap {
    fn new(mut shards: Vec<Shard>, about: About<'_>) -> Result<Self, CallError> {
        shards.sort_by_key(|shard| shard.id);
        let is_whole = shards.windows(2).all(|pair| pair[0].id < pair[1].id)
            && shards.iter().all(|shard| shard.range.start() <= shard.range.end());
        if !is_whole {
            return Err(about.malformed("the list of shards has one twice or one without keys"));
        }
        let mut open: Vec<usize> = (0..shards.len()).filter(|at| shards[*at].is_open).collect();
        open.sort_by_key(|at| *shards[*at].range.start());
        Ok(ShardMap { shards, open })
    }

    /// All shards, in the order of their numbers.
    #[must_use]
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Those that take records, in the order of their ranges.
    pub fn open(&self) -> impl Iterator<Item = &Shard> {
        self.open.iter().map(|at| &self.shards[*at])
    }

    /// The open shard that takes this hash key.
    #[must_use]
    pub fn route(&self, hash: u128) -> Option<&Shard> {
        let after = self.open.partition_point(|at| *self.shards[*at].range.start() <= hash);
        let shard = &self.shards[*self.open.get(after.checked_sub(1)?)?];
        shard.range.contains(&hash).then_some(shard)
    }

    /// Whether every hash key has exactly one open shard: not so for a moment while a stream changes its shards.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let mut next = Some(0_u128);
        for shard in self.open() {
            if next != Some(*shard.range.start()) {
                return false;
            }
            next = shard.range.end().checked_add(1);
        }
        next.is_none()
    }
}

/// The hash key of a partition key: its MD5 as a number.
#[must_use]
pub fn hash_key(partition_key: &str) -> u128 {
    use md5::{Digest, Md5};
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About<'_> = About { operation: "ListShards", subject: "s", endpoint: "e" };

    fn shard(id: u64, range: RangeInclusive<u128>, is_open: bool) -> Shard {
        Shard { id: ShardId(id), range, parents: vec![], is_open }
    }

    #[test]
    fn keys_find_the_open_shard_of_their_range() {
        let half = u128::MAX / 2;
        let map = ShardMap::new(
            vec![
                shard(2, half + 1..=u128::MAX, true),
                shard(0, 0..=u128::MAX, false),
                shard(1, 0..=half, true),
            ],
            ABOUT,
        )
        .unwrap();
        assert!(map.is_complete());
        let at = |hash| map.route(hash).map(|shard| shard.id.0);
        assert_eq!((at(0), at(half), at(half + 1), at(u128::MAX)), (Some(1), Some(1), Some(2), Some(2)));
        let hole = ShardMap::new(vec![shard(0, 0..=9, true), shard(1, 11..=u128::MAX, true)], ABOUT).unwrap();
        assert!(!hole.is_complete() && hole.route(10).is_none() && hole.route(11).is_some());
        let twice = ShardMap::new(vec![shard(0, 0..=9, true), shard(0, 10..=u128::MAX, true)], ABOUT);
        assert!(twice.is_err());
    }

    #[test]
    fn shard_numbers_and_hash_keys_are_the_services() {
        assert_eq!(ShardId::parse("shardId-000000000007"), Some(ShardId(7)));
        assert_eq!(ShardId(7).to_string(), "shardId-000000000007");
        for text in ["shardId-7", "shard-000000000007", "shardId-00000000000x", "shardId-+00000000007", ""] {
            assert_eq!(ShardId::parse(text), None, "{text}");
        }
        assert_eq!(hash_key(""), 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
    }
}
