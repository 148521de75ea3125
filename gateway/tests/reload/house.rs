//! A gateway with a file that changes, and clients that publish as fast as they are acknowledged.

use crate::far::read_all;
use crate::gateway_support::{PATIENCE, get};
use headwater::{Gateway, ReloadError, Reloaded, config};
use headwater_engine::StreamName;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::Value;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) struct House {
    dir: tempfile::TempDir,
    pub(crate) gateway: Gateway,
}

fn text(state: &std::path::Path, more: &str) -> String {
    format!(
        "[gateway]\nname = \"test\"\nstate = {state:?}\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[kinesis]\nlisten = \"127.0.0.1:0\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n[journal]\nsegment = \"8MiB\"\nmax = \"64MiB\"\nreserve = \"0B\"\n{more}"
    )
}

impl House {
    pub(crate) async fn start(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config::parse("h.toml", &text(dir.path(), more)).unwrap().config;
        Self { gateway: Gateway::start(&config).await.unwrap(), dir }
    }

    /// The file with `more` in it.
    pub(crate) fn text(&self, more: &str) -> String {
        text(self.dir.path(), more)
    }

    pub(crate) async fn reload(&self, more: &str) -> Result<Reloaded, ReloadError> {
        self.reload_text(&self.text(more)).await
    }

    pub(crate) async fn reload_text(&self, text: &str) -> Result<Reloaded, ReloadError> {
        let loaded = config::parse("h.toml", text).map_err(config::LoadError::from);
        timeout(PATIENCE, self.gateway.reload(loaded)).await.expect("a reload ends")
    }

    pub(crate) async fn publish(&self, topic: &str, payload: &str) {
        client(self.gateway.mqtt_addr(), "one", None).publish(topic, payload).await.unwrap();
    }

    pub(crate) async fn payloads(&self, stream: &str) -> Vec<String> {
        let records = read_all(self.gateway.engine(), stream).await;
        records.into_iter().map(|(_, data)| String::from_utf8(data).unwrap()).collect()
    }

    pub(crate) fn retention(&self, stream: &str) -> u32 {
        let stream = self.gateway.engine().stream(&StreamName::parse(stream).unwrap()).unwrap();
        stream.state().definition.retention_hours
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        get(self.gateway.http_addr(), path).await
    }

    pub(crate) async fn health(&self) -> Value {
        serde_json::from_str(&self.get("/health").await).unwrap()
    }
}

/// One client, which connects when it has something to do and does not connect again.
pub(crate) struct One {
    pub(crate) options: MqttOptions,
    open: Option<(AsyncClient, EventLoop)>,
}

pub(crate) fn client(addr: SocketAddr, id: &str, login: Option<(&str, &str)>) -> One {
    let mut options = MqttOptions::new(id, addr.ip().to_string(), addr.port());
    options.set_keep_alive(Duration::from_secs(30));
    if let Some((user, password)) = login {
        options.set_credentials(user, password);
    }
    One { options, open: None }
}

impl One {
    fn open(&mut self) -> &mut (AsyncClient, EventLoop) {
        self.open.get_or_insert_with(|| AsyncClient::new(self.options.clone(), 100))
    }

    async fn next(&mut self) -> Result<Event, rumqttc::ConnectionError> {
        timeout(PATIENCE, self.open().1.poll()).await.expect("something happens")
    }

    /// Publishes and waits for the acknowledgement; an error is a connection that ended.
    pub(crate) async fn publish(
        &mut self,
        topic: &str,
        payload: &str,
    ) -> Result<(), rumqttc::ConnectionError> {
        self.open().0.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
        while !matches!(self.next().await?, Event::Incoming(Packet::PubAck(_))) {}
        Ok(())
    }

    pub(crate) async fn subscribe(&mut self, filter: &str) {
        self.open().0.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        while !matches!(self.next().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    }

    /// The connection is gone without a goodbye.
    pub(crate) fn drop_connection(&mut self) {
        self.open = None;
    }

    pub(crate) async fn next_message(&mut self, qos: QoS) -> String {
        loop {
            if let Event::Incoming(Packet::Publish(publish)) = self.next().await.unwrap() {
                assert_eq!(publish.qos, qos);
                return String::from_utf8(publish.payload.to_vec()).unwrap();
            }
        }
    }
}

/// Waits until the gateway ends the connection.
pub(crate) async fn until_ended(client: &mut One) {
    while client.next().await.is_ok() {}
}

/// Clients that publish as fast as they are acknowledged.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

/// Publishes of one client on their way at once.
const WINDOW: usize = 50;

/// Topics of one client: a sink has one record of a key on its way at a time, and shall keep up.
const TOPICS: u64 = 25;

impl Load {
    pub(crate) fn start(addr: SocketAddr, topic: &str, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |n: usize| {
            let (topic, stop) = (format!("{topic}/{n}"), Arc::clone(&stop));
            tokio::spawn(publish_until(addr, format!("c{n}"), topic, stop))
        };
        let clients = (0..clients).map(start).collect();
        Self { stop, clients }
    }

    /// Every payload that was acknowledged.
    pub(crate) async fn stop(self) -> Vec<String> {
        self.stop.store(true, Relaxed);
        let mut acked = Vec::new();
        for client in self.clients {
            acked.extend(
                timeout(PATIENCE, client).await.expect("a client ends").expect("no connection ended"),
            );
        }
        acked
    }
}

/// Publishes payloads that are numbered by topic; each acknowledgement is for the oldest, as MQTT promises. A connection that ends is a panic.
async fn publish_until(addr: SocketAddr, id: String, topic: String, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut options = MqttOptions::new(&id, addr.ip().to_string(), addr.port());
    options.set_inflight(u16::try_from(2 * WINDOW).unwrap());
    let (client, mut events) = AsyncClient::new(options, WINDOW);
    let (mut under_way, mut acked, mut number) = (VecDeque::new(), Vec::new(), 0_u64);
    loop {
        let stops = stop.load(Relaxed);
        while !stops && under_way.len() < WINDOW {
            let (place, round) = (number % TOPICS, number / TOPICS);
            let payload = format!("{id}.{place}-{round}");
            client.try_publish(format!("{topic}/{place}"), QoS::AtLeastOnce, false, payload.clone()).unwrap();
            under_way.push_back(payload);
            number += 1;
        }
        if stops && under_way.is_empty() {
            return acked;
        }
        let event =
            timeout(PATIENCE, events.poll()).await.expect("something happens").expect("the connection holds");
        if let Event::Incoming(Packet::PubAck(_)) = event {
            acked.push(under_way.pop_front().expect("an acknowledgement of something"));
        }
    }
}
