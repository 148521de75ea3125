//! Reads a stream back over the Kinesis API, as any reader does.

use headwater_engine::Engine;
use serde_json::{Value as Json, json};

/// Every record of a stream as (partition key, data), over the Kinesis API as a reader gets it.
pub(crate) async fn records(engine: &Engine, stream: &str) -> Vec<(String, Vec<u8>)> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = {
        let engine = engine.clone();
        tokio::spawn(async move {
            engine
                .http(listener, async {
                    let _ = stopped.await;
                })
                .await;
        })
    };
    let shards = call(addr, "ListShards", json!({ "StreamName": stream })).await;
    let mut found = Vec::new();
    for shard in shards["Shards"].as_array().unwrap() {
        let start =
            json!({ "StreamName": stream, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON" });
        let mut iterator = call(addr, "GetShardIterator", start).await["ShardIterator"].clone();
        loop {
            let page = call(addr, "GetRecords", json!({ "ShardIterator": iterator })).await;
            for record in page["Records"].as_array().unwrap() {
                let data = base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
                found.push((record["PartitionKey"].as_str().unwrap().to_owned(), data));
            }
            if page["MillisBehindLatest"] == 0 {
                break;
            }
            iterator = page["NextShardIterator"].clone();
        }
    }
    drop(stop);
    serving.await.unwrap();
    found
}

async fn call(addr: std::net::SocketAddr, operation: &str, body: Json) -> Json {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let body = body.to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: \
         Kinesis_20131202.{operation}\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=x/20261120/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0\r\nX-Amz-Date: \
         20261120T000000Z\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut socket = tokio::net::TcpStream::connect(addr).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{operation}: {answer}");
    serde_json::from_str(body).unwrap()
}

pub(crate) async fn json_records(engine: &Engine, stream: &str) -> Vec<Json> {
    records(engine, stream).await.iter().map(|(_, data)| serde_json::from_slice(data).unwrap()).collect()
}
