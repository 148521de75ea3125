//! Whether records may be put, found out without putting one.
//!
//! A record is sent whose explicit hash key lies beyond the last there is. It is written as one, so what looks at the form of a
//! request lets it pass; permission is judged before what is in a record; and no stream has a shard for it.

use super::call::Kinesis;
use super::error::{CallError, Class, Thing};
use super::subject::StreamRef;
use crate::wire::{Format, text};
use bytes::Bytes;
use tokio::time::Instant;

/// Larger than 2^128, with no more digits than a hash key may have.
const HASH_KEY_OF_NOBODY: &str = "399999999999999999999999999999999999999";

/// What came of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayPut {
    /// They may: the target complained about the record, and about nothing else.
    Yes,
    /// The target took a record that no stream can hold, so it says nothing about permission.
    Unknown,
}

impl Kinesis {
    /// Asks whether these credentials may put records into a stream. Stores nothing in streams of AWS, and of servers that look at
    /// hash keys as AWS does.
    ///
    /// # Errors
    /// [`CallError`]: `Final(Permission)` when they may not, and whatever else stands in the way of a call.
    pub async fn may_put(&self, stream: &StreamRef) -> Result<MayPut, CallError> {
        let about = self.about("PutRecords", stream.as_str());
        let (member, name) = stream.member();
        let mut body = vec![b'{'];
        text(member, Format::Json, &mut body);
        body.push(b':');
        text(name, Format::Json, &mut body);
        let record = format!(
            ",\"Records\":[{{\"Data\":\"\",\"PartitionKey\":\"-\",\"ExplicitHashKey\":\"{HASH_KEY_OF_NOBODY}\"}}]}}"
        );
        body.extend_from_slice(record.as_bytes());
        let deadline = Instant::now() + self.timeout();
        match self.exchange(about, &Bytes::from(body), Format::Json, deadline).await {
            Ok(_) => Ok(MayPut::Unknown),
            Err(error) if error.class == Class::Final(Thing::Request) => Ok(MayPut::Yes),
            Err(error) => Err(error),
        }
    }
}
