//! The smallest client of the Kinesis API: signed with nonsense, JSON over one kept-alive HTTP/1.1 connection.
//! It exists so that a check can read millions of records quickly; what users do is done with boto3 and the AWS CLI.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// GetRecords takes at most 10,000 (API reference, GetRecords, Limit).
const RECORDS_PER_CALL: u64 = 10_000;

/// No call of a test waits longer: a stuck server must fail the test, not hang it.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection to an endpoint.
#[derive(Debug)]
pub struct Kinesis {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

/// An answer of any status.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The JSON document, `null` when the body is empty.
    pub body: Value,
}

/// One record as a reader of a shard sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The shard it came from, `shardId-000000000000`.
    pub shard: String,
    /// The sequence number, decimal.
    pub sequence: String,
    /// The partition key.
    pub key: String,
    /// The bytes.
    pub data: Vec<u8>,
}

impl Record {
    /// The bytes as JSON.
    ///
    /// # Panics
    /// When they are not JSON: in these tests they always are.
    #[must_use]
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.data);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("record is not JSON: {error}: {text}"))
    }
}

impl Kinesis {
    /// Connects on the first call.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// Calls one operation. Any HTTP status is an answer.
    ///
    /// # Errors
    /// When the connection fails; the call may or may not have had its effect.
    pub fn call(&mut self, operation: &str, arguments: &Value) -> Result<Answer> {
        let answer = self.exchange(operation, arguments);
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    /// Calls one operation that must succeed.
    ///
    /// # Panics
    /// When it does not answer 200.
    pub fn must(&mut self, operation: &str, arguments: &Value) -> Value {
        match self.call(operation, arguments) {
            Ok(Answer { status: 200, body }) => body,
            other => panic!("{operation} {arguments}: {other:?}"),
        }
    }

    /// Whether the endpoint answers now.
    pub fn answers(&mut self) -> bool {
        matches!(self.call("ListStreams", &json!({})), Ok(Answer { status: 200, .. }))
    }

    /// The ids of all shards of a stream.
    ///
    /// # Panics
    /// When the stream does not exist.
    pub fn shards(&mut self, stream: &str) -> Vec<String> {
        let list = self.must("ListShards", &json!({ "StreamName": stream }));
        let shards = list["Shards"].as_array().expect("ListShards answers with Shards");
        shards.iter().map(|shard| shard["ShardId"].as_str().expect("a shard has an id").to_owned()).collect()
    }

    /// Every record of a stream from TRIM_HORIZON to its end now, shard by shard, each in the order of the shard.
    ///
    /// # Panics
    /// When the stream does not exist or a call fails.
    pub fn read_all(&mut self, stream: &str) -> Vec<Record> {
        let mut records = Vec::new();
        for shard in self.shards(stream) {
            self.read_shard(stream, &shard, &mut records);
        }
        records
    }

    fn read_shard(&mut self, stream: &str, shard: &str, records: &mut Vec<Record>) {
        let at = json!({ "StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
        let mut next = self.must("GetShardIterator", &at)["ShardIterator"].clone();
        // A call may be empty before the end (the API allows it), so MillisBehindLatest decides and not the count.
        while let Some(iterator) = next.as_str() {
            let page =
                self.must("GetRecords", &json!({ "ShardIterator": iterator, "Limit": RECORDS_PER_CALL }));
            let found = page["Records"].as_array().expect("GetRecords answers with Records");
            records.extend(found.iter().map(|record| parse(shard, record)));
            if found.is_empty() && page["MillisBehindLatest"].as_u64() == Some(0) {
                return;
            }
            next = page["NextShardIterator"].clone();
        }
    }

    fn exchange(&mut self, operation: &str, arguments: &Value) -> Result<Answer> {
        let body = arguments.to_string();
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(self.address)?),
        };
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Kinesis_20131202.{operation}\r\n\
             X-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        connection.get_mut().write_all(head.as_bytes())?;
        let (status, length) = read_head(connection)?;
        let mut bytes = vec![0; length];
        connection.read_exact(&mut bytes)?;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };
        Ok(Answer { status, body })
    }
}

/// One `GET`, for health and metrics. The connection is closed afterwards.
///
/// # Errors
/// When nobody answers.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut connection = connect(address)?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.get_mut().write_all(head.as_bytes())?;
    let (status, length) = read_head(&mut connection)?;
    let mut bytes = vec![0; length];
    connection.read_exact(&mut bytes)?;
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

fn connect(address: SocketAddr) -> Result<BufReader<TcpStream>> {
    let connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(connection))
}

/// Status and body length. Bodies of unknown length are refused: the engine always says how much it sends.
fn read_head(connection: &mut BufReader<TcpStream>) -> Result<(u16, usize)> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let bad = || Error::new(ErrorKind::InvalidData, format!("not an HTTP answer: {line:?}"));
    let status = line.split(' ').nth(1).and_then(|text| text.parse().ok()).ok_or_else(bad)?;
    let mut length = 0;
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        if line.trim().is_empty() {
            return Ok((status, length));
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length =
                value.trim().parse().map_err(|_| Error::new(ErrorKind::InvalidData, "bad content-length"))?;
        }
    }
}

fn parse(shard: &str, record: &Value) -> Record {
    let text = |name: &str| {
        record[name].as_str().unwrap_or_else(|| panic!("record without {name}: {record}")).to_owned()
    };
    let data = base64_simd::STANDARD.decode_to_vec(text("Data")).expect("Data is base64");
    Record { shard: shard.to_owned(), sequence: text("SequenceNumber"), key: text("PartitionKey"), data }
}
