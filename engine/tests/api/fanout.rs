//! Subscriptions: what is pushed, how they end, what they cost.

use crate::events::{Message, SHARD, Subscription, consumer};
use crate::support::{Ahead, Client, PATIENCE, Server, open, small};
use headwater_engine::{Clock, Engine, EngineConfig, HashKey, LimitProfile, StreamName};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper::{Request, body::Bytes};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

fn stream(client: &mut Client, shards: u32) {
    client.call("CreateStream", &json!({ "StreamName": "s", "ShardCount": shards }));
}

fn put(client: &mut Client, data: &[u8]) {
    let data = base64_simd::STANDARD.encode_to_string(data);
    client.call("PutRecord", &json!({ "StreamName": "s", "Data": data, "PartitionKey": "k" }));
}

fn horizon() -> Value {
    json!({ "Type": "TRIM_HORIZON" })
}

/// A copy of a directory as it is at some moment, whatever is written meanwhile.
fn copy_of(dir: &Path) -> tempfile::TempDir {
    loop {
        let into = tempfile::tempdir().unwrap();
        // A file that is renamed in between is neither here nor there.
        match copy(dir, into.path()) {
            Ok(()) => return into,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}"),
        }
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let into = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir(&into)?;
            copy(&path, &into)?;
        } else {
            std::fs::copy(&path, &into)?;
        }
    }
    Ok(())
}

#[test]
fn a_continuation_number_goes_on_after_a_crash_without_a_gap_or_a_repeat() {
    // What the disk holds at some moment is what a killed process leaves.
    let mut dir = tempfile::tempdir().unwrap();
    let mut position = horizon();
    let mut seen = Vec::new();
    for round in 0..4_u8 {
        let server = Server::open(dir.path());
        let mut client = server.client();
        if round == 0 {
            stream(&mut client, 1);
            for i in 0..4 {
                consumer(&mut client, "s", &format!("c-{i}"));
            }
        }
        let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
        let named = json!({ "StreamARN": arn, "ConsumerName": format!("c-{round}") });
        let reader = client.call("DescribeStreamConsumer", &named);
        let reader = reader["ConsumerDescription"]["ConsumerARN"].as_str().unwrap().to_owned();
        let mut subscription = Subscription::begin(&server, &reader, SHARD, &position);
        let first = (round == 0).then(|| subscription.next().unwrap());
        for i in 0..5 {
            put(&mut client, &[round, i]);
        }
        // The number of the first event, before any record; then of the first one with records, wherever it ends.
        let event = first.unwrap_or_else(|| {
            let mut events = std::iter::from_fn(|| subscription.next());
            events.find(|event| !event.data().is_empty()).unwrap()
        });
        assert_eq!(event.data().is_empty(), round == 0);
        seen.extend(event.data());
        let kind = if round % 2 == 0 { "AT_SEQUENCE_NUMBER" } else { "AFTER_SEQUENCE_NUMBER" };
        position = json!({ "Type": kind, "SequenceNumber": event.continuation() });
        let left = copy_of(dir.path());
        server.stop();
        dir = left;
    }
    let server = Server::open(dir.path());
    let last = consumer(&mut server.client(), "s", "last");
    let mut subscription = Subscription::begin(&server, &last, SHARD, &position);
    while seen.len() < 20 {
        seen.extend(subscription.next().unwrap().data());
    }
    let expected: Vec<_> = (0..4).flat_map(|round| (0..5).map(move |i| vec![round, i])).collect();
    assert_eq!(seen, expected);
    server.stop();
}

#[test]
fn a_subscription_ends_after_five_minutes_and_with_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let ahead = Ahead::default();
    let server = Server::start(open(dir.path(), ahead.clock()));
    let mut client = server.client();
    stream(&mut client, 1);
    let reader = consumer(&mut client, "s", "a");
    let mut subscription = Subscription::begin(&server, &reader, SHARD, &horizon());
    assert_eq!(subscription.next().unwrap().data().len(), 0);
    ahead.advance(299_000);
    put(&mut client, b"1");
    assert_eq!(subscription.next().unwrap().data(), [b"1"]);
    ahead.advance(1_000);
    put(&mut client, b"2");
    assert!(subscription.next().is_none(), "it ends before what comes after its time");
    // The next one takes over the shard at once: the last call is long ago.
    let mut next = Subscription::begin(&server, &reader, SHARD, &horizon());
    assert_eq!(next.next().unwrap().data(), [b"1", b"2"]);
    let begun = Instant::now();
    let ended = std::thread::spawn(move || next.next().is_none());
    server.stop();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(ended.join().unwrap(), "whole messages, then a proper end");
}

#[test]
fn a_client_that_does_not_read_holds_one_event_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    stream(&mut client, 1);
    let reader = consumer(&mut client, "s", "slow");
    for _ in 0..40 {
        put(&mut client, &vec![7; (1 << 20) - 1]);
    }
    let before = server.engine.counters().records_read;
    let mut subscription = Subscription::begin(&server, &reader, SHARD, &horizon());
    let mut given = 0;
    // What the sockets take, then nothing.
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(100));
        let now = server.engine.counters().records_read - before;
        if now == given && now > 0 {
            break;
        }
        given = now;
    }
    assert!((1..30).contains(&given), "{given} of 40 events were made for a client that reads none");
    assert_eq!(subscription.records(40).0.len(), 40);
    server.stop();
}

#[test]
fn events_in_cbor_carry_data_as_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    stream(&mut client, 1);
    let reader = consumer(&mut client, "s", "java");
    put(&mut client, b"\x00data\xff");
    // {"ConsumerARN": …, "ShardId": …, "StartingPosition": {"Type": "TRIM_HORIZON"}}
    let text = |text: &str| {
        let head = u8::try_from(text.len()).unwrap();
        [&[0x78, head], text.as_bytes()].concat()
    };
    let mut body = vec![0xa3];
    for part in ["ConsumerARN", &reader, "ShardId", SHARD, "StartingPosition"] {
        body.extend(text(part));
    }
    body.push(0xa1);
    body.extend([text("Type"), text("TRIM_HORIZON")].concat());
    let answer = runtime().block_on(async {
        let mut peer = Peer::connect(server.address).await;
        let mut answer = peer.send("SubscribeToShard", "application/x-amz-cbor-1.1", body).await;
        assert_eq!(answer.headers()["content-type"], "application/vnd.amazon.eventstream");
        let mut bytes = Vec::new();
        let mut messages = Vec::new();
        while messages.len() < 2 {
            bytes.extend(answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap());
            messages.extend(std::iter::from_fn(|| Message::take(&mut bytes)));
        }
        messages
    });
    for message in &answer {
        assert_eq!(message.headers[":content-type"], "application/x-amz-cbor-1.1");
        assert_eq!(message.payload[0], 0xbf, "a map");
    }
    let data = b"\x64Data\x46\x00data\xff";
    assert!(answer[1].payload.windows(data.len()).any(|w| w == data), "{answer:?}");
    server.stop();
}

#[test]
fn two_mebibytes_a_second_are_pushed_to_a_consumer_under_aws_s_limits() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        EngineConfig { journal: small(), limits: LimitProfile::Aws, ..EngineConfig::new(dir.path()) };
    let server = Server::start(Engine::open(config).unwrap().0);
    let mut client = server.client();
    stream(&mut client, 1);
    let reader = consumer(&mut client, "s", "a");
    let handle = server.engine.stream(&StreamName::parse("s").unwrap()).unwrap();
    for _ in 0..6 {
        let mut batch = server.engine.batch();
        batch.put(&handle, "k", None, &vec![1; (1 << 20) - 1]).unwrap();
        let stored = async { server.engine.append_within(&batch, PATIENCE).await.unwrap().await };
        runtime().block_on(stored).unwrap();
    }
    let begun = Instant::now();
    let mut subscription = Subscription::begin(&server, &reader, SHARD, &horizon());
    subscription.records(6);
    let took = begun.elapsed();
    // The first second's worth comes at once, the sixth when the five before it are paid for.
    assert!((1_300..6_000).contains(&took.as_millis()), "{took:?}");
    server.stop();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// One HTTP/2 connection.
struct Peer(http2::SendRequest<Full<Bytes>>);

impl Peer {
    async fn connect(address: SocketAddr) -> Peer {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let (client, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        Peer(client)
    }

    async fn send(
        &mut self,
        operation: &str,
        kind: &str,
        body: impl Into<Bytes>,
    ) -> hyper::Response<hyper::body::Incoming> {
        let request = Request::post("http://engine/")
            .header("content-type", kind)
            .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
            .header("x-amz-date", "20260101T000000Z")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0");
        self.0.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap()
    }
}

/// Pages this process has in memory, and the time its threads have run, in seconds.
fn used() -> (usize, f64) {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: Vec<f64> =
        stat.rsplit(')').next().unwrap().split(' ').filter_map(|field| field.parse().ok()).collect();
    // Fields 14 and 15 of proc(5); the state before them is no number.
    (pages * 4_096, (ticks[10] + ticks[11]) / 100.0)
}

#[test]
fn a_thousand_idle_subscriptions_cost_little_and_one_record_wakes_those_of_its_shard() {
    const CONSUMERS: usize = 10;
    const SHARDS: usize = 100;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(open(dir.path(), Clock::system()));
    let mut client = server.client();
    stream(&mut client, 101);
    let readers: Vec<_> = (0..CONSUMERS).map(|i| consumer(&mut client, "s", &format!("c-{i}"))).collect();
    let (memory, _) = used();
    runtime().block_on(async {
        let mut streams = Vec::new();
        for reader in &readers {
            let mut peer = Peer::connect(server.address).await;
            for shard in 0..SHARDS {
                let asked = json!({
                    "ConsumerARN": reader, "ShardId": format!("shardId-{shard:012}"), "StartingPosition": { "Type": "LATEST" },
                });
                let answer = peer.send("SubscribeToShard", "application/x-amz-json-1.1", asked.to_string()).await;
                assert_eq!(answer.status(), 200);
                streams.push((shard, answer.into_body()));
            }
        }
        // The beginnings: initial response and first event.
        let mut bytes = vec![Vec::new(); streams.len()];
        for ((_, stream), bytes) in streams.iter_mut().zip(&mut bytes) {
            let mut messages = 0;
            while messages < 2 {
                bytes.extend(stream.frame().await.unwrap().unwrap().into_data().unwrap());
                messages += std::iter::from_fn(|| Message::take(bytes)).count();
            }
        }
        let (now, cpu) = used();
        // Client and server are in this process; 30 KiB for both ends of a stream is far more than they take.
        assert!(now.saturating_sub(memory) < 1_000 * 30 * 1024, "{} KiB", now.saturating_sub(memory) / 1024);
        // A shard nobody reads is written to all the time: nobody is woken by that.
        let handle = server.engine.stream(&StreamName::parse("s").unwrap()).unwrap();
        let key = |shard: usize| Some(HashKey(u128::MAX / 101 * shard as u128 + 12_345));
        let end = Instant::now() + Duration::from_secs(2);
        let mut commits = 0;
        while Instant::now() < end {
            let mut batch = server.engine.batch();
            batch.put(&handle, "k", key(100), b"x").unwrap();
            server.engine.append_within(&batch, PATIENCE).await.unwrap().await.unwrap();
            commits += 1;
        }
        let (_, after) = used();
        assert!(commits > 20, "{commits}");
        // Woken by each commit they would need more than all cores have.
        assert!(after - cpu < 1.5, "{:.2} s for {commits} commits", after - cpu);
        let mut batch = server.engine.batch();
        batch.put(&handle, "k", key(42), b"found").unwrap();
        server.engine.append_within(&batch, PATIENCE).await.unwrap().await.unwrap();
        for ((shard, stream), bytes) in streams.iter_mut().zip(&mut bytes) {
            if *shard != 42 {
                continue;
            }
            loop {
                let frame = tokio::time::timeout(Duration::from_secs(10), stream.frame()).await.unwrap();
                bytes.extend(frame.unwrap().unwrap().into_data().unwrap());
                let messages: Vec<_> = std::iter::from_fn(|| Message::take(bytes)).collect();
                if messages.iter().flat_map(Message::data).any(|data| data == b"found") {
                    break;
                }
            }
        }
    });
    server.stop();
}
