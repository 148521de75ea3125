//! One connection: a task that pumps bytes between a socket and its session.
//!
//! Not here: any decision about the protocol (`session`, `codec`), and how it began (`handshake`).

use super::budget::Held;
use super::codec::{self, Version};
use super::downlink::{Attachment, Delivery, Message, expires};
use super::handshake;
use super::limits::{DELIVERIES_QUEUED, READ_BYTES, READ_BYTES_PRESSED};
use super::reason::Reason;
use super::registry::{Away, Control, Told};
use super::server::{Inner, Pass};
use super::session::{self, Batch, End, Event, Session};
use super::socket::{LINGER, linger, read};
use crate::ingest::{Inbound, Ingest, IngestError};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// First pause when too much waits to become durable; doubles up to `BUSY_PAUSE_MAX`. A commit takes about this long.
const BUSY_PAUSE: Duration = Duration::from_micros(500);
/// Longest pause: what a spinning disk or a worn SD card needs for one flush.
const BUSY_PAUSE_MAX: Duration = Duration::from_millis(64);
/// Between two attempts while the disk is full. Space comes back when a segment is retired: seconds at best.
const FULL_PAUSE: Duration = Duration::from_millis(500);
/// A large packet that finds the budget used up looks again after this.
const BUDGET_PAUSE: Duration = Duration::from_millis(10);
/// What clients are told at the end.
const STOPS: &str = "the gateway stops";

/// Serves one connection from accept to close.
pub(super) async fn run<I: Ingest>(
    inner: Arc<Inner<I>>,
    mut stream: TcpStream,
    peer: SocketAddr,
    _pass: Pass<I>,
) {
    // Boxed, so that the memory of the handshake is not held while the connection lives.
    let opened = Box::pin(handshake::open(&inner, &mut stream, peer)).await;
    let Some((session, control, attachment, buffer)) = opened else { return };
    inner.shared.counters.clients_connected.add(1);
    tracing::debug!(client = %session.client.id, %peer, "client connected");
    let held = Held::new(inner.budget.clone());
    let mut connection =
        Connection { inner, stream, session, control, attachment, buffer, held, packet_began: None };
    let end = connection.drive().await;
    Box::pin(connection.finish(end)).await;
}

struct Connection<I: Ingest> {
    inner: Arc<Inner<I>>,
    stream: TcpStream,
    session: Session,
    control: Arc<Control>,
    attachment: Option<Box<Attachment>>,
    /// Read and not yet taken: usually nothing, or the beginning of a packet.
    buffer: Vec<u8>,
    held: Held,
    /// When the packet at the start of `buffer` began to arrive.
    packet_began: Option<Instant>,
}

impl<I: Ingest> Connection<I> {
    async fn drive(&mut self) -> End {
        loop {
            if let Err(end) = self.turn().await {
                return end;
            }
        }
    }

    /// Takes what is there, answers it, and waits for more.
    async fn turn(&mut self) -> Result<(), End> {
        if let Some(told) = self.control.told() {
            return Err(end_of(told));
        }
        self.take_input().await?;
        self.take_deliveries()?;
        self.transmit().await?;
        let limit = self.make_room().await?;
        self.wait(limit).await
    }

    async fn wait(&mut self, limit: usize) -> Result<(), End> {
        let limits = &self.inner.shared.limits;
        let packet = self.packet_began.map(|began| began + limits.packet_timeout);
        let deadline = [self.session.poll_timeout(), packet].into_iter().flatten().min();
        let wants_delivery = self.session.wants_delivery();
        tokio::select! {
            biased;
            count = read(&mut self.stream, &mut self.buffer, limit) => {
                let count = count.unwrap_or(0);
                if count == 0 {
                    return Err(End::Lost);
                }
                self.inner.shared.counters.bytes_read.add(count);
                self.held.set(self.held.bytes().max(self.buffer.len()));
                Ok(())
            }
            told = self.control.wait() => Err(end_of(told)),
            delivery = next_delivery(&mut self.attachment), if wants_delivery => {
                self.session.handle_delivery(delivery, Instant::now())
            }
            () = sleep_until(deadline) => {
                let now = Instant::now();
                if packet.is_some_and(|packet| now >= packet) {
                    return Err(End::Close(Reason::ProtocolError, "a packet did not arrive in time"));
                }
                self.session.handle_timeout(now)
            }
        }
    }

    /// Hands all complete packets to the session and waits until what they publish is durable.
    async fn take_input(&mut self) -> Result<(), End> {
        let packet_bytes = self.inner.shared.limits.packet_bytes as usize;
        let buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        let mut result = Ok(());
        while at < buffer.len() && result.is_ok() {
            let mut batch = Batch::default();
            let (taken, more) =
                parse(&mut self.session, &buffer[at..], &mut batch, packet_bytes, &mut result);
            at += taken;
            self.inner.shared.counters.tally(&batch.tally);
            self.take_events().await;
            if !batch.is_empty() {
                self.store(batch).await?;
            }
            if !more {
                break;
            }
            self.transmit().await?;
        }
        self.keep_rest(buffer, at);
        result
    }

    /// Keeps the beginning of a packet; gives everything else back.
    fn keep_rest(&mut self, mut buffer: Vec<u8>, at: usize) {
        if at == buffer.len() {
            self.packet_began = None;
            self.held.set(0);
            return;
        }
        if at > 0 || self.packet_began.is_none() {
            self.packet_began = Some(Instant::now());
        }
        if at > 0 {
            // A copy of the rest alone, so that a large buffer does not stay for a few bytes.
            buffer = buffer[at..].to_vec();
            self.held.set(buffer.len());
        }
        self.buffer = buffer;
    }

    /// Stages a batch, waits for its commit, and writes its acknowledgements.
    async fn store(&mut self, batch: Batch<'_>) -> Result<(), End> {
        if batch.publishes.is_empty() {
            self.session.handle_commit(&batch.into_acks(), &[]);
            return Ok(());
        }
        let client_id = self.session.client.id.clone();
        let inbound: Vec<Inbound<'_>> =
            batch.publishes.iter().map(|pending| pending.inbound(&client_id)).collect();
        let Some(ingested) = self.stage(&inbound, &batch).await? else {
            drop(inbound);
            self.inner.shared.counters.dropped_full.add(batch.tally.qos0());
            self.session.handle_full(&batch.into_acks());
            self.transmit().await?;
            // The socket is not read meanwhile: that is what slows the client down.
            self.pause(FULL_PAUSE).await?;
            // Whatever the client sent after what was refused must not be stored before it is sent again: a device's
            // entries would change their order. So the client starts over.
            return Err(End::Close(Reason::QuotaExceeded, "the disk is full"));
        };
        drop(inbound);
        if ingested.verdicts.len() != batch.publishes.len() {
            // A bug of ours; 3.1.1 has no acknowledgement that promises nothing.
            tracing::error!(
                publishes = batch.publishes.len(),
                verdicts = ingested.verdicts.len(),
                "verdicts are missing"
            );
            return Err(End::Close(Reason::UnspecifiedError, "internal error"));
        }
        let forwards = self.forwards(&batch, &ingested.downlink);
        let acks = batch.into_acks();
        if let Err(error) = ingested.commit.await {
            return Err(end_of_error(&error));
        }
        self.session.handle_commit(&acks, &ingested.verdicts);
        for message in forwards {
            // A full queue is counted there; the record itself is durable.
            let _ = self.inner.downlink.forward(message);
        }
        Ok(())
    }

    /// `None` when the disk is full and the client can be told so.
    async fn stage(
        &mut self,
        inbound: &[Inbound<'_>],
        batch: &Batch<'_>,
    ) -> Result<Option<crate::ingest::Ingested<I::Commit>>, End> {
        let began = Instant::now();
        let mut pause = BUSY_PAUSE;
        loop {
            let counters = &self.inner.shared.counters;
            let error = match self.inner.ingest.ingest(inbound) {
                Ok(ingested) => return Ok(Some(ingested)),
                Err(error) => error,
            };
            match error {
                IngestError::Failed(_) => return Err(end_of_error(&error)),
                IngestError::Full => {
                    counters.full_waits.add(1);
                    if self.session.version() == Version::V5 && batch.owes() {
                        return Ok(None);
                    }
                    self.pause(FULL_PAUSE).await?;
                }
                IngestError::Busy => {
                    counters.busy_waits.add(1);
                    self.pause(pause).await?;
                    pause = (pause * 2).min(BUSY_PAUSE_MAX);
                }
            }
            if began.elapsed() >= self.inner.shared.limits.stall_timeout {
                return Err(end_of_error(&error));
            }
        }
    }

    /// Copies of what subscribers shall get too, before the read buffer is gone.
    fn forwards(&self, batch: &Batch<'_>, downlink: &[bool]) -> Vec<Message> {
        if !downlink.contains(&true) {
            return Vec::new();
        }
        let now = Instant::now();
        let chosen = batch.publishes.iter().zip(downlink).filter(|(_, down)| **down);
        let message = |pending: &session::Pending<'_>| Message {
            topic: pending.topic().to_owned(),
            payload: bytes::Bytes::copy_from_slice(pending.payload),
            qos: pending.qos,
            retain: pending.retain,
            properties: pending.properties.as_deref().cloned().unwrap_or_default(),
            publisher: self.session.connection(),
            expires: expires(pending.properties.as_deref(), now),
        };
        chosen.map(|(pending, _)| message(pending)).collect()
    }

    /// Waits, but not when told to leave.
    async fn pause(&mut self, pause: Duration) -> Result<(), End> {
        let waited = tokio::time::timeout(pause, self.control.wait()).await;
        // We did not listen, so silence is not the client's.
        self.session.handle_stall(Instant::now());
        match waited {
            Ok(told) => Err(end_of(told)),
            Err(_) => Ok(()),
        }
    }

    /// Does on the bus what the session asks for.
    async fn take_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Unsubscribe(filter, tag) => {
                    if let Some(attachment) = &mut self.attachment {
                        attachment.unsubscribe(&filter, tag);
                    }
                }
                Event::Subscribe(request) => {
                    let taken = Box::pin(self.subscribe(&request)).await;
                    self.session.handle_subscribed(request, taken);
                }
            }
        }
    }

    async fn subscribe(&mut self, request: &session::SubscribeRequest) -> Result<(), Reason> {
        for (filter, tag) in request.wanted() {
            if self.attachment.is_none() {
                self.attachment = self.inner.downlink.attach();
            }
            let attachment = self.attachment.as_mut().ok_or(Reason::QuotaExceeded)?;
            attachment.subscribe(filter, tag).await?;
        }
        Ok(())
    }

    /// Retained messages that are owed, and deliveries that are there already, as far as there is room.
    fn take_deliveries(&mut self) -> Result<(), End> {
        let Some(attachment) = &mut self.attachment else { return Ok(()) };
        let now = Instant::now();
        while let Some(replay) = self.session.poll_replay() {
            let (page, more) =
                self.inner.downlink.retained_page(&replay.filter, replay.after.as_deref(), now);
            self.session.handle_replay(replay, page, more, now);
        }
        for _ in 0..DELIVERIES_QUEUED {
            if !self.session.wants_delivery() {
                break;
            }
            let Some(delivery) = attachment.try_recv() else { break };
            self.session.handle_delivery(delivery, now)?;
        }
        Ok(())
    }

    /// Writes what the session has to say.
    async fn transmit(&mut self) -> Result<(), End> {
        while !self.session.poll_transmit().is_empty() {
            match self.stream.try_write(self.session.poll_transmit()) {
                Ok(0) => return Err(End::Lost),
                Ok(count) => {
                    self.inner.shared.counters.bytes_written.add(count);
                    self.session.poll_transmit().drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(_) => return Err(End::Lost),
            }
        }
        self.session.shrink();
        Ok(())
    }

    async fn writable(&mut self) -> Result<(), End> {
        let patience = self.inner.shared.limits.write_timeout;
        tokio::select! {
            ready = tokio::time::timeout(patience, self.stream.writable()) => match ready {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(End::Lost),
            },
            told = self.control.wait() => Err(end_of(told)),
        }
    }

    /// How many bytes to read next. A packet larger than one read first gets the whole of its room.
    async fn make_room(&mut self) -> Result<usize, End> {
        let packet_bytes = self.inner.shared.limits.packet_bytes as usize;
        let total = match codec::frame(&self.buffer, packet_bytes) {
            Ok(Some(frame)) if frame.total > READ_BYTES => frame.total,
            _ => return Ok(if self.held.is_pressed() { READ_BYTES_PRESSED } else { READ_BYTES }),
        };
        let began = self.packet_began.unwrap_or_else(Instant::now);
        while !self.held.try_reserve(total) {
            if began.elapsed() >= self.inner.shared.limits.packet_timeout {
                return Err(End::Close(Reason::ServerBusy, "no memory for a large packet"));
            }
            self.pause(BUDGET_PAUSE).await?;
        }
        Ok(READ_BYTES)
    }

    /// Says goodbye, and leaves behind what outlives the connection.
    async fn finish(mut self, end: End) {
        let counters = self.inner.shared.counters.clone();
        counters.clients_disconnected.add(1);
        if let End::Close(reason, what) = end {
            counters.refused(reason);
            if reason == Reason::SessionTakenOver {
                counters.takeovers.add(1);
            }
            tracing::debug!(client = %self.session.client.id, %reason, what, "connection closed");
        }
        self.session.close(end);
        let goodbye = std::mem::take(self.session.poll_transmit());
        let mut stream = self.leave(end);
        if end != End::Lost && !goodbye.is_empty() {
            let _ = tokio::time::timeout(LINGER, stream.write_all(&goodbye)).await;
            linger(&mut stream).await;
        }
    }

    /// Leaves the registry: the session is kept, or ends and its will is published.
    fn leave(self, end: End) -> TcpStream {
        let Connection { inner, stream, session, control, attachment, .. } = self;
        let parts = session.into_parts(end);
        let now = Instant::now();
        let (client, id) = (parts.client.clone(), parts.client.id.clone());
        let delay =
            parts.will.as_ref().map_or(Duration::ZERO, |will| Duration::from_secs(u64::from(will.delay_s)));
        let delayed =
            parts.kept.is_some() && !delay.is_zero() && end != End::Close(Reason::ServerShuttingDown, STOPS);
        let (mut at_once, mut later) = (parts.will, None);
        if delayed {
            later = at_once.take().map(|will| (will, now + delay));
        }
        let away = parts.kept.map(|kept| {
            let attachment = attachment.filter(|_| parts.has_links);
            Box::new(Away {
                client: client.clone(),
                kept: Some(kept),
                attachment,
                expires: now + parts.keep_for,
                will: later,
            })
        });
        let keeps = away.is_some();
        let refused = inner.registry.leave(&id, &control, away);
        if keeps && refused.is_none() {
            inner.shared.counters.sessions_kept.add(1);
        }
        if let Some(refused) = refused {
            inner.shared.counters.sessions_over_limit.add(1);
            at_once = at_once.or(refused.will.map(|(will, _)| will));
        }
        if let Some(will) = at_once {
            inner.publish_will(client, *will);
        }
        stream
    }
}

fn end_of(told: Told) -> End {
    match told {
        Told::TakenOver => End::Close(Reason::SessionTakenOver, "the same client connected again"),
        Told::Shutdown => End::Close(Reason::ServerShuttingDown, STOPS),
    }
}

fn end_of_error(error: &IngestError) -> End {
    match error {
        IngestError::Full => End::Close(Reason::QuotaExceeded, "the disk is full"),
        IngestError::Busy => End::Close(Reason::ServerBusy, "storage is too slow"),
        IngestError::Failed(_) => End::Close(Reason::ServerUnavailable, "storage failed"),
    }
}

/// Hands complete packets to the session until they end, it says stop, or the batch is full. Returns the bytes taken
/// and whether there may be more complete packets.
fn parse<'a>(
    session: &mut Session,
    bytes: &'a [u8],
    batch: &mut Batch<'a>,
    packet_bytes: usize,
    result: &mut Result<(), End>,
) -> (usize, bool) {
    let now = Instant::now();
    let mut at = 0;
    while session.has_room(batch) {
        let rest = &bytes[at..];
        let taken = match codec::frame(rest, packet_bytes) {
            Ok(Some(frame)) if rest.len() >= frame.total => {
                at += frame.total;
                codec::decode(frame.first, &rest[frame.body..frame.total], session.version())
                    .map_err(End::from)
                    .and_then(|packet| session.handle_packet(packet, batch, now))
            }
            Ok(_) => return (at, false),
            Err(error) => Err(End::from(error)),
        };
        if let Err(end) = taken {
            *result = Err(end);
            return (at, false);
        }
    }
    (at, true)
}

async fn next_delivery(attachment: &mut Option<Box<Attachment>>) -> Delivery {
    match attachment {
        Some(attachment) => attachment.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
