//! A thousand agents as a gateway sees them: one connection each, from an address of its own, a publish now and then.
//!
//! In: the gateway's address. Out: what was acknowledged to each, and what they heard when they were refused. Invariants: one publish is on
//! its way at a time and is sent again until it is acknowledged; waiting is `headwater-agent`'s own: its backoff, told the same events, with
//! the delays of its defaults. Not here: spools, and what devices say.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use headwater_relay::{Backoff, Delays};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::packets::{connect, publish, receive};

/// How often each publishes.
const EVERY: Duration = Duration::from_secs(4);

/// An answer that takes longer does not come.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);

/// All start within this time.
const START_WITHIN: Duration = Duration::from_secs(2);

/// What one agent knows.
#[derive(Debug, Default, Clone)]
pub(crate) struct Known {
    /// Payloads 0 to below this one are acknowledged.
    pub(crate) acked: u64,
    /// What CONNACKs said that refused it.
    pub(crate) refusals: Vec<u8>,
    /// How many failures in a row its backoff counted at the end of each session.
    pub(crate) failures_at_ends: Vec<u32>,
}

/// All of them, in a thread.
pub(crate) struct Agents {
    known: Arc<Vec<Mutex<Known>>>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Agents {
    pub(crate) fn start(gateway: SocketAddr, count: usize) -> Self {
        let known: Arc<Vec<Mutex<Known>>> = Arc::new((0..count).map(|_| Mutex::default()).collect());
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::clone(&known);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut agents = tokio::task::JoinSet::new();
                for number in 0..count {
                    agents.spawn(live(number, gateway, Arc::clone(&shared), stopped.clone()));
                }
                while let Some(ended) = agents.join_next().await {
                    ended.unwrap();
                }
            });
        });
        Self { known, stop, thread }
    }

    pub(crate) fn known(&self) -> Vec<Known> {
        self.known.iter().map(|known| known.lock().unwrap().clone()).collect()
    }

    /// What each knew when it stopped.
    pub(crate) fn stop(self) -> Vec<Known> {
        self.stop.send_replace(true);
        let Self { known, thread, .. } = self;
        thread.join().unwrap();
        known.iter().map(|known| known.lock().unwrap().clone()).collect()
    }
}

/// The name of an agent, which is its partition key as well.
pub(crate) fn name(number: usize) -> String {
    format!("agent-{number:04}")
}

async fn live(
    number: usize,
    gateway: SocketAddr,
    all: Arc<Vec<Mutex<Known>>>,
    mut stop: watch::Receiver<bool>,
) {
    let started = Instant::now();
    let now_ms = || u64::try_from(started.elapsed().as_millis()).unwrap();
    let known = &all[number];
    let mut backoff = Backoff::new(delays(), number as u64);
    let share = u32::try_from(number).unwrap();
    let count = u32::try_from(all.len()).unwrap();
    let mut due = started + START_WITHIN * share / count;
    sleep_until(due).await;
    loop {
        let session = async {
            let mut stream = open(number, gateway).await?;
            stream.write_all(&connect(&name(number))).await?;
            let (first, body) = timeout(ANSWER_PATIENCE, receive(&mut stream)).await??;
            assert_eq!(first, 0x20, "a CONNACK comes first");
            if body[1] != 0 {
                known.lock().unwrap().refusals.push(body[1]);
                return Err(std::io::ErrorKind::ConnectionRefused.into());
            }
            backoff.handle_connected(now_ms());
            let lost = serve(number, &mut stream, known, &mut due).await;
            known.lock().unwrap().failures_at_ends.push(0);
            lost
        };
        tokio::select! {
            ended = session => drop(ended),
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let (lost_ms, retry_at_ms) = (now_ms(), backoff.handle_lost(now_ms()));
        if let Some(last @ 0) = known.lock().unwrap().failures_at_ends.last_mut() {
            *last = backoff.attempt();
        }
        tokio::select! {
            () = sleep(Duration::from_millis(retry_at_ms.saturating_sub(lost_ms))) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Publishes until the connection ends.
async fn serve(
    number: usize,
    stream: &mut TcpStream,
    known: &Mutex<Known>,
    due: &mut Instant,
) -> std::io::Result<()> {
    let topic = format!("agents/{}", name(number));
    loop {
        let next = known.lock().unwrap().acked;
        tokio::select! {
            () = sleep_until(*due) => {}
            read = stream.read_u8() => panic!("{} is told something without asking: {:?}", name(number), read?),
        }
        stream.write_all(&publish(&topic, 1, format!("{} {next}", name(number)).as_bytes())).await?;
        let (first, body) = timeout(ANSWER_PATIENCE, receive(stream)).await??;
        assert_eq!((first, &body[..2], body.get(2).unwrap_or(&0)), (0x40, &[0, 1][..], &0), "stored");
        known.lock().unwrap().acked += 1;
        *due = Instant::now() + EVERY;
    }
}

/// From an address of its own, as machines have.
async fn open(number: usize, gateway: SocketAddr) -> std::io::Result<TcpStream> {
    let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 1, high, low), 0).into())?;
    let stream = timeout(ANSWER_PATIENCE, socket.connect(gateway)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The defaults of an agent.
fn delays() -> Delays {
    headwater_agent::Config::embedded(std::env::temp_dir(), ([127, 0, 0, 1], 1).into()).uplink.retry
}
