//! The few calls that read shards back: ListStreams, ListShards, GetShardIterator, GetRecords.
//!
//! In: the address of the Kinesis API. Out: the data of every record, each shard in order, parents before children.
//! Not here: real signatures (the engine of a gateway does not check them), writing, what the data means.

use crate::config::SimError;
use crate::limits::{ANSWER_BYTES_MAX, CALL_TIMEOUT_MS, GET_RECORDS_LIMIT};
use base64_simd::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The API refuses requests without a signature, as AWS does; the engine does not check whose it is.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=sim/20260101/us-east-1/kinesis/aws4_request, \
                             SignedHeaders=host;x-amz-date, Signature=0";

/// Reads every shard of every stream on and on: each call continues where the last one ended.
#[derive(Debug)]
pub(crate) struct Shards {
    addr: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
    /// Stream and shard → how far it is read.
    cursors: BTreeMap<(String, String), Cursor>,
}

#[derive(Debug, Default, Clone)]
struct Cursor {
    /// Sequence number of the last record taken.
    last: Option<String>,
    /// Where GetRecords goes on; none means ask for one.
    iterator: Option<String>,
    /// A closed shard, read to its end.
    is_done: bool,
}

impl Shards {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self { addr, connection: None, cursors: BTreeMap::new() }
    }

    /// Leaves out what the shards hold already: a fleet looks only for its own. Where this fails, reading begins at the
    /// oldest record instead, which is slower and finds the same.
    pub(crate) async fn skip_existing(&mut self) -> Result<(), SimError> {
        self.find_shards().await?;
        let shards: Vec<(String, String)> = self.cursors.keys().cloned().collect();
        for (stream, shard) in shards {
            let asked = json!({ "StreamName": stream, "ShardId": shard, "ShardIteratorType": "LATEST" });
            let answer = self.call("GetShardIterator", &asked).await?;
            let iterator = answer["ShardIterator"].as_str().map(str::to_owned);
            self.cursors.insert((stream, shard), Cursor { iterator, ..Cursor::default() });
        }
        Ok(())
    }

    /// Gives the data of every record that came since the last call. After an error, or when it was dropped before its
    /// end, call it again: nothing is given twice and nothing is left out.
    pub(crate) async fn read_on(&mut self, mut take: impl FnMut(&[u8])) -> Result<(), SimError> {
        self.find_shards().await?;
        let shards: Vec<(String, String)> = self.cursors.keys().cloned().collect();
        for shard in shards {
            let read = self.read_shard(&shard, &mut take).await;
            if read.is_err()
                && let Some(cursor) = self.cursors.get_mut(&shard)
            {
                // Iterators grow old; the sequence number does not.
                cursor.iterator = None;
            }
            read?;
        }
        Ok(())
    }

    async fn read_shard(
        &mut self,
        shard: &(String, String),
        take: &mut impl FnMut(&[u8]),
    ) -> Result<(), SimError> {
        loop {
            let mut cursor = self.cursors.get(shard).cloned().unwrap_or_default();
            if cursor.is_done {
                return Ok(());
            }
            let iterator = match cursor.iterator.take() {
                Some(iterator) => iterator,
                None => self.iterator(&shard.0, &shard.1, cursor.last.as_deref()).await?,
            };
            let asked = json!({ "ShardIterator": iterator, "Limit": GET_RECORDS_LIMIT });
            let page = self.call("GetRecords", &asked).await?;
            let records = page["Records"].as_array().map_or(&[][..], Vec::as_slice);
            let decode = |record: &Value| {
                let data = record["Data"].as_str().unwrap_or_default();
                STANDARD.decode_to_vec(data).map_err(|_| wrong("GetRecords", "Data is not Base64"))
            };
            // All or nothing of a page, so that it can be read again after an error.
            let decoded: Vec<Vec<u8>> = records.iter().map(decode).collect::<Result<_, _>>()?;
            if let Some(last) = records.last().and_then(|record| record["SequenceNumber"].as_str()) {
                cursor.last = Some(last.to_owned());
            }
            cursor.iterator = page["NextShardIterator"].as_str().map(str::to_owned);
            cursor.is_done = cursor.iterator.is_none();
            // Invariant: nothing waits between giving a page and moving the cursor over it, so whoever drops this future
            // drops it before both or after both.
            self.cursors.insert(shard.clone(), cursor);
            decoded.iter().for_each(|data| take(data));
            if records.is_empty() && page["MillisBehindLatest"].as_u64().unwrap_or(0) == 0 {
                return Ok(());
            }
        }
    }

    async fn iterator(&mut self, stream: &str, shard: &str, last: Option<&str>) -> Result<String, SimError> {
        let mut asked =
            json!({ "StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
        if let Some(last) = last {
            asked["ShardIteratorType"] = json!("AFTER_SEQUENCE_NUMBER");
            asked["StartingSequenceNumber"] = json!(last);
        }
        let answer = self.call("GetShardIterator", &asked).await?;
        let iterator = answer["ShardIterator"].as_str().map(str::to_owned);
        iterator.ok_or_else(|| wrong("GetShardIterator", "no iterator"))
    }

    async fn find_shards(&mut self) -> Result<(), SimError> {
        let streams = self.list("ListStreams", json!({}), "StreamNames", "ExclusiveStartStreamName").await?;
        let streams: BTreeSet<&str> = streams.iter().filter_map(Value::as_str).collect();
        // Nothing of ours is in a stream that was deleted, and reading on there would fail for ever.
        self.cursors.retain(|(stream, _), _| streams.contains(stream.as_str()));
        for stream in streams {
            for shard in self.list_shards(stream).await? {
                self.cursors.entry((stream.to_owned(), shard)).or_default();
            }
        }
        Ok(())
    }

    async fn list(
        &mut self,
        action: &str,
        asked: Value,
        list: &str,
        after: &str,
    ) -> Result<Vec<Value>, SimError> {
        let (mut found, mut asked) = (Vec::new(), asked);
        loop {
            let answer = self.call(action, &asked).await?;
            found.extend(answer[list].as_array().into_iter().flatten().cloned());
            match (answer["HasMoreStreams"].as_bool(), found.last()) {
                (Some(true), Some(last)) => asked[after] = last.clone(),
                _ => return Ok(found),
            }
        }
    }

    async fn list_shards(&mut self, stream: &str) -> Result<Vec<String>, SimError> {
        let (mut found, mut asked) = (Vec::new(), json!({ "StreamName": stream }));
        loop {
            let answer = match self.call("ListShards", &asked).await {
                Ok(answer) => answer,
                // Deleted since it was listed: nothing of ours is in it.
                Err(SimError::Kinesis(text)) if text.contains("ResourceNotFound") => return Ok(found),
                Err(error) => return Err(error),
            };
            let shards = answer["Shards"].as_array().map_or(&[][..], Vec::as_slice);
            found.extend(shards.iter().filter_map(|shard| shard["ShardId"].as_str().map(str::to_owned)));
            match answer["NextToken"].as_str() {
                Some(token) => asked = json!({ "NextToken": token }),
                None => return Ok(found),
            }
        }
    }

    /// One call, JSON 1.1 in and out, on the connection that is there or a new one.
    async fn call(&mut self, action: &str, asked: &Value) -> Result<Value, SimError> {
        let limit = Duration::from_millis(CALL_TIMEOUT_MS);
        let answered = match timeout(limit, self.exchange(action, asked)).await {
            Ok(answered) => answered,
            Err(_) => Err(wrong(action, "no answer in time")),
        };
        if answered.is_err() {
            self.connection = None;
        }
        answered
    }

    async fn exchange(&mut self, action: &str, asked: &Value) -> Result<Value, SimError> {
        let io = |error: &dyn std::fmt::Display| wrong(action, error);
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => {
                let stream = TcpStream::connect(self.addr).await.map_err(|error| io(&error))?;
                let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(|error| io(&error))?;
                tokio::spawn(async move {
                    if let Err(error) = driver.await {
                        tracing::debug!(%error, "connection to the Kinesis API ended");
                    }
                });
                sender
            }
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri("/")
            .header("Host", self.addr.to_string())
            .header("Content-Type", "application/x-amz-json-1.1")
            .header("X-Amz-Target", format!("Kinesis_20131202.{action}"))
            .header("X-Amz-Date", "20260101T000000Z")
            .header("Authorization", AUTHORIZATION)
            .body(Full::new(Bytes::from(asked.to_string())))
            .map_err(|error| io(&error))?;
        connection.ready().await.map_err(|error| io(&error))?;
        let response = connection.send_request(request).await.map_err(|error| io(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| io(&error))?.to_bytes();
        self.connection = Some(connection);
        if !status.is_success() {
            return Err(wrong(action, format_args!("{status}: {}", String::from_utf8_lossy(&body))));
        }
        serde_json::from_slice(&body).map_err(|error| io(&error))
    }
}

fn wrong(action: &str, error: impl std::fmt::Display) -> SimError {
    SimError::Kinesis(format!("{action}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers slowly: one stream, one shard, a new page of one record for each iterator up to `pages`.
    async fn serve(listener: TcpListener, pages: usize) {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                let mut chunk = [0; 4096];
                while let Ok(count @ 1..) = socket.read(&mut chunk).await {
                    request.extend_from_slice(&chunk[..count]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    // Bodies are one JSON object, so the last brace ends the request.
                    if !text.ends_with('}') {
                        continue;
                    }
                    request.clear();
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    let body = answer(&text, pages).to_string();
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    if socket.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    fn answer(request: &str, pages: usize) -> Value {
        let asked: Value = serde_json::from_str(&request[request.find('{').unwrap()..]).unwrap();
        let said = |action: &str| request.contains(&format!("_20131202.{action}\r\n"));
        let number = |key: &str| asked[key].as_str().map(|text| text.parse::<usize>().unwrap());
        match () {
            () if said("ListStreams") => json!({ "StreamNames": ["s"], "HasMoreStreams": false }),
            () if said("ListShards") => json!({ "Shards": [{ "ShardId": "shard" }] }),
            () if said("GetShardIterator") => {
                let next = number("StartingSequenceNumber").map_or(0, |last| last + 1);
                json!({ "ShardIterator": next.to_string() })
            }
            () => {
                let at = number("ShardIterator").unwrap();
                let record = json!({ "SequenceNumber": at.to_string(), "Data": STANDARD.encode_to_string(at.to_string()) });
                let records = if at < pages { vec![record] } else { vec![] };
                let next = (at + records.len()).to_string();
                json!({ "Records": records, "NextShardIterator": next, "MillisBehindLatest": pages - at.min(pages) })
            }
        }
    }

    #[tokio::test]
    async fn a_read_that_is_dropped_anywhere_gives_nothing_twice_and_leaves_nothing_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut shards = Shards::new(listener.local_addr().unwrap());
        tokio::spawn(serve(listener, 40));
        let mut found = Vec::new();
        for dropped_after_ms in 1..40 {
            let read = shards.read_on(|data| found.push(String::from_utf8_lossy(data).into_owned()));
            // Whether it ends or is dropped is the point of neither.
            let _ = timeout(Duration::from_millis(dropped_after_ms), read).await;
        }
        shards.read_on(|data| found.push(String::from_utf8_lossy(data).into_owned())).await.unwrap();
        assert_eq!(found, (0..40).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}
