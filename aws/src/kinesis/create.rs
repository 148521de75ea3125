//! Making a stream, and waiting until it takes records.

use super::call::Kinesis;
use super::error::{CallError, Class, Thing};
use super::stream::{StreamInfo, StreamStatus};
use super::subject::StreamRef;
use crate::limits;
use crate::wire::Field;
use std::time::Duration;
use tokio::time::Instant;

/// What a new stream shall be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewStream {
    /// So many shards; nothing: on demand, shards that follow the load.
    pub shards: Option<u32>,
    /// Largest record, in KiB; nothing: what the target thinks best (1 MiB).
    pub record_kib_max: Option<u32>,
}

impl Kinesis {
    /// Asks for a stream; true when it is being made now, false when there is one of that name already, which stays as it is.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_stream(&self, name: &str, new: NewStream) -> Result<bool, CallError> {
        let about = self.about("CreateStream", name);
        let mode = if new.shards.is_some() { "PROVISIONED" } else { "ON_DEMAND" };
        let mode = ("StreamModeDetails", Field::Nested(vec![("StreamMode", Field::Text(mode))]));
        let mut fields = vec![("StreamName", Field::Text(name)), mode];
        fields.extend(new.shards.map(|shards| ("ShardCount", Field::Number(shards.into()))));
        fields.extend(new.record_kib_max.map(|kib| ("MaxRecordSizeInKiB", Field::Number(kib.into()))));
        match self.ask(about, &fields).await {
            Ok(_) => Ok(true),
            Err(error) if &*error.code == "ResourceInUseException" => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until a stream takes records.
    ///
    /// # Errors
    /// [`CallError`] of the last look once `patience` is over, and any final one at once (a stream that is not listed yet is not).
    pub async fn wait_until_active(
        &self,
        stream: &StreamRef,
        patience: Duration,
    ) -> Result<StreamInfo, CallError> {
        let deadline = Instant::now() + patience;
        loop {
            let looked = self.describe(stream).await;
            let last = match looked {
                Ok(info) if matches!(info.status, StreamStatus::Active | StreamStatus::Updating) => {
                    return Ok(info);
                }
                Ok(info) => {
                    let about = self.about("DescribeStreamSummary", stream.as_str());
                    let words = format!("the stream is not active yet: {:?}", info.status);
                    CallError { class: Class::Retry, ..about.local(Thing::Stream, &words) }
                }
                Err(error) if error.class.passes() || error.class == Class::Final(Thing::Stream) => error,
                Err(error) => return Err(error),
            };
            if Instant::now() + limits::CREATE_PAUSE > deadline {
                return Err(last);
            }
            tokio::time::sleep(limits::CREATE_PAUSE).await;
        }
    }
}
