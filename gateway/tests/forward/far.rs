//! The target: an engine of its own behind a way that does what the test says to PutRecords.

use crate::gateway_support::{PATIENCE, resize, store};
use bytes::Bytes;
use headwater_engine::storage::{Cursor, Position};
use headwater_engine::{Engine, EngineConfig, HashKey, ShardId, StreamHandle, StreamName};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of PutRecords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Connections end before anything is asked.
    Refuse,
    /// An error of the server, nothing is done.
    Error,
    /// It is done, and nobody hears of it.
    LoseAnswer,
    /// The connection ends, nothing is done.
    Close,
    /// Something on the way answers instead, with this status and a page for people.
    Login(u16),
    /// One record of so many is refused.
    Throttle(usize),
}

pub(crate) struct Far {
    _dir: tempfile::TempDir,
    engine: Engine,
    address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
}

struct Broken;

impl std::fmt::Debug for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the way is broken")
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the way is broken")
    }
}

impl std::error::Error for Broken {}

impl Far {
    pub(crate) async fn start(shards: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = headwater_journal::Config {
            segment_bytes: 24 << 20,
            reserve_bytes: 0,
            ..headwater_journal::Config::small()
        };
        let (engine, _) = Engine::open(EngineConfig { journal, ..EngineConfig::new(dir.path()) }).unwrap();
        engine.ensure_stream(&StreamName::parse("telemetry").unwrap(), shards).await.unwrap();
        let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = api.local_addr().unwrap();
        let serving = engine.clone();
        tokio::spawn(async move { serving.http(api, std::future::pending()).await });
        let way = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = way.local_addr().unwrap();
        let fault = Arc::new(Mutex::new(Fault::None));
        tokio::spawn(serve(way, behind, Arc::clone(&fault)));
        Self { _dir: dir, engine, address, fault }
    }

    /// The sink that leads here, with more keys.
    pub(crate) fn sink(&self, more: &str) -> String {
        format!(
            "[sinks.far]\nendpoint = \"http://{}\"\nregion = \"us-east-1\"\ncredentials = \"unchecked\"\n{more}",
            self.address
        )
    }

    pub(crate) fn fault(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    pub(crate) async fn resize(&self, shards: u32) {
        resize(&self.engine, "telemetry", shards).await;
    }

    /// Keys and numbers, parents before children, aggregates taken apart.
    pub(crate) async fn records(&self) -> Vec<(String, u64)> {
        self.records_of("telemetry").await
    }

    pub(crate) async fn records_of(&self, stream: &str) -> Vec<(String, u64)> {
        let number = |data: &[u8]| {
            let value: Value = serde_json::from_slice(data).ok()?;
            value["number"].as_u64()
        };
        let mut records = Vec::new();
        for (key, data) in read_all(&self.engine, stream).await {
            if headwater_aws::kpl::is_aggregate(&data) {
                for inner in headwater_aws::kpl::deaggregate(&data).unwrap() {
                    records.push((inner.key.to_owned(), number(inner.data).unwrap()));
                }
            } else if let Some(number) = number(&data) {
                records.push((key, number));
            }
        }
        records
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The stream takes no records, as with a full disk.
    pub(crate) fn hold_back(&self, is_held: bool) {
        let stream = self.engine.stream(&StreamName::parse("telemetry").unwrap()).unwrap();
        self.engine.hold_back(&stream, "test", is_held);
    }

    pub(crate) async fn put(&self, key: &str, data: &str) {
        let stream = self.engine.stream(&StreamName::parse("telemetry").unwrap()).unwrap();
        let mut batch = self.engine.batch();
        batch.put(&stream, key, None, data.as_bytes()).unwrap();
        store(&self.engine, &batch).await;
    }

    /// Keys and numbers that readers see who leave out, as the KCL does, what is in an aggregate and not of its shard.
    pub(crate) async fn readable(&self) -> Vec<(String, u64)> {
        let stream = self.engine.stream(&StreamName::parse("telemetry").unwrap()).unwrap();
        let mut records = Vec::new();
        for shard in stream.state().shards.all() {
            for (key, data) in read_shard(&self.engine, &stream, shard.id).await {
                let plain = [headwater_aws::kpl::UserRecord { key: &key, hash: None, data: &data }];
                let packed = headwater_aws::kpl::deaggregate(&data);
                for one in packed.as_deref().unwrap_or(&plain) {
                    if shard.range.contains(HashKey::of(one.key.as_bytes())) {
                        let value: Value = serde_json::from_slice(one.data).unwrap();
                        records.push((one.key.to_owned(), value["number"].as_u64().unwrap()));
                    }
                }
            }
        }
        records
    }

    /// Records as the stream holds them.
    pub(crate) async fn raw(&self) -> Vec<(String, Vec<u8>)> {
        read_all(&self.engine, "telemetry").await
    }
}

/// Everything a stream holds, shard after shard in the order of their numbers, which is parents before children.
pub(crate) async fn read_all(engine: &Engine, stream: &str) -> Vec<(String, Vec<u8>)> {
    let stream = engine.stream(&StreamName::parse(stream).unwrap()).unwrap();
    let mut records = Vec::new();
    for shard in stream.state().shards.all() {
        records.extend(read_shard(engine, &stream, shard.id).await);
    }
    records
}

async fn read_shard(engine: &Engine, stream: &StreamHandle, shard: ShardId) -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::new();
    let mut from: Position = engine.locate(stream, shard, Cursor::TrimHorizon).await.unwrap();
    loop {
        let page = engine.read(stream, shard, from, (1_000, 1 << 20)).await.unwrap();
        for run in &page.runs {
            run.visit(&mut |record| {
                let key = String::from_utf8(record.key.to_vec()).unwrap();
                records.push((key, record.data.to_vec()));
            });
        }
        if page.next == page.end {
            return records;
        }
        from = page.next;
    }
}

async fn serve(way: TcpListener, behind: SocketAddr, fault: Arc<Mutex<Fault>>) {
    loop {
        let (socket, _) = way.accept().await.unwrap();
        let fault = Arc::clone(&fault);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let fault = *fault.lock().unwrap();
                pass(request, behind, fault)
            });
            // A connection that is broken by a fault ends with an error.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn pass(
    request: Request<Incoming>,
    behind: SocketAddr,
    fault: Fault,
) -> Result<Response<Full<Bytes>>, Broken> {
    let is_put = request
        .headers()
        .get("x-amz-target")
        .is_some_and(|target| target.as_bytes().ends_with(b".PutRecords"));
    if fault == Fault::Refuse {
        return Err(Broken);
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
    let is_json = head.headers.get("content-type").is_some_and(|kind| kind.as_bytes().ends_with(b"json-1.1"));
    let send = |body: Bytes| {
        let mut request = Request::builder().method(head.method.clone()).uri(head.uri.clone());
        for (name, value) in head.headers.iter().filter(|(name, _)| *name != "content-length") {
            request = request.header(name, value);
        }
        ask(behind, request.body(Full::new(body)).unwrap())
    };
    match fault {
        Fault::Error if is_put => {
            let mut response =
                Response::new(Full::new(Bytes::from_static(b"{\"__type\":\"InternalFailure\"}")));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            Ok(response)
        }
        Fault::Login(status) if is_put => {
            let mut response = Response::new(Full::new(Bytes::from_static(b"<html>Who are you?</html>")));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok(response)
        }
        Fault::Close if is_put => Err(Broken),
        Fault::LoseAnswer if is_put => {
            send(body).await?;
            Err(Broken)
        }
        Fault::Throttle(every) if is_put && is_json => throttle(&body, every, send).await,
        _ => send(body).await,
    }
}

/// Passes on all records but one of `every`, and answers for all of them.
async fn throttle<F: Future<Output = Result<Response<Full<Bytes>>, Broken>>>(
    body: &Bytes,
    every: usize,
    send: impl Fn(Bytes) -> F,
) -> Result<Response<Full<Bytes>>, Broken> {
    let mut asked: Value = serde_json::from_slice(body).unwrap();
    let records = asked["Records"].as_array().unwrap().clone();
    let is_refused = |index: usize| index % every == every - 1;
    let passed: Vec<Value> = (0..)
        .zip(&records)
        .filter(|(index, _)| !is_refused(*index))
        .map(|(_, record)| record.clone())
        .collect();
    asked["Records"] = passed.into();
    let answered = send(asked.to_string().into()).await?;
    let (parts, body) = answered.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut answer: Value = serde_json::from_slice(&body).unwrap();
    let mut stored = answer["Records"].as_array().unwrap().clone().into_iter();
    let refused =
        json!({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"});
    let all: Vec<Value> = (0..records.len())
        .map(|index| if is_refused(index) { refused.clone() } else { stored.next().unwrap() })
        .collect();
    let failed = all.iter().filter(|record| record["ErrorCode"].is_string()).count();
    answer["FailedRecordCount"] = failed.into();
    answer["Records"] = all.into();
    let mut response = Response::from_parts(parts, Full::new(Bytes::from(answer.to_string())));
    response.headers_mut().remove("content-length");
    response.headers_mut().remove("x-amz-crc32");
    Ok(response)
}

async fn ask(behind: SocketAddr, request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Broken> {
    let socket = TcpStream::connect(behind).await.map_err(|_| Broken)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|_| Broken)?;
    tokio::spawn(connection);
    let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await;
    let (parts, body) = answer.map_err(|_| Broken)?.map_err(|_| Broken)?.into_parts();
    let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
    Ok(Response::from_parts(parts, Full::new(body)))
}
