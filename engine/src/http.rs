//! The HTTP face: connections, and what every request goes through before and after its operation.
//!
//! In: a listener and the wish to stop. Out: answers. Invariants: connections, request bodies and replies are bounded
//! (limits); what was accepted before the shutdown signal is answered; nothing waits for a client without a time limit.
//! HTTP/1.1 and HTTP/2 by prior knowledge share the port: the first bytes tell. Not here: operations, TLS.

mod answer;
mod auth;
mod body;
mod connection;
mod headers;
mod patient;
mod request;
mod stalls;

pub use connection::Connections;

use crate::counters::Tally;
use crate::engine::Engine;
use crate::limits;
use hyper_util::server::graceful::GracefulShutdown;
use request::Face;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

impl Engine {
    /// Serves the Kinesis API on `listener` until `shutdown` resolves; then answers what is under way, for at most
    /// [`limits::DRAIN_TIMEOUT`], and returns.
    pub async fn http(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        crate::control::ensure(self);
        let face = Arc::new(Face::new(self.clone(), headers::RequestIds::new()));
        let connections = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
        let graceful = GracefulShutdown::new();
        let closing = watch::Sender::new(());
        tokio::pin!(shutdown);
        loop {
            // The place first, then the connection: what cannot be served waits in the kernel's queue.
            let place = tokio::select! {
                () = &mut shutdown => break,
                place = Arc::clone(&connections).acquire_owned() => place,
            };
            let Ok(place) = place else { break };
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((socket, _)) = accepted.inspect_err(|error| tracing::warn!(%error, "accept failed"))
            else {
                // Out of file descriptors, most likely: let some close.
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                continue;
            };
            Tally::add(&self.0.tally.connections, 1);
            let (face, watcher, closed) = (Arc::clone(&face), graceful.watcher(), closing.subscribe());
            tokio::spawn(async move {
                connection::serve(face, socket, watcher, closed).await;
                drop(place);
            });
        }
        drop(listener);
        // Those that have not said anything yet are not waited for.
        drop(closing);
        self.0.queues.end_waits();
        if tokio::time::timeout(limits::DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("connections were still open when the time to drain was over");
        }
    }
}
