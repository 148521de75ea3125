//! What a stream is like: DescribeStreamSummary.

use super::call::Kinesis;
use super::error::CallError;
use super::subject::StreamRef;
use crate::limits;
use crate::text::bounded;
use crate::timestamp::Timestamp;
use crate::wire::Seconds;
use serde::Deserialize;

/// What a stream is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamStatus {
    /// It is being made; it takes no records yet.
    Creating,
    /// It is on its way out.
    Deleting,
    /// It takes records.
    Active,
    /// It takes records while something about it changes.
    Updating,
}

/// What a sender has to know of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// What it is doing.
    pub status: StreamStatus,
    /// When it was made, where the target says so.
    pub created: Option<Timestamp>,
    /// Whether its shards follow the load.
    pub is_on_demand: bool,
    /// Shards that take records.
    pub open_shards: u32,
    /// Largest record, key and data together; what the stream says, or 1 MiB where it says nothing.
    pub record_bytes_max: usize,
    /// How long records are kept.
    pub retention_hours: u32,
    /// The key it is encrypted with.
    pub encryption_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    stream_description_summary: Summary,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: String,
    stream_creation_timestamp: Option<Seconds>,
    stream_mode_details: Option<Mode>,
    #[serde(default)]
    open_shard_count: u32,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size: Option<u32>,
    #[serde(default)]
    retention_period_hours: u32,
    key_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mode {
    stream_mode: String,
}

impl Kinesis {
    /// Asks what a stream is like. The first call to make: it also finds out which format the target speaks, whether the
    /// clock is right, and whether the credentials may do anything.
    ///
    /// # Errors
    /// [`CallError`]; `Final(Stream)` when there is no such stream.
    pub async fn describe(&self, stream: &StreamRef) -> Result<StreamInfo, CallError> {
        let about = self.about("DescribeStreamSummary", stream.as_str());
        let reply = self.ask(about, &[stream.field()]).await?;
        let Written { stream_description_summary: said } = reply.read(about)?;
        let status = match said.stream_status.as_str() {
            "CREATING" => StreamStatus::Creating,
            "DELETING" => StreamStatus::Deleting,
            "ACTIVE" => StreamStatus::Active,
            "UPDATING" => StreamStatus::Updating,
            other => {
                return Err(
                    about.malformed(&format!("the stream is {:?}, which is no status", bounded(other)))
                );
            }
        };
        let kib = said.max_record_size.filter(|kib| *kib > 0).unwrap_or(limits::RECORD_KIB_DEFAULT);
        let kib = kib.min(limits::RECORD_KIB_MAX);
        Ok(StreamInfo {
            name: said.stream_name,
            arn: said.stream_arn,
            status,
            created: said.stream_creation_timestamp.map(Seconds::timestamp),
            is_on_demand: said.stream_mode_details.is_some_and(|mode| mode.stream_mode == "ON_DEMAND"),
            open_shards: said.open_shard_count,
            record_bytes_max: usize::try_from(kib).unwrap_or(usize::MAX).saturating_mul(1_024),
            retention_hours: said.retention_period_hours,
            encryption_key: said.key_id.filter(|key| !key.is_empty()),
        })
    }
}
