//! The main flow: put, read, errors, tags, a split followed to the end.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::RequestId;
use aws_sdk_kinesis::primitives::Blob;

use crate::subject::{Failure, drain, failure, fresh, number, put, same, split};

/// Every record once, in the order of its shard, found again under the sequence number it was given.
pub(crate) async fn what_is_put_is_read_back_in_order(client: &Client) -> Result<(), Failure> {
    let stream = fresh(client, 2).await?;
    put(client, &stream, 0..30).await?;
    let one = client.put_record().stream_name(&stream).partition_key("key-30").data(Blob::new("30"));
    let one = one.send().await.map_err(failure)?;
    let shards = client.list_shards().stream_name(&stream).send().await.map_err(failure)?;
    same("shards", shards.shards().len(), 2)?;
    let mut found = Vec::new();
    for shard in shards.shards() {
        let (records, _) = drain(client, &stream, shard.shard_id()).await?;
        for pair in records.windows(2) {
            let (a, b) = (pair[0].sequence_number(), pair[1].sequence_number());
            // Decimal numbers of one length compare as text.
            if (a.len(), a) >= (b.len(), b) {
                return Err(format!("{b} after {a}").into());
            }
        }
        for record in &records {
            found.push(number(record)?);
            if number(record)? == 30 {
                same(
                    "place of the last",
                    (shard.shard_id(), record.sequence_number()),
                    (one.shard_id(), one.sequence_number()),
                )?;
            }
            if record.approximate_arrival_timestamp().is_none() {
                return Err("a record without its time of arrival".into());
            }
        }
    }
    found.sort_unstable();
    same("records", found, (0..=30).collect())
}

/// The errors of the model are the SDK's own variants, each with the id of the request.
pub(crate) async fn errors_have_their_types(client: &Client) -> Result<(), Failure> {
    let stream = fresh(client, 1).await?;
    let absent = client.describe_stream().stream_name("absent").send().await;
    let absent = absent.err().ok_or("an absent stream was described")?.into_service_error();
    same("ResourceNotFoundException", absent.is_resource_not_found_exception(), true)?;
    same("a request id", absent.request_id().is_some(), true)?;
    let twice = client.create_stream().stream_name(&stream).shard_count(1).send().await;
    let twice = twice.err().ok_or("a stream was created twice")?.into_service_error();
    same("ResourceInUseException", twice.is_resource_in_use_exception(), true)?;
    let iterator = client.get_records().shard_iterator("AAAA").send().await;
    let iterator = iterator.err().ok_or("nonsense was an iterator")?.into_service_error();
    same("InvalidArgumentException", iterator.is_invalid_argument_exception(), true)
}

/// Tags and limits.
pub(crate) async fn tags_are_kept(client: &Client) -> Result<(), Failure> {
    let stream = fresh(client, 1).await?;
    client.add_tags_to_stream().stream_name(&stream).tags("site", "north").send().await.map_err(failure)?;
    let tags = client.list_tags_for_stream().stream_name(&stream).send().await.map_err(failure)?;
    same(
        "tags",
        tags.tags().iter().map(|tag| (tag.key(), tag.value())).collect(),
        vec![("site", Some("north"))],
    )?;
    let limits = client.describe_limits().send().await.map_err(failure)?;
    same("a limit above what is open", limits.shard_limit() >= limits.open_shard_count(), true)
}

/// A closed parent is read to its end, which names the children; they hold what came after.
pub(crate) async fn a_split_is_followed_to_the_end(client: &Client) -> Result<(), Failure> {
    let stream = fresh(client, 1).await?;
    put(client, &stream, 0..20).await?;
    split(client, &stream).await?;
    put(client, &stream, 20..50).await?;
    let (parent, children) = drain(client, &stream, "shardId-000000000000").await?;
    same(
        "records of the parent",
        parent.iter().map(number).collect::<Result<Vec<_>, _>>()?,
        (0..20).collect(),
    )?;
    same("children", children.len(), 2)?;
    let mut found = Vec::new();
    for child in &children {
        same("parents", child.parent_shards(), ["shardId-000000000000".to_owned()].as_slice())?;
        let (records, _) = drain(client, &stream, child.shard_id()).await?;
        found.extend(records.iter().map(number).collect::<Result<Vec<_>, _>>()?);
    }
    found.sort_unstable();
    same("records of the children", found, (20..50).collect())
}
