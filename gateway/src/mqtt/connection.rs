//! One connection: a task that pumps bytes between a socket and its session.
//!
//! In: bytes, deliveries, what the registry tells, time. Out: bytes, publishes for storage, what ends the connection.
//! Invariant: nothing more is read while something waits: for storage, for the budget, for the client to read.
//! Not here: any decision about the protocol (`session`, `codec`), how it began (`handshake`), how it waits for
//! storage (`store`), what it leaves behind (`leave`).

mod leave;
mod store;

use self::leave::{REVOKED, STOPS};
use super::budget::Held;
use super::codec;
use super::downlink::{Attachment, Delivery};
use super::handshake;
use super::limits::{DELIVERIES_QUEUED, READ_BYTES, READ_BYTES_PRESSED};
use super::reason::Reason;
use super::registry::{Control, Told};
use super::server::{Inner, Pass};
use super::session::{self, Batch, End, Event, Session};
use super::socket::{Socket, read};
use crate::ingest::Ingest;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A large packet that finds the budget used up looks again after this.
const BUDGET_PAUSE: Duration = Duration::from_millis(10);

/// Serves one connection from accept to close.
pub(super) async fn run<I: Ingest>(
    inner: Arc<Inner<I>>,
    mut stream: Socket,
    peer: SocketAddr,
    _pass: Pass<I>,
) {
    // Boxed, so that the memory of the handshake is not held while the connection lives.
    let opened = Box::pin(handshake::open(&inner, &mut stream, peer)).await;
    let Some((session, control, attachment, buffer)) = opened else { return };
    inner.counters.clients_connected.add(1);
    tracing::debug!(client = %session.client.id, %peer, "client connected");
    let held = Held::new(inner.budget.clone());
    let mut connection =
        Connection { inner, stream, session, control, attachment, buffer, held, packet_began: None };
    let end = connection.drive().await;
    Box::pin(connection.finish(end)).await;
}

struct Connection<I: Ingest> {
    inner: Arc<Inner<I>>,
    stream: Socket,
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
        let limits = self.session.limits();
        let packet = self.packet_began.map(|began| began + limits.packet_timeout);
        let deadline = [self.session.poll_timeout(), packet].into_iter().flatten().min();
        let wants_delivery = self.session.wants_delivery();
        let wants_replay = self.attachment.is_some() && self.session.wants_replay();
        tokio::select! {
            biased;
            count = read(&mut self.stream, &mut self.buffer, limit) => {
                let count = count.unwrap_or(0);
                if count == 0 {
                    return Err(End::Lost);
                }
                self.inner.counters.bytes_read.add(count);
                self.held.set(self.held.bytes().max(self.buffer.len()));
                Ok(())
            }
            told = self.control.wait() => Err(end_of(told)),
            delivery = next_delivery(&mut self.attachment), if wants_delivery => {
                self.session.handle_delivery(delivery, Instant::now())
            }
            // Others first, then the next page.
            () = tokio::task::yield_now(), if wants_replay => Ok(()),
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
        let packet_bytes = self.session.limits().packet_bytes as usize;
        let buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        let mut result = Ok(());
        while at < buffer.len() && result.is_ok() {
            let mut batch = Batch::default();
            let (taken, more) =
                parse(&mut self.session, &buffer[at..], &mut batch, packet_bytes, &mut result);
            at += taken;
            self.inner.counters.tally(&batch.tally);
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
        let downlink = &self.inner.downlink;
        for (filter, tag) in request.wanted() {
            let attachment = self.attachment.get_or_insert_with(|| downlink.attach());
            if let Err(reason) = attachment.subscribe(filter, tag).await {
                // Who was refused its first subscription shall cost nothing more.
                self.attachment.take_if(|attachment| attachment.is_idle());
                return Err(reason);
            }
        }
        Ok(())
    }

    /// Retained messages that are owed, and deliveries that are there already, as far as there is room.
    fn take_deliveries(&mut self) -> Result<(), End> {
        let Some(attachment) = &mut self.attachment else { return Ok(()) };
        let now = Instant::now();
        // One page a turn: a filter that matches little may have to look at all of them.
        if let Some(replay) = self.session.poll_replay() {
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
        let mut wrote = false;
        while self.session.has_output(Instant::now()) {
            match self.stream.try_write(self.session.poll_transmit()) {
                Ok(0) => return Err(End::Lost),
                Ok(count) => {
                    wrote = true;
                    self.inner.counters.bytes_written.add(count);
                    self.session.poll_transmit().drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(_) => return Err(End::Lost),
            }
        }
        while wrote && let Err(error) = self.stream.try_flush() {
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(End::Lost);
            }
            self.writable().await?;
        }
        self.session.shrink();
        Ok(())
    }

    async fn writable(&mut self) -> Result<(), End> {
        let patience = self.session.limits().write_timeout;
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
        let packet_bytes = self.session.limits().packet_bytes as usize;
        let total = match codec::frame(&self.buffer, packet_bytes) {
            Ok(Some(frame)) if frame.total > READ_BYTES => frame.total,
            _ => return Ok(if self.held.is_pressed() { READ_BYTES_PRESSED } else { READ_BYTES }),
        };
        let began = self.packet_began.unwrap_or_else(Instant::now);
        while !self.held.try_reserve(total) {
            if began.elapsed() >= self.session.limits().packet_timeout {
                return Err(End::Close(Reason::ServerBusy, "no memory for a large packet"));
            }
            self.pause(BUDGET_PAUSE).await?;
        }
        Ok(READ_BYTES)
    }
}

fn end_of(told: Told) -> End {
    match told {
        Told::TakenOver => End::Close(Reason::SessionTakenOver, "the same client connected again"),
        Told::Shutdown => End::Close(Reason::ServerShuttingDown, STOPS),
        Told::Revoked => REVOKED,
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
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
