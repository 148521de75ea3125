//! From accept to CONNACK: who a connection is, and which session it goes on with.

use super::authorize::{Client, Denied, Login};
use super::codec::{self, Connect, Version};
use super::downlink::Attachment;
use super::limits::{CONNECT_BYTES_MAX, READ_BYTES_PRESSED, REFUSAL_TIMEOUT};
use super::reason::Reason;
use super::registry::{Control, Found, Told};
use super::server::Inner;
use super::session::{self, Session};
use super::socket::{LINGER, Socket, linger, read};
use super::tls;
use crate::ingest::Ingest;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// A new connection waits so long for an older one of the same client to leave.
const TAKEOVER_PATIENCE: Duration = Duration::from_secs(5);

pub(super) type Opened = (Session, Arc<Control>, Option<Box<Attachment>>, Vec<u8>);

/// CONNECT to CONNACK. `None` when the client was refused, or never said anything.
pub(super) async fn open<I: Ingest>(
    inner: &Arc<Inner<I>>,
    stream: &mut Socket,
    peer: SocketAddr,
) -> Option<Opened> {
    let limits = inner.limits();
    let mut buffer = Vec::new();
    let connect = match tokio::time::timeout(limits.connect_timeout, read_connect(stream, &mut buffer)).await
    {
        Ok(Ok(connect)) => connect,
        Ok(Err(Some((version, error)))) => {
            refuse(inner, stream, version, error.reason, error.what, peer).await;
            return None;
        }
        Ok(Err(None)) | Err(_) => return None,
    };
    inner.counters.bytes_read.add(buffer.len());
    let version = connect.version;
    match accept(inner, stream, connect, peer).await {
        Ok((session, control, attachment)) => Some((session, control, attachment, buffer)),
        Err((reason, what)) => {
            refuse(inner, stream, version, reason, what, peer).await;
            None
        }
    }
}

/// Tells a connection that is not let in why, in the words of its version, while there is a `_permit` for it. Not for TLS: there an answer
/// would cost the handshake that the refusal saves.
pub(super) async fn turn_away(mut stream: Socket, reason: Reason, _permit: OwnedSemaphorePermit) {
    let answer = async {
        let mut buffer = Vec::new();
        if let Ok(connect) = read_connect(&mut stream, &mut buffer).await {
            answer(&mut stream, connect.version, reason).await;
        }
    };
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, answer).await;
}

/// Reads until CONNECT is complete; what follows it stays in `buffer`.
async fn read_connect(
    stream: &mut Socket,
    buffer: &mut Vec<u8>,
) -> Result<Connect, Option<(Version, codec::CodecError)>> {
    loop {
        match codec::frame(buffer, CONNECT_BYTES_MAX).map_err(|error| Some((Version::V4, error)))? {
            Some(frame) if frame.first >> 4 != codec::kind::CONNECT => return Err(None),
            Some(frame) if buffer.len() >= frame.total => {
                let connect =
                    codec::decode_connect(frame.first, &buffer[frame.body..frame.total]).map_err(Some)?;
                buffer.drain(..frame.total);
                return Ok(connect);
            }
            // Anything but CONNECT first is not MQTT: no answer (3.1.1, 3.1).
            None if buffer.first().is_some_and(|first| first >> 4 != codec::kind::CONNECT) => {
                return Err(None);
            }
            _ => {}
        }
        if read(stream, buffer, READ_BYTES_PRESSED).await.unwrap_or(0) == 0 {
            return Err(None);
        }
    }
}

/// Decides about a CONNECT and opens its session.
async fn accept<I: Ingest>(
    inner: &Arc<Inner<I>>,
    stream: &Socket,
    connect: Connect,
    peer: SocketAddr,
) -> Result<(Session, Arc<Control>, Option<Box<Attachment>>), (Reason, &'static str)> {
    let number = inner.next_connection();
    let shared = inner.shared();
    let rules = shared.access.number();
    let terms = session::open(&connect, &shared.limits, inner.fresh(number))?;
    let login = Login {
        client_id: &terms.client_id,
        username: connect.username.as_deref(),
        password: connect.password.as_deref(),
        certificate: tls::certificate(stream, &terms.client_id),
        peer,
    };
    let certificate = login.certificate;
    shared.access.connect(&login).map_err(refusal_of)?;
    let client = Client {
        id: terms.client_id.as_str().into(),
        username: connect.username.as_deref().map(Arc::from),
        certificate,
        peer,
    };
    if let Some(will) = &connect.will
        && !shared.access.publish(&client, &will.topic)
    {
        return Err((Reason::NotAuthorized, "will for a topic that is not allowed"));
    }
    let control = Control::new(number);
    let found = inner.registry.enter(&client, &control, TAKEOVER_PATIENCE).await;
    let found = found.map_err(|_| (Reason::ServerBusy, "an older connection of this client does not end"))?;
    // The rules changed meanwhile, and who went through those that are connected may have missed this one.
    if shared.access.number() != rules
        && let Err(denied) = shared.access.connect(&login)
    {
        inner.registry.leave(&client.id, &control, None);
        if let Found::Session(away) = found {
            inner.end(*away);
        }
        return Err(refusal_of(denied));
    }
    let (mut kept, mut attachment) = (None, None);
    if let Found::Session(away) = found {
        inner.counters.sessions_released.add(1);
        let alive = Instant::now() < away.expires;
        // A session of another user is not this client's to read.
        let same_user = away.client.username == client.username;
        if alive && !connect.clean_start && same_user {
            (kept, attachment) = (away.kept, away.attachment);
        } else if let Some((will, _)) = away.will {
            // The session ends here, and with it the delay of its will.
            inner.publish_will(away.client, *will);
        }
    }
    let session = Session::new(shared, client, number, connect, terms, kept, Instant::now());
    if inner.stopping.load(Relaxed) {
        control.tell(Told::Shutdown);
    }
    Ok((session, control, attachment))
}

fn refusal_of(denied: Denied) -> (Reason, &'static str) {
    match denied {
        Denied::Credentials => (Reason::BadUserNameOrPassword, "unknown user or wrong password"),
        Denied::NotAllowed => (Reason::NotAuthorized, "not allowed to connect"),
        Denied::Certificate => (Reason::NotAuthorized, "certificate is for another device"),
    }
}

async fn refuse<I: Ingest>(
    inner: &Arc<Inner<I>>,
    stream: &mut Socket,
    version: Version,
    reason: Reason,
    what: &'static str,
    peer: SocketAddr,
) {
    inner.counters.refused(reason);
    tracing::debug!(%peer, %reason, what, "client refused");
    answer(stream, version, reason).await;
}

/// CONNACK that says no, and the end.
async fn answer(stream: &mut Socket, version: Version, reason: Reason) {
    let mut out = Vec::new();
    codec::connack(&mut out, version, false, reason, None);
    let _ = tokio::time::timeout(LINGER, stream.finish(&out)).await;
    linger(stream).await;
}
