//! Reading a shard, as tools and tests need it. Not for consumers: there are no leases and no checkpoints here.

use super::call::Kinesis;
use super::error::CallError;
use super::shards::ShardId;
use super::subject::StreamRef;
use crate::timestamp::Timestamp;
use crate::wire::{Blob, Field, Seconds};
use serde::Deserialize;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position<'a> {
    /// The oldest record there is.
    Oldest,
    /// What comes from now on.
    Latest,
    /// The record of this sequence number.
    At(&'a str),
    /// The one behind it.
    After(&'a str),
    /// The first that arrived then or later.
    Since(Timestamp),
}

/// A record of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub sequence_number: String,
    /// Its key.
    pub partition_key: String,
    /// What is in it.
    pub data: Vec<u8>,
    /// When it was stored, about.
    pub arrived: Option<Timestamp>,
}

/// A piece of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// In their order; may be none although there are more.
    pub records: Vec<Record>,
    /// Where to go on; nothing at the end of a closed shard.
    pub next: Option<String>,
    /// How far behind the newest record this is.
    pub behind_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Iterator {
    shard_iterator: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    records: Vec<WrittenRecord>,
    next_shard_iterator: Option<String>,
    #[serde(default)]
    millis_behind_latest: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WrittenRecord {
    sequence_number: String,
    partition_key: String,
    data: Blob,
    approximate_arrival_timestamp: Option<Seconds>,
}

impl Kinesis {
    /// An iterator to begin with; good for five minutes.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn shard_iterator(
        &self,
        stream: &StreamRef,
        shard: ShardId,
        position: Position<'_>,
    ) -> Result<String, CallError> {
        let about = self.about("GetShardIterator", stream.as_str());
        let id = shard.to_string();
        let mut fields = vec![stream.field(), ("ShardId", Field::Text(&id))];
        let (kind, place) = match position {
            Position::Oldest => ("TRIM_HORIZON", None),
            Position::Latest => ("LATEST", None),
            Position::At(number) => {
                ("AT_SEQUENCE_NUMBER", Some(("StartingSequenceNumber", Field::Text(number))))
            }
            Position::After(number) => {
                ("AFTER_SEQUENCE_NUMBER", Some(("StartingSequenceNumber", Field::Text(number))))
            }
            Position::Since(time) => ("AT_TIMESTAMP", Some(("Timestamp", Field::Time(time)))),
        };
        fields.push(("ShardIteratorType", Field::Text(kind)));
        fields.extend(place);
        let reply = self.ask(about, &fields).await?;
        let Iterator { shard_iterator } = reply.read(about)?;
        Ok(shard_iterator)
    }

    /// Records from where an iterator stands: at most `limit` (up to 10,000) and 10 MiB.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get_records(
        &self,
        stream: &StreamRef,
        iterator: &str,
        limit: u32,
    ) -> Result<Records, CallError> {
        let about = self.about("GetRecords", stream.as_str());
        let fields = [("ShardIterator", Field::Text(iterator)), ("Limit", Field::Number(limit.into()))];
        let reply = self.ask(about, &fields).await?;
        let written: Written = reply.read(about)?;
        let records = written.records.into_iter().map(|record| Record {
            sequence_number: record.sequence_number,
            partition_key: record.partition_key,
            data: record.data.0,
            arrived: record.approximate_arrival_timestamp.map(Seconds::timestamp),
        });
        let next = written.next_shard_iterator.filter(|iterator| !iterator.is_empty());
        Ok(Records { records: records.collect(), next, behind_ms: written.millis_behind_latest })
    }
}
