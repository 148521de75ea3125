//! Readers of shards at full speed: GetRecords from TRIM_HORIZON to the end, again and again; and a subscriber that waits.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use memchr::memmem;
use serde_json::{Value, json};

use crate::wire::Connection;

/// Most records one call gives (API reference, GetRecords, Limit).
const RECORDS_PER_CALL: u64 = 10_000;
/// Pause between two records of the fan-out measurement: one producer every 10 ms.
const FANOUT_PAUSE: Duration = Duration::from_millis(10);

/// Records read by `readers` readers together until `duration` is over, each reading shard after shard from its beginning.
///
/// # Errors
/// When a call fails or a pass over all shards gives nothing.
pub fn drain(
    address: SocketAddr,
    stream: &str,
    readers: usize,
    duration: Duration,
) -> anyhow::Result<(u64, Duration)> {
    let started = Instant::now();
    let records = std::thread::scope(|scope| {
        let reader = |number| scope.spawn(move || read(address, stream, number, started + duration));
        let readers: Vec<_> = (0..readers).map(reader).collect();
        readers
            .into_iter()
            .map(|reader| reader.join().expect("a reader does not panic"))
            .sum::<anyhow::Result<u64>>()
    })?;
    Ok((records, started.elapsed()))
}

fn read(address: SocketAddr, stream: &str, number: usize, until: Instant) -> anyhow::Result<u64> {
    let mut connection = Connection::open(address)?;
    let shards = shards(&mut connection, stream)?;
    let mut total = 0;
    loop {
        let before = total;
        // Each reader begins with another shard, so that they do not read the same pages at the same moment.
        for shard in shards.iter().cycle().skip(number).take(shards.len()) {
            let at = json!({ "StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
            let mut next = text(&connection.call("GetShardIterator", &at)?["ShardIterator"])?;
            loop {
                let body = json!({ "ShardIterator": next, "Limit": RECORDS_PER_CALL }).to_string();
                let request =
                    crate::wire::request(address, "GetRecords", crate::wire::Format::Json, body.as_bytes());
                connection.send(&request)?;
                let page = connection.answer().context("GetRecords")?;
                let found = memmem::find_iter(&page, b"\"SequenceNumber\"").count() as u64;
                total += found;
                if Instant::now() >= until {
                    return Ok(total);
                }
                match following(&page) {
                    Some(following) if found > 0 => next = following,
                    _ => break,
                }
            }
        }
        ensure!(total > before, "no shard of {stream} gave a record");
    }
}

/// The iterator to go on with; the only member of its name and without escapes.
fn following(page: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"\"NextShardIterator\":";
    let value = &page[memmem::rfind(page, NAME)? + NAME.len()..];
    let value = value.trim_ascii_start().strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', value)?;
    Some(String::from_utf8_lossy(&value[..end]).into_owned())
}

fn shards(connection: &mut Connection, stream: &str) -> anyhow::Result<Vec<String>> {
    let list = connection.call("ListShards", &json!({ "StreamName": stream }))?;
    list["Shards"].as_array().context("Shards")?.iter().map(|shard| text(&shard["ShardId"])).collect()
}

fn text(value: &Value) -> anyhow::Result<String> {
    Ok(value.as_str().with_context(|| format!("expected a text, found {value}"))?.to_owned())
}

/// From sending a PutRecord to its event at a subscriber of a stream of one shard, `count` times.
///
/// # Errors
/// When the server has no fan-out, or an event does not come.
pub fn fanout(address: SocketAddr, stream: &str, count: usize) -> anyhow::Result<Vec<Duration>> {
    let mut control = Connection::open(address)?;
    let summary = control.call("DescribeStreamSummary", &json!({ "StreamName": stream }))?;
    let arn = text(&summary["StreamDescriptionSummary"]["StreamARN"])?;
    let consumer = json!({ "StreamARN": arn, "ConsumerName": "bench" });
    let consumer = text(&control.call("RegisterStreamConsumer", &consumer)?["Consumer"]["ConsumerARN"])?;
    let shard = shards(&mut control, stream)?.pop().context("a stream has a shard")?;
    let mut subscriber = subscribe(address, &consumer, &shard)?;
    let (seen, arrivals) = mpsc::channel();
    let mut times = Vec::with_capacity(count);
    std::thread::scope(|scope| {
        let listener = scope.spawn(move || -> anyhow::Result<()> {
            for _ in 0..count {
                let mut event = Vec::new();
                // An event without a record only says that the subscription is alive.
                while memmem::find(&event, b"\"PartitionKey\"").is_none() {
                    event.clear();
                    ensure!(subscriber.chunk(&mut event)?, "the subscription ended");
                }
                seen.send(Instant::now())?;
            }
            Ok(())
        });
        let put = json!({ "StreamName": stream, "Data": "eA==", "PartitionKey": "bench" });
        for _ in 0..count {
            let sent = Instant::now();
            control.call("PutRecord", &put)?;
            times.push(arrivals.recv_timeout(Duration::from_secs(10)).context("no event came")? - sent);
            std::thread::sleep(FANOUT_PAUSE);
        }
        listener.join().expect("the listener does not panic")
    })?;
    control.call("DeregisterStreamConsumer", &json!({ "ConsumerARN": consumer }))?;
    Ok(times)
}

/// A consumer may still be made when it is registered; then subscribing is refused for a moment.
fn subscribe(address: SocketAddr, consumer: &str, shard: &str) -> anyhow::Result<Connection> {
    let body = json!({ "ConsumerARN": consumer, "ShardId": shard, "StartingPosition": { "Type": "LATEST" } });
    let request = crate::wire::request(
        address,
        "SubscribeToShard",
        crate::wire::Format::Json,
        body.to_string().as_bytes(),
    );
    let mut last = None;
    for _ in 0..20 {
        let mut connection = Connection::open(address)?;
        connection.send(&request)?;
        match connection.stream() {
            Ok(()) => {
                let mut first = Vec::new();
                // The initial response: from then on the position is fixed.
                ensure!(connection.chunk(&mut first)?, "the subscription ended at once");
                std::thread::sleep(Duration::from_millis(300));
                return Ok(connection);
            }
            Err(error) => last = Some(error),
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    Err(last.context("nothing was tried")?)
}
