//! Real speakers of the API: our engine, and others where they are installed (peers). What holds for one holds for all.

use crate::support::{EngineServer, client, client_in};
use headwater_aws::kpl::{Aggregate, deaggregate};
use headwater_aws::{
    Class, Format, FormatChoice, Kinesis, MayPut, NewStream, Position, PutBody, Record, RecordOutcome,
    ShardId, StreamRef, StreamStatus, Thing, hash_key,
};
use headwater_engine::LimitProfile;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Keys of all kinds, data of all bytes, some with a hash key of their own.
fn records() -> Vec<(String, Option<u128>, Vec<u8>)> {
    let record = |at: u32| {
        let key = match at % 4 {
            0 => format!("device-{}", at % 40),
            1 => format!("gerät \"{at}\"\n\t\\"),
            2 => "k".repeat(256),
            _ => format!("{at}"),
        };
        let hash = match at % 5 {
            0 => Some(0),
            1 => Some(u128::MAX / 3 * 2),
            _ => None,
        };
        let data = (0..at % 300).map(|byte| byte.to_le_bytes()[0]).collect();
        (key, hash, data)
    };
    (0..500).map(record).collect()
}

async fn read_all(client: &Kinesis, stream: &StreamRef, shard: ShardId) -> Vec<Record> {
    let mut iterator = client.shard_iterator(stream, shard, Position::Oldest).await.unwrap();
    let mut all = Vec::new();
    loop {
        let piece = client.get_records(stream, &iterator, 10_000).await.unwrap();
        let is_empty = piece.records.is_empty();
        all.extend(piece.records);
        match piece.next {
            Some(next) if !(is_empty && piece.behind_ms == 0) => iterator = next,
            _ => return all,
        }
    }
}

/// Everything a forwarder does, and that what arrives is what was sent. Gives the format that is spoken.
pub(crate) async fn keeps_the_contract(url: &str, choice: FormatChoice) -> Format {
    let client = client_in(url, choice);
    let name = format!("contract-{choice:?}");
    let stream = StreamRef::name(&name);
    let missing = client.describe(&stream).await.unwrap_err();
    assert_eq!(missing.class, Class::Final(Thing::Stream), "{missing}");
    let new = NewStream { shards: Some(2), record_kib_max: None };
    assert!(client.create_stream(&name, new).await.unwrap());
    let info = client.wait_until_active(&stream, Duration::from_secs(30)).await.unwrap();
    assert_eq!((info.name.as_str(), info.status, info.open_shards), (name.as_str(), StreamStatus::Active, 2));
    assert_eq!(info.record_bytes_max, 1 << 20);
    assert!(!client.create_stream(&name, new).await.unwrap(), "it is there already");

    let map = client.list_shards(&stream).await.unwrap();
    assert!(map.is_complete() && map.open().count() == 2);
    // Nothing of this is among what is read below.
    assert_eq!(client.may_put(&stream).await.unwrap(), MayPut::Yes);
    let mut body = PutBody::new(&stream, client.format(), info.record_bytes_max, 100_000);
    let records = records();
    for (key, hash, data) in &records {
        body.put(key, *hash, data).unwrap();
    }
    let answer = client.put_records(body).await.unwrap();
    assert_eq!(answer.failed(), 0);

    // Each is in the shard of its key, at the number that was answered, with the bytes that were sent.
    let mut expected: BTreeMap<(u64, String), (&str, &[u8])> = BTreeMap::new();
    for ((key, hash, data), outcome) in records.iter().zip(&answer.outcomes) {
        let RecordOutcome::Stored { shard, sequence_number } = outcome else { panic!("it is stored") };
        assert_eq!(map.route(hash.unwrap_or_else(|| hash_key(key))).unwrap().id, *shard);
        expected.insert((shard.number(), sequence_number.clone()), (key, data));
    }
    assert_eq!(expected.len(), 500);
    for reader in [&client, &client_in(url, FormatChoice::Json)] {
        let mut found = 0;
        for shard in map.open() {
            for record in read_all(reader, &stream, shard.id).await {
                let (key, data) = expected[&(shard.id.number(), record.sequence_number)];
                assert_eq!((record.partition_key.as_str(), record.data.as_slice()), (key, data));
                assert!(record.arrived.unwrap().ms() > 1_700_000_000_000);
                found += 1;
            }
        }
        assert_eq!(found, 500);
    }
    client.format()
}

#[tokio::test(flavor = "multi_thread")]
async fn our_engine_keeps_the_contract_in_both_formats_and_speaks_cbor() {
    let server = EngineServer::start(LimitProfile::None).await;
    assert_eq!(keeps_the_contract(&server.url(), FormatChoice::Learn).await, Format::Cbor);
    assert_eq!(keeps_the_contract(&server.url(), FormatChoice::Json).await, Format::Json);
    assert_eq!(keeps_the_contract(&server.url(), FormatChoice::Cbor).await, Format::Cbor);
    server.engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_the_target_are_read_from_it() {
    let server = EngineServer::start(LimitProfile::None).await;
    let client = client(&server.url());
    let new = NewStream { shards: Some(1), record_kib_max: Some(4_096) };
    client.create_stream("large", new).await.unwrap();
    let stream = StreamRef::name("large");
    let info = client.wait_until_active(&stream, Duration::from_secs(10)).await.unwrap();
    assert_eq!(info.record_bytes_max, 4 << 20);
    let mut body = PutBody::new(&stream, client.format(), info.record_bytes_max, 3 << 20);
    body.put("k", None, &vec![7; 3 << 20]).unwrap();
    assert_eq!(client.put_records(body).await.unwrap().failed(), 0);
    let by_arn = client.describe(&StreamRef::name(&info.arn)).await.unwrap();
    assert_eq!(by_arn, info);
    assert!(info.arn.starts_with("arn:"));

    assert_eq!(client.may_put(&stream).await.unwrap(), MayPut::Yes);

    // Put by a caller who believes more than the stream takes: the target's own words.
    let mut body = PutBody::new(&stream, client.format(), 10 << 20, 5 << 20);
    body.put("k", None, &vec![7; 5 << 20]).unwrap();
    let error = client.put_records(body).await.unwrap_err();
    assert_eq!((error.class, error.may_be_done), (Class::Final(Thing::Request), false), "{error}");
    server.engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_records_are_told_one_by_one() {
    let server = EngineServer::start(LimitProfile::Aws).await;
    let client = client(&server.url());
    client.create_stream("narrow", NewStream { shards: Some(1), record_kib_max: None }).await.unwrap();
    let stream = StreamRef::name("narrow");
    let info = client.wait_until_active(&stream, Duration::from_secs(30)).await.unwrap();
    let (mut stored, mut throttled) = (0, 0);
    for _ in 0..6 {
        let mut body = PutBody::new(&stream, client.format(), info.record_bytes_max, 1 << 20);
        for _ in 0..500 {
            body.put("k", None, &[0; 1_000]).unwrap();
        }
        for outcome in client.put_records(body).await.unwrap().outcomes {
            match outcome {
                RecordOutcome::Stored { .. } => stored += 1,
                RecordOutcome::Failed { class: Class::Throttled, code, message } => {
                    assert_eq!(code, "ProvisionedThroughputExceededException");
                    assert!(message.contains("Rate exceeded"), "{message}");
                    throttled += 1;
                }
                RecordOutcome::Failed { class, code, .. } => panic!("{class:?} {code}"),
            }
        }
    }
    assert!(stored >= 1_000 && throttled > 0, "{stored} stored, {throttled} throttled");
    server.engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_arrive_whole_in_both_formats() {
    let server = EngineServer::start(LimitProfile::None).await;
    let new = NewStream { shards: Some(1), record_kib_max: None };
    client(&server.url()).create_stream("aggregated", new).await.unwrap();
    let stream = StreamRef::name("aggregated");
    let mut aggregate = Aggregate::new();
    let keys: Vec<String> = (0..300).map(|at| format!("device-{}", at % 20)).collect();
    for key in &keys {
        aggregate.put(key, None, b"{\"celsius\":73.5}").unwrap();
    }
    for choice in [FormatChoice::Json, FormatChoice::Cbor] {
        let client = client_in(&server.url(), choice);
        client.wait_until_active(&stream, Duration::from_secs(10)).await.unwrap();
        let mut body = PutBody::new(&stream, client.format(), 1 << 20, aggregate.size());
        body.put_aggregate(&keys[0], Some(hash_key(&keys[0])), &aggregate).unwrap();
        assert_eq!(body.bytes(), keys[0].len() + aggregate.size());
        assert_eq!(client.put_records(body).await.unwrap().failed(), 0);
    }
    let records =
        read_all(&client(&server.url()), &stream, ShardId::parse("shardId-000000000000").unwrap()).await;
    assert_eq!(records.len(), 2);
    for record in records {
        let users = deaggregate(&record.data).expect("it is an aggregate");
        let found: Vec<&str> = users.iter().map(|user| user.key).collect();
        assert_eq!(found, keys);
    }
    server.engine.close().await;
}

/// Passes requests on; answers of PutRecords are lost on their way, with the connection.
async fn losing_answers(server: std::net::SocketAddr) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(server).await.unwrap();
                let (mut from_near, mut from_far) = (vec![0; 1 << 16], vec![0; 1 << 16]);
                let mut is_put = false;
                loop {
                    tokio::select! {
                        read = near.read(&mut from_near) => {
                            let Ok(count @ 1..) = read else { return };
                            is_put |= from_near[..count].windows(10).any(|bytes| bytes == b"PutRecords");
                            far.write_all(&from_near[..count]).await.unwrap();
                        }
                        read = far.read(&mut from_far) => {
                            let Ok(count @ 1..) = read else { return };
                            if is_put {
                                return;
                            }
                            near.write_all(&from_far[..count]).await.unwrap();
                        }
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_after_the_commit_is_told_apart_from_a_refusal() {
    let server = EngineServer::start(LimitProfile::None).await;
    let address = losing_answers(server.address).await;
    let client = client(&format!("http://{address}"));
    client.create_stream("lossy", NewStream { shards: Some(1), record_kib_max: None }).await.unwrap();
    let stream = StreamRef::name("lossy");
    client.wait_until_active(&stream, Duration::from_secs(10)).await.unwrap();
    for _ in 0..2 {
        let mut body = PutBody::new(&stream, client.format(), 1 << 20, 100);
        body.put("k", None, b"stored all the same").unwrap();
        let error = client.put_records(body).await.unwrap_err();
        assert_eq!((error.class, error.may_be_done), (Class::Retry, true), "{error}");
    }
    let shard = ShardId::parse("shardId-000000000000").unwrap();
    assert_eq!(read_all(&client, &stream, shard).await.len(), 2, "each was stored, once");
    server.engine.close().await;
}
