//! Authority, gateway and clients get new certificates a hundred times, under full load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use system_tests::gateway::Gateway;
use system_tests::kinesis::get;
use system_tests::{ports, wait_until};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::packets::{connect, publish, receive};
use crate::secrets::{Authority, Files, GATEWAY, Identity};

/// Generations of authority, gateway and visitor.
const ROUNDS: u64 = 100;

/// A set of files that is broken comes with every so many.
const BROKEN_EVERY: u64 = 5;

/// Clients that stay connected through all of it, and publishes of each on their way at once.
const PUBLISHERS: usize = 4;
const WINDOW: u16 = 20;

/// Longest wait for anything, on a machine that does a lot beside.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who comes anew with every generation.
const VISITOR: &str = "visitor";

#[test]
fn certificates_change_a_hundred_times_under_load_and_nothing_is_lost_or_disconnected() {
    let directory = tempfile::tempdir().unwrap();
    let (files, tls) =
        (Files::new(directory.path()), SocketAddr::from(([127, 0, 0, 1], ports::free().port())));
    let mut authority = Authority::make();
    files.trust(&[&authority]);
    files.serve(&authority.sign(GATEWAY));
    let mut gateway = Gateway::start(directory.path(), &files.config(tls));
    let load = Load::start(tls, &authority);
    let mut visitor = Visitor { identity: authority.sign(VISITOR), tls, published: Vec::new() };
    visitor.visit(&[&authority]).unwrap();

    let began = Instant::now();
    let mut reloads = Reloads { applied: 0, refused: 0, gateway: &gateway };
    for round in 0..ROUNDS {
        let next = Authority::make();
        // Even ones tell the gateway; in odd ones it sees for itself at the next handshake.
        let told = round % 2 == 0;
        files.trust(&[&authority, &next]);
        reloads.apply(told);
        visitor.visit(&[&authority]).expect("nothing that counted has ended");
        let serves = next.sign(GATEWAY);
        files.serve(&serves);
        reloads.apply(told);
        // Still its old certificate: the overlap.
        visitor.visit(&[&next]).expect("the old certificate is good, and the gateway has its new one");
        visitor.visit(&[&authority]).expect_err("the gateway has its new one and no other");
        let former = std::mem::replace(&mut visitor.identity, next.sign(VISITOR));
        visitor.visit(&[&next]).expect("the new certificate is good");
        files.trust(&[&next]);
        reloads.apply(told);
        visitor.visit(&[&next]).expect("the new certificate stays good");
        let new = std::mem::replace(&mut visitor.identity, former);
        visitor.visit(&[&next]).expect_err("the overlap is over");
        visitor.identity = new;
        if round % BROKEN_EVERY == 0 {
            break_and_mend(&files, &mut reloads, &mut visitor, &next, &serves);
        }
        authority = next;
    }
    let took = began.elapsed();
    let (applied, refused) = (reloads.applied, reloads.refused);
    let acked = load.stop();
    check(&mut gateway, &acked, &visitor.published);
    println!(
        "{ROUNDS} generations in {:.1} s: {applied} reloads, {refused} of what was broken were refused; {} publishes of {PUBLISHERS} clients \
         that stayed, {} of visitors, all there",
        took.as_secs_f64(),
        acked.iter().sum::<u64>(),
        visitor.published.len()
    );
}

/// A key of another certificate, half a certificate, half a list of authorities: each is refused, and what was there serves on.
fn break_and_mend(
    files: &Files,
    reloads: &mut Reloads<'_>,
    visitor: &mut Visitor,
    now: &Authority,
    serves: &Identity,
) {
    let half = |text: &str| text[..text.len() / 2].to_owned();
    for (name, good, bad) in [
        ("server.key.pem", &serves.key, now.sign(GATEWAY).key),
        ("server.pem", &serves.certificate, half(&serves.certificate)),
        ("clients.pem", &now.pem, half(&now.pem)),
    ] {
        files.put(name, &bad);
        reloads.refuse();
        visitor.visit(&[now]).expect("the former set serves on");
        files.put(name, good);
    }
    reloads.apply(true);
    visitor.visit(&[now]).expect("what was mended serves");
}

/// Hangs up on a gateway and sees what it made of it.
struct Reloads<'a> {
    applied: u64,
    refused: u64,
    gateway: &'a Gateway,
}

impl Reloads<'_> {
    fn apply(&mut self, told: bool) {
        if told {
            self.applied += 1;
            self.hang_up();
        }
    }

    fn refuse(&mut self) {
        self.refused += 1;
        self.hang_up();
    }

    fn hang_up(&self) {
        self.gateway.hang_up();
        let mut said = Value::Null;
        let done = wait_until(PATIENCE, || {
            let (_, health) = get(self.gateway.http, "/health").unwrap();
            said = serde_json::from_str::<Value>(&health).unwrap()["configuration"].take();
            let counts = (said["applied"].as_u64().unwrap(), said["refused"].as_u64().unwrap());
            counts == (self.applied, self.refused)
        });
        assert!(done, "{} applied and {} refused are expected: {said}", self.applied, self.refused);
    }
}

/// A device that connects, publishes one record and goes.
struct Visitor {
    identity: Identity,
    tls: SocketAddr,
    published: Vec<String>,
}

impl Visitor {
    fn visit(&mut self, trusts: &[&Authority]) -> std::io::Result<()> {
        let payload = format!("{VISITOR} {}", self.published.len());
        let config = self.identity.client(trusts);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let visit = async {
            let mut stream = open(self.tls, config, VISITOR).await?;
            stream.write_all(&publish(&topic(VISITOR), 1, payload.as_bytes())).await?;
            stream.flush().await?;
            let (first, body) = receive(&mut stream).await?;
            assert_eq!((first, &body[..2], body.get(2).unwrap_or(&0)), (0x40, &[0, 1][..], &0), "stored");
            Ok::<_, std::io::Error>(())
        };
        runtime.block_on(async { timeout(PATIENCE, visit).await.expect("an answer in time") })?;
        self.published.push(payload);
        Ok(())
    }
}

fn topic(client: &str) -> String {
    format!("headwater/{client}/load")
}

/// TLS, then CONNECT.
async fn open(
    tls: SocketAddr,
    config: Arc<ClientConfig>,
    client: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(tls).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(GATEWAY).unwrap();
    let mut stream = TlsConnector::from(config).connect(name, stream).await?;
    stream.write_all(&connect(client)).await?;
    stream.flush().await?;
    let (first, body) = receive(&mut stream).await?;
    assert_eq!((first, body[1]), (0x20, 0), "a certificate that is good for TLS is good for its device");
    Ok(stream)
}

/// Clients that came with the first certificates, stay, and publish as fast as they are acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<u64>>,
}

impl Load {
    fn start(tls: SocketAddr, authority: &Authority) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let publishers = (0..PUBLISHERS)
            .map(|number| {
                let (name, stop) = (publisher(number), Arc::clone(&stop));
                let config = authority.sign(&name).client(&[authority]);
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime
                        .block_on(publish_until(tls, config, &name, &stop))
                        .expect("nobody is disconnected")
                })
            })
            .collect();
        Self { stop, publishers }
    }

    /// How many publishes of each were acknowledged.
    fn stop(self) -> Vec<u64> {
        self.stop.store(true, Ordering::SeqCst);
        self.publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect()
    }
}

fn publisher(number: usize) -> String {
    format!("publisher-{number}")
}

async fn publish_until(
    tls: SocketAddr,
    config: Arc<ClientConfig>,
    name: &str,
    stop: &AtomicBool,
) -> std::io::Result<u64> {
    let (reader, mut writer) = tokio::io::split(open(tls, config, name).await?);
    let (mut reader, topic, mut acked) = (BufReader::new(reader), topic(name), 0);
    while !stop.load(Ordering::SeqCst) {
        let packets = (1..=WINDOW)
            .map(|id| publish(&topic, id, format!("{name} {}", acked + u64::from(id) - 1).as_bytes()));
        writer.write_all(&packets.collect::<Vec<_>>().concat()).await?;
        writer.flush().await?;
        for id in 1..=WINDOW {
            let (first, body) = timeout(PATIENCE, receive(&mut reader)).await??;
            let [high, low] = id.to_be_bytes();
            assert_eq!(
                (first, &body[..2], body.get(2).unwrap_or(&0)),
                (0x40, &[high, low][..], &0),
                "stored"
            );
            acked += 1;
        }
    }
    Ok(acked)
}

/// Each publish that was acknowledged is there, once and in order; nobody came twice, so there is nothing else.
fn check(gateway: &mut Gateway, acked: &[u64], visits: &[String]) {
    let records = gateway.kinesis().read_all("telemetry");
    let of = |name: &str| -> Vec<String> {
        let records = records.iter().filter(|record| record.key == name);
        records.map(|record| String::from_utf8(record.data.clone()).unwrap()).collect()
    };
    for (number, &acked) in acked.iter().enumerate() {
        let (name, found) = (publisher(number), of(&publisher(number)));
        assert!(acked > ROUNDS, "{name} had {acked} publishes acknowledged in all that time");
        assert!(found.len() as u64 == acked, "{name}: {} are there of {acked}", found.len());
        let wrong = found.iter().enumerate().find(|(at, payload)| **payload != format!("{name} {at}"));
        assert_eq!(wrong, None);
    }
    assert_eq!(of(VISITOR), visits);
    gateway.stop();
}
