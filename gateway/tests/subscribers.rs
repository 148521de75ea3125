//! A fleet of networked boards, each with a subscription for its commands and the time: as many as `mqtt.subscribers` allows, and the one
//! beyond. A program of its own, for it listens to everything that is logged.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod gateway_support;
mod mqtt_support;

use gateway_support::{PATIENCE, get};
use headwater::{Gateway, config};
use mqtt_support::{Client, connect};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// More than the default allows, and few enough for two ends of each connection in one process.
const BOARDS: usize = 1_100;
const QUOTA_EXCEEDED: u8 = 0x97;

/// Everything that is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines_with(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).lines().filter(|line| line.contains(text)).count()
    }
}

fn text(state: &Path, subscribers: usize) -> String {
    format!(
        "[gateway]\nstate = {state:?}\n[mqtt]\nlisten = \"127.0.0.1:0\"\nsubscribers = {subscribers}\n\
         [kinesis]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [journal]\nsegment = \"8MiB\"\nmax = \"64MiB\"\nreserve = \"0B\"\n"
    )
}

/// A board that is connected, and what it was told about its subscription.
fn board(addr: SocketAddr, number: usize) -> (Client, u8) {
    let mut client = Client::open(addr);
    client.send(&connect(5, &format!("board-{number}"), 2, 60, &[]));
    assert_eq!(client.packet()[3], 0);
    let code = client.subscribe5(&topic(number), 1);
    (client, code)
}

fn topic(number: usize) -> String {
    format!("headwater/board-{number}/command")
}

async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = get(gateway.http_addr(), "/metrics").await;
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_boards_are_subscribed_as_the_configuration_allows_and_the_one_beyond_is_told() {
    let files = getrlimit(Resource::Nofile);
    if files.current.is_some_and(|current| current < 4_096) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(4_096), ..files }).unwrap();
    }
    let log = Log::default();
    let (writer, dir) = (log.clone(), tempfile::tempdir().unwrap());
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let parsed = |subscribers| config::parse("h.toml", &text(dir.path(), subscribers));
    let gateway = Gateway::start(&parsed(BOARDS).unwrap().config).await.unwrap();
    let addr = gateway.mqtt_addr();

    let mut boards = Vec::with_capacity(BOARDS);
    for number in 0..BOARDS {
        let (client, code) = board(addr, number);
        assert_eq!(code, 1, "board {number}");
        boards.push(client);
    }
    let mut beyond: Vec<Client> = (0..3)
        .map(|more| {
            let (client, code) = board(addr, BOARDS + more);
            assert_eq!(code, QUOTA_EXCEEDED);
            client
        })
        .collect();
    assert_eq!(beyond[0].subscribe5(&topic(BOARDS), 1), QUOTA_EXCEEDED, "it may ask again on its connection");
    assert_eq!(metric(&gateway, "headwater_mqtt_subscribers_joined_total ").await, BOARDS as u64);
    assert_eq!(metric(&gateway, "headwater_mqtt_subscribers_refused_total ").await, 4);
    assert_eq!(metric(&gateway, "headwater_mqtt_refused_total{reason=\"quota_exceeded (0x97)\"}").await, 4);
    assert_eq!(log.lines_with("mqtt.subscribers"), 1, "four refusals, one line");
    // Each is reached on a topic of its own, and nobody's subscription was lost meanwhile.
    for number in [0, BOARDS / 2, BOARDS - 1] {
        gateway.downlink().publish(&topic(number), "now", false, 0).unwrap();
        assert!(boards[number].packet().ends_with(b"now"));
    }
    assert_eq!(metric(&gateway, "headwater_mqtt_bus_renewals_total ").await, 0);

    // A reload makes room, without a connection that ends.
    let reload = gateway.reload(parsed(BOARDS + 1).map_err(config::LoadError::from));
    let reloaded = tokio::time::timeout(PATIENCE, reload).await.unwrap().unwrap();
    assert_eq!(reloaded.changed, ["mqtt limits"]);
    assert_eq!(beyond[0].subscribe5(&topic(BOARDS), 1), 1);
    assert_eq!(beyond[1].subscribe5(&topic(BOARDS + 1), 1), QUOTA_EXCEEDED);
    gateway.downlink().publish(&topic(BOARDS), "now", false, 0).unwrap();
    assert!(beyond[0].packet().ends_with(b"now"));
    assert_eq!(log.lines_with("mqtt.subscribers"), 2, "it is another number now");
    assert_eq!(metric(&gateway, "headwater_mqtt_subscribers_left_total ").await, 0);
    gateway.stop().await;
}
