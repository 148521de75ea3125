//! Whole fleets against a stand-in for a gateway: one that keeps its promises, and some that do not.

use bytes::BytesMut;
use headwater_sim::{AgentAt, Fleet, Progress, SimConfig, Summary};
use headwater_telemetry::{Entry, Up, decode_body};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of the records of one publish before they are kept.
type Fate = fn(index: usize, records: &mut Vec<String>);

/// A gateway in memory: MQTT 3.1.1 and 5 in, one shard out. Lets in as many devices with MQTT 5 as it has room for.
#[derive(Clone)]
struct Gateway {
    room: usize,
    inside: Arc<Mutex<BTreeSet<String>>>,
    records: Arc<Mutex<Vec<String>>>,
    seen: Arc<Mutex<BTreeSet<(String, u32, u32)>>>,
    fate: Fate,
}

async fn run(fate: Fate, change: impl FnOnce(&mut SimConfig)) -> Summary {
    run_with_room_for(usize::MAX, fate, change).await
}

async fn run_with_room_for(room: usize, fate: Fate, change: impl FnOnce(&mut SimConfig)) -> Summary {
    let (records, seen) = Default::default();
    let gateway = Gateway { room, inside: Arc::default(), records, seen, fate };
    let bind = || async { TcpListener::bind("127.0.0.1:0").await.expect("a free port") };
    let (mqtt, kinesis) = (bind().await, bind().await);
    let dir = tempfile::tempdir().expect("a folder");
    let addr = |listener: &TcpListener| listener.local_addr().expect("it is bound");
    let mut config = SimConfig::new(dir.path().to_owned(), addr(&mqtt), addr(&kinesis));
    config.rate_per_sec = 40.0;
    config.count = Some(60);
    config.devices = 3;
    config.drain = Duration::from_secs(20);
    config.run = Some("test".to_owned());
    change(&mut config);
    tokio::spawn(gateway.clone().serve_mqtt(mqtt));
    tokio::spawn(gateway.clone().serve_kinesis(kinesis));
    let (progress, _) = watch::channel(Progress::default());
    Fleet::run(config, progress, std::future::pending()).await.expect("the fleet runs")
}

impl Gateway {
    async fn serve_mqtt(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            tokio::spawn(self.clone().session(stream));
        }
    }

    async fn session(self, mut stream: TcpStream) {
        let (mut incoming, mut is_v5) = (BytesMut::new(), None);
        while matches!(stream.read_buf(&mut incoming).await, Ok(1..)) {
            // CONNECT: two bytes of header, six of name, then the level.
            let Some(&level) = incoming.get(8) else { continue };
            let is_v5 = *is_v5.get_or_insert(level == 5);
            let mut out = BytesMut::new();
            if is_v5 {
                self.take_v5(&mut incoming, &mut out)
            } else {
                self.take_v4(&mut incoming, &mut out)
            }
            if stream.write_all(&out).await.is_err() {
                return;
            }
        }
    }

    fn take_v5(&self, incoming: &mut BytesMut, out: &mut BytesMut) {
        while let Ok(packet) = v5::Packet::read(incoming, None) {
            let answer = match packet {
                v5::Packet::Connect(connect, ..) => v5::Packet::ConnAck(v5::ConnAck {
                    session_present: false,
                    code: self.let_in(connect.client_id),
                    properties: None,
                }),
                v5::Packet::Publish(publish) => {
                    self.keep(&publish.topic, &publish.payload);
                    v5::Packet::PubAck(v5::PubAck::new(publish.pkid, None))
                }
                v5::Packet::PingReq(_) => v5::Packet::PingResp(v5::PingResp),
                _ => continue,
            };
            answer.write(out, None).expect("answers are small");
        }
    }

    fn let_in(&self, client_id: String) -> v5::ConnectReturnCode {
        let mut inside = self.inside.lock().expect("not poisoned");
        if inside.len() < self.room || inside.contains(&client_id) {
            inside.insert(client_id);
            return v5::ConnectReturnCode::Success;
        }
        v5::ConnectReturnCode::QuotaExceeded
    }

    fn take_v4(&self, incoming: &mut BytesMut, out: &mut BytesMut) {
        while let Ok(packet) = v4::Packet::read(incoming, 1 << 16) {
            let answer = match packet {
                v4::Packet::Connect(_) => v4::Packet::ConnAck(v4::ConnAck {
                    session_present: false,
                    code: v4::ConnectReturnCode::Success,
                }),
                v4::Packet::Publish(publish) => {
                    self.keep(publish.topic.as_bytes(), &publish.payload);
                    v4::Packet::PubAck(v4::PubAck::new(publish.pkid))
                }
                v4::Packet::PingReq => v4::Packet::PingResp,
                _ => continue,
            };
            answer.write(out, usize::MAX).expect("answers are small");
        }
    }

    fn keep(&self, topic: &[u8], payload: &[u8]) {
        let topic = String::from_utf8(topic.to_vec()).expect("topics are UTF-8");
        let mut new = match (topic.strip_prefix("headwater/"), decode_body::<Up>(payload)) {
            (Some(rest), Ok(Up::Batch(batch))) => {
                let device = rest.split('/').next().expect("a device");
                let mut seen = self.seen.lock().expect("not poisoned");
                let fresh = batch
                    .sequenced()
                    .filter(|(seq, _)| seen.insert((device.to_owned(), batch.boot.0, seq.0)));
                let record = |(seq, entry): (headwater_telemetry::Seq, &Entry)| match entry {
                    Entry::Reading(_) => {
                        json!({ "kind": "reading", "device": device, "boot": batch.boot.0, "seq": seq.0 })
                    }
                    Entry::Gap(gap) => {
                        json!({ "kind": "gap", "device": device, "boot": batch.boot.0, "first": seq.0, "count": gap.count })
                    }
                };
                fresh.map(|fresh| record(fresh).to_string()).collect()
            }
            (Some(_), _) => Vec::new(),
            (None, _) => vec![String::from_utf8(payload.to_vec()).expect("foreign payloads are JSON")],
        };
        let mut records = self.records.lock().expect("not poisoned");
        (self.fate)(records.len(), &mut new);
        records.extend(new);
    }

    async fn serve_kinesis(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            let gateway = self.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let gateway = gateway.clone();
                async move {
                    let target = request.headers()["x-amz-target"].to_str().expect("ASCII").to_owned();
                    let body = request.into_body().collect().await.expect("a body").to_bytes();
                    let answer = gateway.answer(&target, &serde_json::from_slice(&body).expect("JSON"));
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer.to_string()))))
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    }

    fn answer(&self, target: &str, asked: &Value) -> Value {
        let records = self.records.lock().expect("not poisoned");
        match target.strip_prefix("Kinesis_20131202.").expect("a Kinesis call") {
            "ListStreams" => json!({ "StreamNames": ["telemetry"], "HasMoreStreams": false }),
            "ListShards" => json!({ "Shards": [{ "ShardId": "shardId-000000000000" }] }),
            "GetShardIterator" if asked["ShardIteratorType"] == "LATEST" => {
                json!({ "ShardIterator": records.len().to_string() })
            }
            "GetShardIterator" => json!({ "ShardIterator": "0" }),
            "GetRecords" => {
                let from: usize = asked["ShardIterator"].as_str().expect("given").parse().expect("ours");
                // Small pages, so that reading on is part of the test.
                let to = records.len().min(from + 7);
                let page: Vec<Value> = (from..to)
                    .map(|index| {
                        let data = base64_simd::STANDARD.encode_to_string(&records[index]);
                        json!({ "Data": data, "SequenceNumber": index.to_string() })
                    })
                    .collect();
                json!({ "Records": page, "NextShardIterator": to.to_string(), "MillisBehindLatest": u8::from(to < records.len()) })
            }
            other => panic!("{other} is not called by a fleet"),
        }
    }
}

#[tokio::test]
async fn everything_acked_is_found_when_nothing_is_lost() {
    let summary = run(
        |_, _| {},
        |config| {
            config.mqtt_devices = 2;
            config.foreign = 2;
        },
    )
    .await;
    assert!(summary.is_good(), "{summary}: {:?}", summary.examples);
    assert_eq!((summary.devices, summary.waiting, summary.gaps), (7, 0, 0));
    assert!(summary.readings >= 7 * 60, "{summary}");
    assert_eq!((summary.stored, summary.acked), (summary.readings, summary.readings), "{summary}");
}

#[tokio::test]
async fn a_gateway_that_acks_and_forgets_is_found_out() {
    // Of one publish in the middle the first record is not kept.
    let forget: Fate = |index, new| {
        if (40..70).contains(&index) && !new.is_empty() {
            new.remove(0);
        }
    };
    let summary = run(forget, |config| config.drain = Duration::from_secs(4)).await;
    assert!(summary.lost > 0 && !summary.is_good(), "{summary}");
    assert!(summary.examples[0].contains("is acked and not in a shard"), "{:?}", summary.examples);
    assert_eq!((summary.repeated, summary.misordered), (0, 0), "{summary}");
    assert_eq!(summary.stored + summary.lost, summary.acked, "{summary}");
}

#[tokio::test]
async fn a_gateway_that_stores_twice_or_out_of_order_is_found_out() {
    let twice: Fate = |index, new| {
        if (40..70).contains(&index) {
            new.extend(new.last().cloned());
        }
    };
    let summary = run(twice, |_| {}).await;
    assert!(summary.repeated > 0 && summary.lost == 0 && !summary.is_good(), "{summary}");
    let summary = run(|_, new| new.reverse(), |_| {}).await;
    assert!(summary.misordered > 0 && summary.lost == 0 && summary.repeated == 0, "{summary}");
}

#[tokio::test]
async fn power_cuts_and_lost_links_lose_nothing_that_was_acked() {
    let summary = run(
        |_, _| {},
        |config| {
            config.count = Some(150);
            config.faults.offline = 0.3;
            config.faults.reboots_per_hour = 1_800.0;
            config.faults.clock_skew = Duration::from_secs(90);
            config.mqtt_devices = 3;
        },
    )
    .await;
    assert!(summary.is_good(), "{summary}: {:?}", summary.examples);
    assert!(summary.reboots > 0, "{summary}");
    assert_eq!(summary.stored + summary.gaps, summary.acked, "{summary}");
}

#[tokio::test]
async fn after_its_duration_it_drains_and_checks() {
    let stopped = tokio::time::timeout(
        Duration::from_secs(30),
        run(
            |_, _| {},
            |config| {
                config.count = None;
                config.duration = Some(Duration::from_millis(700));
                config.agent = match &config.agent {
                    AgentAt::InProcess(state) => AgentAt::InProcess(state.join("deeper")),
                    other => other.clone(),
                };
            },
        ),
    );
    let summary = stopped.await.expect("it ends");
    assert!(summary.is_good() && summary.waiting == 0, "{summary}");
}

#[tokio::test]
async fn devices_that_a_gateway_keeps_out_are_told_apart_from_those_that_deliver() {
    let few = |config: &mut SimConfig| {
        (config.devices, config.mqtt_devices) = (0, 5);
        config.drain = Duration::from_secs(3);
    };
    let summary = run_with_room_for(2, |_, _| {}, few).await;
    assert_eq!((summary.silent, summary.lost, summary.is_good()), (3, 0, false), "{summary}");
    assert!(summary.acked > 0 && summary.waiting > 0, "{summary}");
    assert!(summary.to_string().ends_with(", 3 devices delivered nothing"), "{summary}");
    let examples = summary.examples.iter().filter(|example| example.contains("mqtt.connections_per_ip"));
    assert_eq!(examples.count(), 3, "{:?}", summary.examples);
    let summary = run_with_room_for(5, |_, _| {}, few).await;
    assert_eq!((summary.silent, summary.is_good()), (0, true), "{summary}");
}
