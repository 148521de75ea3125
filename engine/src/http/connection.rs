//! One connection: which protocol it speaks, and its timeouts.

use super::patient::Patient;
use super::request::Face;
use super::stalls::Stalls;
use crate::limits;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// The first bytes of an HTTP/2 connection (RFC 9113, 3.4). No HTTP/1 method begins like that.
const PREFACE: &[u8; 3] = b"PRI";
/// Pause before looking again when only a part of [`PREFACE`] has come: a client sends it in one segment.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);

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
        Protocol::Http1 => {
            let service = service_fn(move |request| {
                let (face, closed) = (Arc::clone(&face), closed.clone());
                async move { Ok::<_, Infallible>(face.answer(request, &closed).await) }
            });
            watcher.watch(http1().serve_connection(io, service)).await
        }
        Protocol::Http2 => {
            let stalls = Arc::new(Stalls::default());
            let watched = Arc::clone(&stalls);
            let service = service_fn(move |request| {
                let (face, closed, stalls) = (Arc::clone(&face), closed.clone(), Arc::clone(&watched));
                async move { Ok::<_, Infallible>(face.answer(request, &closed).await.map(|b| b.watched(&stalls))) }
            });
            tokio::select! {
                outcome = watcher.watch(http2().serve_connection(io, service)) => outcome,
                () = stalled(&stalls) => return tracing::debug!("the client takes nothing of an answer"),
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection ended");
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
    let mut start = [0; PREFACE.len()];
    loop {
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
        tokio::time::sleep(PREFACE_PAUSE).await;
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
