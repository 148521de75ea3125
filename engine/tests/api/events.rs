//! A client of subscriptions: event streams over HTTP/1.1, message by message.

use crate::support::{Client, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, Read};

/// One message of an event stream.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    /// Takes the first whole message from `bytes`. Checksums are the unit tests' and boto3's to look at.
    pub(crate) fn take(bytes: &mut Vec<u8>) -> Option<Message> {
        let number =
            |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().unwrap()) as usize);
        let (total, head) = (number(0)?, number(4)?);
        if bytes.len() < total {
            return None;
        }
        let message: Vec<u8> = bytes.drain(..total).collect();
        let (mut at, mut headers) = (12, BTreeMap::new());
        let text = |range: std::ops::Range<usize>| String::from_utf8(message[range].to_vec()).unwrap();
        while at < 12 + head {
            let name = at + 1..at + 1 + usize::from(message[at]);
            assert_eq!(message[name.end], 7, "every header is a text");
            let bytes = usize::from(u16::from_be_bytes([message[name.end + 1], message[name.end + 2]]));
            let value = name.end + 3..name.end + 3 + bytes;
            at = value.end;
            headers.insert(text(name), text(value));
        }
        Some(Message { headers, payload: message[12 + head..total - 4].to_vec() })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap()
    }

    /// The data of its records.
    pub(crate) fn data(&self) -> Vec<Vec<u8>> {
        let records = self.json()["Records"].as_array().unwrap().clone();
        let data = records.iter().map(|record| record["Data"].as_str().unwrap().to_owned());
        data.map(|text| base64_simd::STANDARD.decode_to_vec(text).unwrap()).collect()
    }

    pub(crate) fn continuation(&self) -> Value {
        self.json()["ContinuationSequenceNumber"].clone()
    }
}

/// An event stream being read.
pub(crate) struct Subscription {
    client: Client,
    bytes: Vec<u8>,
}

impl Subscription {
    /// Subscribes and reads the first message, the initial response.
    pub(crate) fn begin(server: &Server, consumer: &str, shard: &str, position: &Value) -> Subscription {
        let mut client = server.client();
        let asked = json!({ "ConsumerARN": consumer, "ShardId": shard, "StartingPosition": position });
        client.send("SubscribeToShard", asked.to_string().as_bytes());
        let answer = client.receive();
        let head = answer.head.to_ascii_lowercase();
        assert!(answer.status == 200 && head.contains("application/vnd.amazon.eventstream"), "{head}");
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let mut subscription = Subscription { client, bytes: Vec::new() };
        let first = subscription.next().unwrap();
        assert_eq!(first.headers[":event-type"], "initial-response");
        subscription
    }

    /// The next message; nothing at a proper end.
    pub(crate) fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = Message::take(&mut self.bytes) {
                return Some(message);
            }
            let mut line = String::new();
            self.client.socket.read_line(&mut line).unwrap();
            let size =
                usize::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("no chunk: {line:?}"));
            let mut chunk = vec![0; size + 2];
            self.client.socket.read_exact(&mut chunk).unwrap();
            chunk.truncate(size);
            if size == 0 {
                assert!(self.bytes.is_empty(), "the stream ended inside a message");
                return None;
            }
            self.bytes.extend(chunk);
        }
    }

    /// The data of so many records, and the last event.
    pub(crate) fn records(&mut self, count: usize) -> (Vec<Vec<u8>>, Message) {
        let mut found = Vec::new();
        loop {
            let event = self.next().expect("the subscription goes on");
            assert_eq!(event.headers[":message-type"], "event", "{event:?}");
            found.extend(event.data());
            assert!(found.len() <= count, "{} records of {count}", found.len());
            if found.len() == count {
                return (found, event);
            }
        }
    }
}

/// Registers a consumer and gives its ARN.
pub(crate) fn consumer(client: &mut Client, stream: &str, name: &str) -> String {
    let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{stream}");
    let answer = client.call("RegisterStreamConsumer", &json!({ "StreamARN": arn, "ConsumerName": name }));
    answer["Consumer"]["ConsumerARN"].as_str().unwrap().to_owned()
}

pub(crate) const SHARD: &str = "shardId-000000000000";
