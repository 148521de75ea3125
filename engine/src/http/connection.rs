//! One connection: which protocol it speaks, and its timeouts.

use super::answer::AnswerBody;
use super::headers::RequestIds;
use super::patient::Patient;
use super::request::Face;
use super::stalls::Stalls;
use crate::engine::Engine;
use crate::limits;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// The first bytes of an HTTP/2 connection (RFC 9113, 3.4). No HTTP/1 method begins like that. All of it is waited for here, in
/// bounded time: whoever reads the rest waits for it without a limit.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pause before looking again when only a part of [`PREFACE`] has come: a client sends it in one segment. Doubles up to
/// [`PREFACE_PAUSE_MAX`], or a thousand connections that stop in the middle would keep a core busy with looking.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);
const PREFACE_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Serves a connection to its end. `closed` ends with the server, `watcher` asks for the end of a connection in use.
pub(super) async fn serve(
    face: Arc<Face>,
    socket: TcpStream,
    watcher: Watcher,
    mut closed: watch::Receiver<()>,
) {
    // Without it a reply of two segments waits for the client's delayed acknowledgement.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let protocol = tokio::select! {
        protocol = tokio::time::timeout(limits::HEADER_TIMEOUT, protocol(&socket)) => protocol,
        _ = closed.changed() => return,
    };
    let Ok(Some(protocol)) = protocol else { return };
    let io = TokioIo::new(Patient::new(socket, limits::WRITE_TIMEOUT));
    let outcome = match protocol {
        Protocol::Http1 => serve_http1(face, io, watcher, closed).await,
        Protocol::Http2 => {
            let answer = move |request| {
                let (face, closed) = (Arc::clone(&face), closed.clone());
                async move { face.answer(request, &closed).await }
            };
            serve_http2(io, watcher, answer).await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection ended");
    }
}

/// The API over connections that the host makes in its own ways: HTTP/1.1, no port. Cheap to clone; clones share the limits of all
/// requests together.
#[derive(Clone)]
pub struct Connections(Arc<Face>);

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

impl Engine {
    /// The API for connections that do not come from a port. The ids of its answers follow from `seed`: give each life another.
    #[must_use]
    pub fn connections(&self, seed: u64) -> Connections {
        crate::control::ensure(self);
        Connections(Arc::new(Face::new(self.clone(), RequestIds::of(seed))))
    }
}

impl Connections {
    /// Serves one connection to its end: the client's, or that of this future.
    pub async fn serve(&self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let (_open, closed) = watch::channel(());
        let io = TokioIo::new(Patient::new(io, limits::WRITE_TIMEOUT));
        if let Err(error) =
            serve_http1(Arc::clone(&self.0), io, GracefulShutdown::new().watcher(), closed).await
        {
            tracing::debug!(%error, "connection ended");
        }
    }
}

async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    face: Arc<Face>,
    io: TokioIo<S>,
    watcher: Watcher,
    closed: watch::Receiver<()>,
) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let (face, closed) = (Arc::clone(&face), closed.clone());
        async move { Ok::<_, Infallible>(face.answer(request, &closed).await) }
    });
    watcher.watch(http1().serve_connection(io, service)).await
}

/// Serves HTTP/2 to its end, or until an answer has waited for its client for too long.
async fn serve_http2<S, A>(
    io: TokioIo<S>,
    watcher: Watcher,
    answer: impl Fn(Request<Incoming>) -> A,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Future<Output = Response<AnswerBody>> + Send + 'static,
{
    let stalls = Arc::new(Stalls::default());
    let service = service_fn(|request| {
        let (answer, stalls) = (answer(request), Arc::clone(&stalls));
        async move { Ok::<_, Infallible>(answer.await.map(|body| body.watched(&stalls))) }
    });
    tokio::select! {
        outcome = watcher.watch(http2().serve_connection(io, service)) => outcome,
        () = stalled(&stalls) => {
            tracing::debug!("the client takes nothing of an answer");
            Ok(())
        }
    }
}

/// Resolves when an answer has waited for its client for too long.
async fn stalled(stalls: &Stalls) {
    loop {
        tokio::time::sleep(limits::STALL_PAUSE).await;
        if stalls.oldest().is_some_and(|since| since.elapsed() >= limits::WRITE_TIMEOUT) {
            return;
        }
    }
}

enum Protocol {
    Http1,
    Http2,
}

/// Looks at the first bytes without taking them; `None` when the client went away.
async fn protocol(socket: &TcpStream) -> Option<Protocol> {
    let (mut start, mut pause) = ([0; PREFACE.len()], PREFACE_PAUSE);
    loop {
        let ready = socket.ready(Interest::READABLE).await.ok()?;
        let count = socket.peek(&mut start).await.ok()?;
        if count == 0 {
            return None;
        }
        if start[..count] != PREFACE[..count] {
            return Some(Protocol::Http1);
        }
        if count == PREFACE.len() {
            return Some(Protocol::Http2);
        }
        if ready.is_read_closed() {
            return None;
        }
        tokio::time::sleep(pause).await;
        pause = PREFACE_PAUSE_MAX.min(2 * pause);
    }
}

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Runs while a connection is idle as well.
        .header_read_timeout(limits::HEADER_TIMEOUT)
        .max_header_size(limits::HEADER_BYTES_MAX);
    builder
}

fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::HTTP2_STREAMS_MAX)
        .initial_stream_window_size(limits::HTTP2_WINDOW_BYTES)
        .initial_connection_window_size(limits::HTTP2_WINDOW_BYTES)
        .max_header_list_size(limits::HTTP2_HEADER_BYTES_MAX)
        .keep_alive_interval(limits::HTTP2_PING_INTERVAL)
        .keep_alive_timeout(limits::HTTP2_PING_TIMEOUT);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Reply, ReplyBody};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Semaphore;
    use tokio::time::Instant;

    /// A request whose client opens a window of `window` bytes for the answer and then only reads.
    fn request(window: u32) -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4]);
        bytes.extend(window.to_be_bytes());
        // GET http / by static fields, as the only and last frame of stream 1 (RFC 7541, appendix A).
        bytes.extend([0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84]);
        bytes
    }

    /// Serves one such request with an answer of `bytes`. Gives how long it took and what of the room was free then.
    async fn serve_one(window: u32, bytes: usize) -> (Duration, usize) {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let room = Arc::new(Semaphore::new(10));
        let taken = Arc::clone(&room);
        let answer = move |_| {
            let (room, (_, closed)) = (Arc::clone(&taken), watch::channel(()));
            async move {
                let permit = room.acquire_many_owned(10).await.ok();
                let body = ReplyBody::Whole(vec![7; bytes]);
                Response::new(AnswerBody::of_reply(Reply { body, permit }, closed))
            }
        };
        theirs.write_all(&request(window)).await.unwrap();
        let client = tokio::spawn(async move {
            let mut taken = vec![0; 1 << 16];
            while theirs.read(&mut taken).await.is_ok_and(|count| count > 0) {}
        });
        let begun = Instant::now();
        let graceful = GracefulShutdown::new();
        let io = TokioIo::new(ours);
        tokio::time::timeout(Duration::from_secs(50), serve_http2(io, graceful.watcher(), answer)).await.ok();
        let took = begun.elapsed();
        client.await.unwrap();
        (took, room.available_permits())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_opens_no_window_does_not_keep_the_room_of_its_answer() {
        // Nothing at all; a part; all but the last piece.
        for window in [0, 100_000, (1 << 20) - 10] {
            let (took, free) = serve_one(window, 1 << 20).await;
            assert!((30..=36).contains(&took.as_secs()), "{window}: {took:?}");
            assert_eq!(free, 10, "{window}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_took_its_answer_may_stay() {
        let (took, free) = serve_one(1 << 20, 50_000).await;
        assert_eq!((took.as_secs(), free), (50, 10));
    }
}
