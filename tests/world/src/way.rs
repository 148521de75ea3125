//! The way from the gateway to its target: connections in memory that are slow, break, lie and fall silent.
//!
//! In: connections of the gateway's client, the weather. Out: requests at the target's own HTTP face, and its answers, or what the weather
//! makes of them. Requests are told apart by their `content-length`; a client has one under way a connection.
//! The target has an address for each sink, each with a weather of its own, and there may be records that an address never takes
//! ([`poison`]). Not here: what the target itself does wrong (throttling, power cuts).

pub(crate) mod poison;

use crate::chance::Chance;
use crate::trace::Digest;
use headwater_aws::{Connecting, Transport};
use headwater_engine::Connections;
use poison::Refusal;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::Handle;

/// Bytes that are on the way at once.
const WAY_BYTES: usize = 256 << 10;

/// Addresses of the target: one for each sink.
pub(crate) const ADDRESSES: usize = 2;

/// What the way to an address does. Each number is one request in so many; 0 is none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    /// Nobody is there.
    pub(crate) is_away: bool,
    /// ms that a request and its answer take together, at most.
    pub(crate) slow_ms: u64,
    /// Done, and nobody hears of it.
    pub(crate) lose_answer: u64,
    /// The connection breaks before the target sees the request.
    pub(crate) reset: u64,
    /// 500, and nothing is done.
    pub(crate) error: u64,
    /// Nothing comes back, and nothing says so.
    pub(crate) silence: u64,
    /// The answer breaks off in the middle.
    pub(crate) cut_answer: u64,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    LoseAnswer,
    Reset,
    Error,
    Silence,
    CutAnswer,
}

/// Cheap to clone; clones are one way.
#[derive(Clone)]
pub(crate) struct Way(Arc<Mutex<State>>);

struct State {
    weather: [Weather; ADDRESSES],
    /// Which address has records that it never takes.
    has_poison: [bool; ADDRESSES],
    /// No faults any more.
    is_calm: bool,
    chance: Chance,
    /// The machine behind it, while it is up.
    behind: Option<(Handle, Connections)>,
    told: Vec<String>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Way")
    }
}

impl Way {
    pub(crate) fn new(chance: Chance, has_poison: [bool; ADDRESSES]) -> Self {
        Self(Arc::new(Mutex::new(State {
            weather: Default::default(),
            has_poison,
            is_calm: false,
            chance,
            behind: None,
            told: Vec::new(),
        })))
    }

    pub(crate) fn set(&self, address: usize, weather: Weather) {
        self.lock().weather[address] = weather;
    }

    pub(crate) fn weather(&self, address: usize) -> Weather {
        self.lock().weather[address]
    }

    /// From now on nothing new comes: [`poison`].
    pub(crate) fn calm(&self) {
        self.lock().is_calm = true;
    }

    /// Who serves from now on; none: nobody.
    pub(crate) fn lead_to(&self, behind: Option<(Handle, Connections)>) {
        self.lock().behind = behind;
    }

    /// What happened to requests since this was asked last.
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().told)
    }

    /// What the gateway's client connects with.
    pub(crate) fn transport(&self) -> Transport {
        let way = self.clone();
        Transport::new(move |uri| {
            let (way, address) = (way.clone(), address(uri.host().unwrap_or_default()));
            let connecting: Connecting = Box::pin(async move { way.connect(address).await });
            connecting
        })
    }

    async fn connect(&self, address: usize) -> io::Result<Box<dyn headwater_aws::Io>> {
        tokio::time::sleep(Duration::from_millis(self.delay(address))).await;
        let state = self.lock();
        let behind = state.behind.as_ref().filter(|_| !state.weather[address].is_away);
        let Some((host, connections)) = behind else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let (near, ours) = duplex(WAY_BYTES);
        let (theirs, far) = duplex(WAY_BYTES);
        let (connections, way) = (connections.clone(), self.clone());
        host.spawn(async move { connections.serve(far).await });
        host.spawn(async move {
            // An end of a connection, whichever.
            let _ = way.carry(address, ours, theirs).await;
        });
        Ok(Box::new(near))
    }

    async fn carry(&self, address: usize, mut near: DuplexStream, mut far: DuplexStream) -> io::Result<()> {
        loop {
            let request = read_message(&mut near).await?;
            let fate = self.fate(address, &request);
            tokio::time::sleep(Duration::from_millis(self.delay(address))).await;
            match fate {
                Fate::Reset => return Ok(()),
                Fate::Silence => {
                    // Until the client gives up.
                    let mut rest = Vec::new();
                    near.read_to_end(&mut rest).await?;
                    return Ok(());
                }
                Fate::Error => {
                    let answer = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}";
                    near.write_all(answer).await?;
                    continue;
                }
                Fate::Pass | Fate::LoseAnswer | Fate::CutAnswer => {}
            }
            let answer = match self.refuse(address, &request) {
                None => exchange(&mut far, &request).await?,
                Some(Refusal::All(answer)) => answer,
                Some(Refusal::Some(body, poisoned)) => {
                    poisoned.answer(exchange(&mut far, &poison::with_body(&request, &body)).await?)
                }
            };
            self.tell_answer(address, &answer);
            tokio::time::sleep(Duration::from_millis(self.delay(address))).await;
            match fate {
                Fate::LoseAnswer => return Ok(()),
                Fate::CutAnswer => return near.write_all(&answer[..answer.len() / 2]).await,
                _ if self.lock().weather[address].is_away => return Ok(()),
                _ => near.write_all(&answer).await?,
            }
        }
    }

    /// What an address that never takes some records makes of a request.
    fn refuse(&self, address: usize, request: &[u8]) -> Option<Refusal> {
        let (has_poison, is_calm) = {
            let state = self.lock();
            (state.has_poison[address], state.is_calm)
        };
        let is_put = header(request, "x-amz-target").is_some_and(|name| name.ends_with(".PutRecords"));
        if !(has_poison && is_put) {
            return None;
        }
        poison::refuse(&request[head_bytes(request)?..], is_calm)
    }

    fn delay(&self, address: usize) -> u64 {
        let mut state = self.lock();
        let most = state.weather[address].slow_ms / 2;
        1 + state.chance.below(most + 1)
    }

    fn fate(&self, address: usize, request: &[u8]) -> Fate {
        let mut state = self.lock();
        let weather = state.weather[address];
        let fates = [
            (weather.lose_answer, Fate::LoseAnswer),
            (weather.reset, Fate::Reset),
            (weather.error, Fate::Error),
            (weather.silence, Fate::Silence),
            (weather.cut_answer, Fate::CutAnswer),
        ];
        let chance = &mut state.chance;
        let drawn = fates.into_iter().find(|(times, _)| chance.one_in(*times));
        let fate = drawn.map_or(Fate::Pass, |(_, fate)| fate);
        let name = header(request, "x-amz-target").unwrap_or_default();
        let name = name.rsplit('.').next().unwrap_or_default().to_owned();
        let body = request.len() - head_bytes(request).unwrap_or(0);
        let digest = Digest::of(request);
        state.told.push(format!("way {address}: {name} of {body} bytes, {digest:016x}: {fate:?}"));
        fate
    }

    fn tell_answer(&self, address: usize, answer: &[u8]) {
        let (bytes, digest) = (answer.len(), Digest::of(answer));
        self.lock().told.push(format!("way {address}: answer of {bytes} bytes, {digest:016x}"));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address of a host name: that of the first sink, or of the second.
fn address(host: &str) -> usize {
    usize::from(!host.starts_with("near"))
}

async fn exchange(far: &mut DuplexStream, request: &[u8]) -> io::Result<Vec<u8>> {
    far.write_all(request).await?;
    read_message(far).await
}

/// A whole request or answer.
async fn read_message(from: &mut DuplexStream) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        if let Some(head) = head_bytes(&message) {
            let body = header(&message, "content-length").and_then(|length| length.parse::<usize>().ok());
            if message.len() >= head + body.unwrap_or(0) {
                return Ok(message);
            }
        }
        if from.read_buf(&mut message).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn head_bytes(message: &[u8]) -> Option<usize> {
    message.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn header<'a>(message: &'a [u8], name: &str) -> Option<&'a str> {
    let head = std::str::from_utf8(&message[..head_bytes(message)?]).ok()?;
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
