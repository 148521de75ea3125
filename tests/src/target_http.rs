//! A server of the Kinesis API behind somebody who breaks its PutRecords: what a forwarder meets in a bad week, on demand.
//!
//! In: HTTP/1.1 with a length, as our client sends it. Out: the same to the server, a connection a call, and its answers back.
//! Invariants: every other operation passes untouched; a fault counts only when it happened to a call.
//! Not here: what happens below HTTP ([`crate::proxy`]).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::chance::Chance;

/// A server that does not answer for so long fails its call; debug builds on a loaded machine need seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long [`Fault::Silence`] keeps a caller: longer than any timeout it should have.
const SILENCE: Duration = Duration::from_secs(5);

/// One record of so many is refused by [`Fault::Throttle`].
const REFUSED_ONE_OF: u64 = 3;

/// What becomes of PutRecords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Status 500, nothing is stored.
    Error,
    /// The connection ends, nothing is stored.
    Close,
    /// It is stored, and the connection ends without an answer.
    LoseAnswer,
    /// It is stored, and no answer comes until the caller has given up.
    Silence,
    /// Every third record, by chance, is refused as beyond the rate of its shard. Knows JSON only.
    Throttle,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Error, Self::Close, Self::LoseAnswer, Self::Silence, Self::Throttle];
}

/// A way to a server that can be told to break.
#[derive(Debug)]
pub struct FaultyTarget {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    fault: Mutex<Option<Fault>>,
    chance: Mutex<Chance>,
    struck: Mutex<BTreeMap<Fault, u64>>,
    kinds: Mutex<BTreeMap<String, u64>>,
    stop: AtomicBool,
}

/// A request or an answer.
struct Message {
    first: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics with this lock")
}

impl FaultyTarget {
    /// Listens on a free loopback port; breaks nothing until told to. `seed` picks the records that are refused.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(target: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            target,
            fault: Mutex::default(),
            chance: Mutex::new(Chance::new(seed)),
            struck: Mutex::default(),
            kinds: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let listener = std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                if theirs.stop.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&theirs);
                // A connection that is broken on purpose ends with an error.
                std::thread::spawn(move || drop(serve(caller, &shared)));
            }
        });
        Self { address, shared, listener: Some(listener) }
    }

    /// Where to connect instead of the server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What becomes of PutRecords from now on.
    ///
    /// # Panics
    /// Never, short of a poisoned lock.
    pub fn set(&self, fault: Option<Fault>) {
        *locked(&self.shared.fault) = fault;
    }

    /// How often each fault happened to a call. A fault that nobody met proves nothing.
    ///
    /// # Panics
    /// Never, short of a poisoned lock.
    #[must_use]
    pub fn struck(&self) -> BTreeMap<Fault, u64> {
        locked(&self.shared.struck).clone()
    }

    /// Content types of the PutRecords that came, and how many of each.
    ///
    /// # Panics
    /// Never, short of a poisoned lock.
    #[must_use]
    pub fn kinds(&self) -> BTreeMap<String, u64> {
        locked(&self.shared.kinds).clone()
    }
}

impl Drop for FaultyTarget {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the accept loop so that it sees the flag.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

/// One connection, call after call.
fn serve(caller: TcpStream, shared: &Shared) -> Result<()> {
    caller.set_nodelay(true)?;
    let mut caller = BufReader::new(caller);
    loop {
        let request = read(&mut caller)?;
        let answer = pass(&request, shared)?;
        caller.get_mut().write_all(&answer.bytes())?;
    }
}

/// The answer to one call; an error ends the connection.
fn pass(request: &Message, shared: &Shared) -> Result<Message> {
    let is_put = request.header("x-amz-target").is_some_and(|target| target.ends_with(".PutRecords"));
    if !is_put {
        return ask(shared.target, request);
    }
    let kind = request.header("content-type").unwrap_or_default().to_owned();
    *locked(&shared.kinds).entry(kind.clone()).or_default() += 1;
    let fault = *locked(&shared.fault);
    let Some(fault) = fault else { return ask(shared.target, request) };
    if fault == Fault::Throttle && !kind.ends_with("json-1.1") {
        return ask(shared.target, request);
    }
    let broken = || Error::new(ErrorKind::ConnectionAborted, "broken on purpose");
    let answer = match fault {
        Fault::Error => Ok(json_answer(
            "500 Internal Server Error",
            r#"{"__type":"InternalFailure","message":"by chance"}"#,
        )),
        Fault::Close => Err(broken()),
        Fault::LoseAnswer => ask(shared.target, request).and_then(|_| Err(broken())),
        Fault::Silence => {
            ask(shared.target, request)?;
            *locked(&shared.struck).entry(fault).or_default() += 1;
            std::thread::sleep(SILENCE);
            return Err(broken());
        }
        Fault::Throttle => throttle(request, shared),
    };
    *locked(&shared.struck).entry(fault).or_default() += 1;
    answer
}

/// Passes on most of the records, and answers for all of them.
fn throttle(request: &Message, shared: &Shared) -> Result<Message> {
    let mut asked: Value = serde_json::from_slice(&request.body)?;
    let records = asked["Records"].as_array().cloned().unwrap_or_default();
    let refused: Vec<bool> = {
        let mut chance = locked(&shared.chance);
        records.iter().map(|_| chance.between(1, REFUSED_ONE_OF) == 1).collect()
    };
    let passed: Vec<Value> = records
        .iter()
        .zip(&refused)
        .filter(|(_, refused)| !**refused)
        .map(|(record, _)| record.clone())
        .collect();
    let (mut answer, mut stored) = (json_answer("200 OK", ""), Vec::new());
    if !passed.is_empty() {
        asked["Records"] = passed.into();
        answer = ask(shared.target, &request.with_body(asked.to_string().into_bytes()))?;
        if !answer.first.contains(" 200 ") {
            return Ok(answer);
        }
        let body: Value = serde_json::from_slice(&answer.body)?;
        stored = body["Records"].as_array().cloned().unwrap_or_default();
    }
    let mut stored = stored.into_iter();
    let too_much =
        json!({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"});
    let outcome =
        |refused: &bool| if *refused { too_much.clone() } else { stored.next().unwrap_or_default() };
    let all: Vec<Value> = refused.iter().map(outcome).collect();
    let failed = all.iter().filter(|record| record["ErrorCode"].is_string()).count();
    let body = json!({ "FailedRecordCount": failed, "Records": all });
    Ok(answer.with_body(body.to_string().into_bytes()))
}

/// An answer in JSON.
fn json_answer(status: &str, body: &str) -> Message {
    let headers = vec![("content-type".to_owned(), "application/x-amz-json-1.1".to_owned())];
    Message { first: format!("HTTP/1.1 {status}"), headers, body: body.as_bytes().to_vec() }
}

/// One call over a connection of its own.
fn ask(target: SocketAddr, request: &Message) -> Result<Message> {
    let mut connection = TcpStream::connect_timeout(&target, PATIENCE)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(&request.bytes())?;
    read(&mut BufReader::new(connection))
}

fn read(from: &mut BufReader<TcpStream>) -> Result<Message> {
    let mut line = String::new();
    let bad = |line: &str| Error::new(ErrorKind::InvalidData, format!("not HTTP with a length: {line:?}"));
    from.read_line(&mut line)?;
    let first = line.trim_end().to_owned();
    if first.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let mut headers = Vec::new();
    loop {
        line.clear();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut message = Message { first, headers, body: Vec::new() };
    let length = message.header("content-length").unwrap_or("0");
    if message.header("transfer-encoding").is_some() {
        return Err(bad("transfer-encoding"));
    }
    message.body = vec![0; length.parse().map_err(|_| bad(length))?];
    from.read_exact(&mut message.body)?;
    Ok(message)
}

impl Message {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    /// The checksum of another body says nothing of this one.
    fn with_body(&self, body: Vec<u8>) -> Self {
        let headers = self.headers.iter().filter(|(name, _)| name != "x-amz-crc32").cloned().collect();
        Self { first: self.first.clone(), headers, body }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.first).into_bytes();
        let own = ["content-length", "connection"];
        for (name, value) in self.headers.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", self.body.len()).as_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::Kinesis;

    /// A server that answers every call with all records stored, and says how many came.
    fn server() -> (SocketAddr, Arc<Mutex<usize>>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (address, stored) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(0)));
        let count = Arc::clone(&stored);
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let mut caller = BufReader::new(caller);
                let asked: Value = serde_json::from_slice(&read(&mut caller).unwrap().body).unwrap();
                let records = asked["Records"].as_array().map_or(0, Vec::len);
                *locked(&count) += records;
                let outcomes = vec![json!({ "SequenceNumber": "1" }); records];
                let body = json!({ "FailedRecordCount": 0, "Records": outcomes }).to_string();
                caller.get_mut().write_all(&json_answer("200 OK", &body).bytes()).unwrap();
            }
        });
        (address, stored)
    }

    #[test]
    fn each_fault_does_what_it_says_and_is_counted() {
        let (address, stored) = server();
        let target = FaultyTarget::start(address, 1);
        let mut kinesis = Kinesis::new(target.address());
        let ten = json!({ "Records": vec![json!({ "Data": "" }); 10] });
        let taken = |kinesis: &mut Kinesis, fault| {
            target.set(fault);
            let before = *locked(&stored);
            let answer = kinesis.call("PutRecords", &ten);
            (answer, *locked(&stored) - before)
        };
        assert_eq!(taken(&mut kinesis, None).1, 10);
        let (answer, count) = taken(&mut kinesis, Some(Fault::Error));
        assert_eq!((answer.unwrap().status, count), (500, 0));
        let (answer, count) = taken(&mut kinesis, Some(Fault::Close));
        assert_eq!((answer.is_err(), count), (true, 0));
        let (answer, count) = taken(&mut kinesis, Some(Fault::LoseAnswer));
        assert_eq!((answer.is_err(), count), (true, 10));
        let (answer, count) = taken(&mut kinesis, Some(Fault::Throttle));
        let failed = answer.unwrap().body["FailedRecordCount"].as_u64().unwrap();
        assert!(failed > 0 && failed < 10, "{failed}");
        assert_eq!(u64::try_from(count).unwrap() + failed, 10);
        assert!(
            Fault::ALL
                .iter()
                .filter(|fault| **fault != Fault::Silence)
                .all(|fault| target.struck()[fault] == 1)
        );
        assert_eq!(target.kinds()["application/x-amz-json-1.1"], 5);
    }
}
