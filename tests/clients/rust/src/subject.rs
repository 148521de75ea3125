//! Streams of a test's own and the readings it puts and reads.
//! In: a client of the SDK. Out: what the service said, or a [`Failure`] that says what was expected.

use std::error::Error;
use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{ChildShard, PutRecordsRequestEntry, Record, ShardIteratorType};

/// Why a test failed.
pub(crate) type Failure = Box<dyn Error>;

/// How long a stream or a consumer may take to become ACTIVE.
const PATIENCE: Duration = Duration::from_secs(30);

/// A failure with its words; service errors in full, which their `Display` hides.
pub(crate) fn failure(what: impl Debug) -> Failure {
    format!("{what:?}").into()
}

/// Fails unless both are the same.
pub(crate) fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Result<(), Failure> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, expected {expected:?}").into()) }
}

/// A new stream, ACTIVE.
pub(crate) async fn fresh(client: &Client, shards: i32) -> Result<String, Failure> {
    use aws_sdk_kinesis::client::Waiters;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let name = format!("rust-{}", since.as_nanos());
    client.create_stream().stream_name(&name).shard_count(shards).send().await.map_err(failure)?;
    client.wait_until_stream_exists().stream_name(&name).wait(PATIENCE).await.map_err(failure)?;
    Ok(name)
}

/// Puts the numbers of a range, each under its own key. With HEADWATER_CONTROL set one of them is withheld, and a test must
/// find that out.
pub(crate) async fn put(client: &Client, stream: &str, numbers: std::ops::Range<u32>) -> Result<(), Failure> {
    let withheld = std::env::var_os("HEADWATER_CONTROL").map(|_| numbers.start);
    let mut call = client.put_records().stream_name(stream);
    for number in numbers.filter(|number| Some(*number) != withheld) {
        let entry = PutRecordsRequestEntry::builder()
            .data(Blob::new(number.to_string()))
            .partition_key(format!("key-{number}"))
            .build()?;
        call = call.records(entry);
    }
    let answer = call.send().await.map_err(failure)?;
    same("failed records", answer.failed_record_count(), Some(0))
}

/// The number in a record.
pub(crate) fn number(record: &Record) -> Result<u32, Failure> {
    Ok(std::str::from_utf8(record.data().as_ref())?.parse()?)
}

/// Everything in a shard: to its end with the children when it is closed, else until nothing is behind.
pub(crate) async fn drain(
    client: &Client,
    stream: &str,
    shard: &str,
) -> Result<(Vec<Record>, Vec<ChildShard>), Failure> {
    let at = client.get_shard_iterator().stream_name(stream).shard_id(shard);
    let at = at.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.map_err(failure)?;
    let mut iterator = at.shard_iterator().ok_or("no iterator")?.to_owned();
    let mut records = Vec::new();
    loop {
        let page = client.get_records().shard_iterator(&iterator).limit(7).send().await.map_err(failure)?;
        let caught_up = page.records().is_empty() && page.millis_behind_latest() == Some(0);
        records.extend_from_slice(page.records());
        match page.next_shard_iterator() {
            None => return Ok((records, page.child_shards().to_vec())),
            Some(_) if caught_up => return Ok((records, Vec::new())),
            Some(next) => next.clone_into(&mut iterator),
        }
    }
}

/// Splits the first shard in the middle and waits until the stream is ACTIVE again.
pub(crate) async fn split(client: &Client, stream: &str) -> Result<(), Failure> {
    use aws_sdk_kinesis::client::Waiters;
    let middle = (1_u128 << 127).to_string();
    let call = client.split_shard().stream_name(stream).shard_to_split("shardId-000000000000");
    call.new_starting_hash_key(middle).send().await.map_err(failure)?;
    client.wait_until_stream_exists().stream_name(stream).wait(PATIENCE).await.map_err(failure)?;
    Ok(())
}
