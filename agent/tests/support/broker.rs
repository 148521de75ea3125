//! A small MQTT 5 broker of rumqttc's codec: takes publishes, answers as it is told, forgets everything else.

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, ConnectReturnCode, Filter, Packet, PingResp, PubAck, PubAckReason, Publish,
    SubAck, SubscribeReasonCode, UnsubAck, UnsubAckReason,
};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What becomes of a publish: its topic and payload in, the reason of the PUBACK out.
pub(crate) type Judge = Box<dyn FnMut(&str, &[u8]) -> PubAckReason + Send>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) connection: usize,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) retain: bool,
    pub(crate) reason: Option<PubAckReason>,
}

#[derive(Clone)]
pub(crate) struct Broker {
    pub(crate) addr: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    seen: Vec<Seen>,
    connections: usize,
    /// Connections up to this number are to be closed.
    cut_through: usize,
    is_holding: bool,
    is_refusing: bool,
    is_full: bool,
    subscribes: usize,
    receive_max: u16,
    in_flight_peak: usize,
    login: Option<(String, String)>,
    judge: Judge,
    subscribed: BTreeSet<String>,
    /// Topic and payload, for the newest connection.
    outgoing: VecDeque<(String, Vec<u8>)>,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().expect("an address")).await
    }

    pub(crate) async fn start_on(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.expect("the broker binds");
        let addr = listener.local_addr().expect("it is bound");
        let state = State {
            seen: Vec::new(),
            connections: 0,
            cut_through: 0,
            is_holding: false,
            is_refusing: false,
            is_full: false,
            subscribes: 0,
            receive_max: 100,
            in_flight_peak: 0,
            login: None,
            judge: Box::new(|_, _| PubAckReason::Success),
            subscribed: BTreeSet::new(),
            outgoing: VecDeque::new(),
        };
        let inner = Arc::new(Inner { state: Mutex::new(state), changed: Notify::new() });
        let broker = Self { addr, inner };
        let serving = broker.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                let broker = serving.clone();
                tokio::spawn(async move { broker.serve(stream).await });
            }
        });
        broker
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().expect("no test panics while it holds this")
    }

    /// Takes batches but does not answer them, nor what follows them, until released.
    pub(crate) fn hold(&self) {
        self.lock().is_holding = true;
    }

    pub(crate) fn release(&self) {
        self.lock().is_holding = false;
        self.inner.changed.notify_waiters();
    }

    /// Closes every connection there is, without a word.
    pub(crate) fn cut(&self) {
        let mut state = self.lock();
        state.cut_through = state.connections;
        drop(state);
        self.inner.changed.notify_waiters();
    }

    /// Closes new connections before CONNACK.
    pub(crate) fn refuse(&self, is_refusing: bool) {
        self.lock().is_refusing = is_refusing;
    }

    /// Has no place for subscriptions.
    pub(crate) fn fill(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// SUBSCRIBE packets there were.
    pub(crate) fn subscribes(&self) -> usize {
        self.lock().subscribes
    }

    pub(crate) fn set_receive_max(&self, receive_max: u16) {
        self.lock().receive_max = receive_max;
    }

    pub(crate) fn judge(&self, judge: impl FnMut(&str, &[u8]) -> PubAckReason + Send + 'static) {
        self.lock().judge = Box::new(judge);
    }

    /// What the newest connection asked for.
    pub(crate) fn subscribed(&self) -> BTreeSet<String> {
        self.lock().subscribed.clone()
    }

    /// Publishes to the newest connection, whatever it asked for.
    pub(crate) fn publish(&self, topic: &str, payload: &[u8]) {
        self.lock().outgoing.push_back((topic.to_owned(), payload.to_vec()));
        self.inner.changed.notify_waiters();
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.lock().connections
    }

    /// Publishes of connections that are not cut, not answered yet.
    pub(crate) fn in_flight(&self) -> usize {
        let state = self.lock();
        let is_open = |seen: &&Seen| seen.connection > state.cut_through && seen.reason.is_none();
        state.seen.iter().filter(is_open).count()
    }

    pub(crate) fn in_flight_peak(&self) -> usize {
        self.lock().in_flight_peak
    }

    pub(crate) fn login(&self) -> Option<(String, String)> {
        self.lock().login.clone()
    }

    async fn serve(&self, mut stream: TcpStream) {
        let (connection, is_refusing) = {
            let mut state = self.lock();
            if !state.is_refusing {
                state.connections += 1;
                state.subscribed.clear();
            }
            (state.connections, state.is_refusing)
        };
        if is_refusing {
            return;
        }
        let mut incoming = BytesMut::new();
        let mut waiting: VecDeque<(u16, usize)> = VecDeque::new();
        loop {
            let Some(out) = self.answers(connection, &mut waiting) else { return };
            if !out.is_empty() && stream.write_all(&out).await.is_err() {
                return;
            }
            let changed = self.inner.changed.notified();
            tokio::select! {
                read = stream.read_buf(&mut incoming) => if !matches!(read, Ok(1..)) { return },
                () = changed => continue,
                // A change between the look above and the wait is not missed for long.
                () = tokio::time::sleep(std::time::Duration::from_millis(20)) => continue,
            }
            while let Ok(packet) = Packet::read(&mut incoming, None) {
                let Some(out) = self.answer(packet, connection, &mut waiting) else { return };
                if !out.is_empty() && stream.write_all(&out).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Broker {
    /// What is answered at once; none ends the connection.
    fn answer(
        &self,
        packet: Packet,
        connection: usize,
        waiting: &mut VecDeque<(u16, usize)>,
    ) -> Option<BytesMut> {
        let mut out = BytesMut::new();
        match packet {
            Packet::Connect(_, _, login) => {
                let mut state = self.lock();
                state.login = login.map(|login| (login.username, login.password));
                let properties =
                    ConnAckProperties { receive_max: Some(state.receive_max), ..no_properties() };
                let code = ConnectReturnCode::Success;
                let connack = ConnAck { session_present: false, code, properties: Some(properties) };
                Packet::ConnAck(connack).write(&mut out, None).expect("a connack is written");
            }
            Packet::Publish(publish) => {
                let mut state = self.lock();
                let topic = String::from_utf8(publish.topic.to_vec()).expect("topics are UTF-8");
                let payload = publish.payload.to_vec();
                let retain = publish.retain;
                state.seen.push(Seen { connection, topic, payload, retain, reason: None });
                waiting.push_back((publish.pkid, state.seen.len() - 1));
                state.in_flight_peak = state.in_flight_peak.max(waiting.len());
            }
            Packet::PingReq(_) => {
                Packet::PingResp(PingResp).write(&mut out, None).expect("a pong is written");
            }
            Packet::Subscribe(subscribe) => {
                let mut state = self.lock();
                state.subscribes += 1;
                let is_full = state.is_full;
                if !is_full {
                    let paths = subscribe.filters.iter().map(|filter| filter.path.clone());
                    state.subscribed.extend(paths);
                }
                let code = |filter: &Filter| match is_full {
                    true => SubscribeReasonCode::QuotaExceeded,
                    false => SubscribeReasonCode::Success(filter.qos),
                };
                let return_codes = subscribe.filters.iter().map(code).collect();
                let suback = SubAck { pkid: subscribe.pkid, return_codes, properties: None };
                Packet::SubAck(suback).write(&mut out, None).expect("a suback is written");
            }
            Packet::Unsubscribe(unsubscribe) => {
                let mut state = self.lock();
                state.subscribed.retain(|path| !unsubscribe.filters.contains(path));
                let reasons = vec![UnsubAckReason::Success; unsubscribe.filters.len()];
                let unsuback = UnsubAck { pkid: unsubscribe.pkid, reasons, properties: None };
                Packet::UnsubAck(unsuback).write(&mut out, None).expect("an unsuback is written");
            }
            // Of what was published to the agent.
            Packet::PubAck(_) => {}
            Packet::Disconnect(_) => return None,
            other => panic!("the agent sent {other:?}"),
        }
        Some(out)
    }

    /// The PUBACKs that may go out now; none when the connection is cut.
    fn answers(&self, connection: usize, waiting: &mut VecDeque<(u16, usize)>) -> Option<BytesMut> {
        let mut out = BytesMut::new();
        let mut state = self.lock();
        if state.cut_through >= connection {
            return None;
        }
        while connection == state.connections
            && let Some((topic, payload)) = state.outgoing.pop_front()
        {
            let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload, None);
            publish.pkid = 1;
            Packet::Publish(publish).write(&mut out, None).expect("a publish is written");
        }
        while let Some(&(packet_id, index)) = waiting.front() {
            if state.is_holding && state.seen[index].topic.ends_with("/batch") {
                break;
            }
            waiting.pop_front();
            let (topic, payload) = (state.seen[index].topic.clone(), state.seen[index].payload.clone());
            let reason = (state.judge)(&topic, &payload);
            state.seen[index].reason = Some(reason);
            let puback = PubAck { pkid: packet_id, reason, properties: None };
            Packet::PubAck(puback).write(&mut out, None).expect("an ack is written");
        }
        Some(out)
    }
}

fn no_properties() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}
