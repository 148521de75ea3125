//! SubscribeToShard: records as they come, and the end of a shard.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::types::{
    ConsumerStatus, ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};
use tokio::time::{sleep, timeout};

use crate::subject::{Failure, failure, fresh, number, put, same, split};

/// The service sends something at least every five seconds; the rest is for a loaded machine.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A registered consumer of the stream, ACTIVE.
async fn consumer(client: &Client, stream: &str) -> Result<String, Failure> {
    let summary = client.describe_stream_summary().stream_name(stream).send().await.map_err(failure)?;
    let arn = summary.stream_description_summary().ok_or("no summary")?.stream_arn().to_owned();
    let call = client.register_stream_consumer().stream_arn(arn).consumer_name("reader");
    let answer = call.send().await.map_err(failure)?;
    let arn = answer.consumer().ok_or("no consumer")?.consumer_arn().to_owned();
    for _ in 0..60 {
        let answer = client.describe_stream_consumer().consumer_arn(&arn).send().await.map_err(failure)?;
        if answer.consumer_description().is_some_and(|it| it.consumer_status() == &ConsumerStatus::Active) {
            return Ok(arn);
        }
        sleep(Duration::from_millis(500)).await;
    }
    Err("the consumer does not become ACTIVE".into())
}

async fn subscribe(client: &Client, consumer: &str) -> Result<SubscribeToShardOutput, Failure> {
    let position = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon).build()?;
    let call = client.subscribe_to_shard().consumer_arn(consumer).shard_id("shardId-000000000000");
    call.starting_position(position).send().await.map_err(failure)
}

/// The next event, nothing at the end of the subscription.
async fn next(output: &mut SubscribeToShardOutput) -> Result<Option<SubscribeToShardEvent>, Failure> {
    match timeout(KEEP_ALIVE, output.event_stream.recv()).await? {
        Ok(None) => Ok(None),
        Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => Ok(Some(event)),
        other => Err(failure(other)),
    }
}

/// Events until so many records have come. Three without any are ten seconds of nothing.
async fn records(output: &mut SubscribeToShardOutput, count: usize) -> Result<Vec<u32>, Failure> {
    let (mut found, mut empty) = (Vec::new(), 0);
    while found.len() < count {
        let event = next(output).await?;
        empty += u32::from(event.as_ref().is_some_and(|event| event.records().is_empty()));
        let Some(event) = event.filter(|_| empty < 3) else {
            return Err(format!("{} of {count} records came", found.len()).into());
        };
        for record in event.records() {
            found.push(number(record)?);
        }
    }
    Ok(found)
}

/// What was there before, what comes later one by one, and an empty event when nothing comes.
pub(crate) async fn records_as_they_come(client: &Client) -> Result<(), Failure> {
    let stream = fresh(client, 1).await?;
    let consumer = consumer(client, &stream).await?;
    put(client, &stream, 0..10).await?;
    let mut output = subscribe(client, &consumer).await?;
    same("what was there", records(&mut output, 10).await?, (0..10).collect())?;
    for n in 10..15 {
        // Two at a time, so that one of each pair is left when one is withheld.
        put(client, &stream, 2 * n..2 * n + 2).await?;
        same("what came", records(&mut output, 2).await?, vec![2 * n, 2 * n + 1])?;
    }
    let quiet = next(&mut output).await?.ok_or("the subscription ended")?;
    same("records of a keep-alive", quiet.records().len(), 0)?;
    same("milliseconds behind", quiet.millis_behind_latest(), 0)?;
    same("a place to continue", quiet.continuation_sequence_number().len(), 56)
}

/// The last event of a closed shard names its children, then the subscription ends.
pub(crate) async fn the_end_of_a_shard(client: &Client) -> Result<(), Failure> {
    let stream = fresh(client, 1).await?;
    let consumer = consumer(client, &stream).await?;
    put(client, &stream, 0..10).await?;
    let mut output = subscribe(client, &consumer).await?;
    same("records", records(&mut output, 10).await?, (0..10).collect())?;
    split(client, &stream).await?;
    let mut last = None;
    while let Some(event) = next(&mut output).await? {
        last = Some(event);
    }
    let last = last.ok_or("no event at the end of the shard")?;
    let children: Vec<&str> = last.child_shards().iter().map(|child| child.shard_id()).collect();
    same("children", children, vec!["shardId-000000000001", "shardId-000000000002"])
}
