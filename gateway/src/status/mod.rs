//! The status page, `/health` and `/metrics` over HTTP/1.1.
//!
//! In: requests of people, load balancers and Prometheus. Out: what the gateway counts and how it is.
//! Invariant: asking changes nothing and takes no lock that publishes wait for longer than a copy of some counters.
//! Not here: the Kinesis API (the engine's own port).

mod budget;
mod health;
mod kinesis;
mod metrics;
mod page;
mod reloads;
mod sinks;
mod streams;
mod unread;

use self::reloads::Reloads;
use crate::books::Books;
use crate::forward::Board;
use crate::gateway::Ledger;
use crate::mqtt;
use crate::route::Router;
use bytes::Bytes;
use headwater_engine::Engine;
use headwater_journal::Recovery;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at once; further ones wait in the listen queue. A few scrapers and a person.
const CONNECTIONS_MAX: usize = 32;

/// A request head must arrive within this, so that idle connections do not use up the places.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// After `accept` failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Everything there is to show.
#[derive(Debug)]
pub(crate) struct Status {
    name: String,
    books: Books,
    router: Arc<Router>,
    mqtt: Arc<mqtt::Counters>,
    board: Board,
    recovery: Recovery,
    started: Instant,
    stopping: AtomicBool,
    /// Configurations that were taken up while it runs, or refused.
    pub(crate) reloads: Reloads,
}

impl Status {
    pub(crate) fn new(
        name: &str,
        books: Books,
        router: Arc<Router>,
        mqtt: Arc<mqtt::Counters>,
        board: Board,
        recovery: Recovery,
    ) -> Self {
        let (name, started) = (name.to_owned(), Instant::now());
        let (stopping, reloads) = (AtomicBool::new(false), Reloads::default());
        Status { name, books, router, mqtt, board, recovery, started, stopping, reloads }
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.router.engine()
    }

    pub(crate) fn ledger(&self) -> Ledger {
        // In this order: what sinks have looked at was stored before.
        let carried = self.board.carried();
        let streams = self.books.rows();
        Ledger::new(self.books.publishes(), self.mqtt.snapshot(), streams, carried)
    }

    pub(crate) fn stopping(&self) {
        self.stopping.store(true, Relaxed);
    }
}

/// Serves until `shutdown` resolves.
pub(crate) async fn serve(listener: TcpListener, status: Arc<Status>, shutdown: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = &mut shutdown => return,
            accepted = accepted => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let status = Arc::clone(&status);
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request| {
                let response = answer(&status, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            // A client that goes away or sends nonsense concerns nobody else.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer<B>(status: &Status, request: &Request<B>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response =
            text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET or HEAD only\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/health" => {
            let (healthy, body) = health::report(status);
            let code = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            text(code, "application/json", body)
        }
        "/metrics" => {
            text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::render(status))
        }
        "/metrics/shards" => {
            text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::shards(status))
        }
        "/" => text(StatusCode::OK, "text/html; charset=utf-8", page::render(status)),
        _ => text(
            StatusCode::NOT_FOUND,
            "text/plain",
            "there is /, /health, /metrics and /metrics/shards\n".to_owned(),
        ),
    }
}

fn text(code: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
