//! The MQTT front without listeners, for simulations: connections are streams in memory, everything behind them is the front's own.
//!
//! In: streams, on a runtime of one thread. Out: what a connection over a socket gives.
//! The bus behind subscriptions is another one, which has no thread. Not here: what goes down over it.

use super::authorize::AllowAll;
use super::connection;
use super::downlink::Downlink;
use super::limits::Limits;
use super::server::{Inner, enter};
use super::socket::Socket;
use crate::ingest::Ingest;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::DuplexStream;
use tokio::runtime::Handle;

/// Where simulated connections end.
pub struct Server<I: Ingest>(Arc<Inner<I>>);

impl<I: Ingest> Server<I> {
    /// A server that takes everybody, with the limits of a small machine.
    #[must_use]
    pub fn new(ingest: Arc<I>) -> Self {
        let limits = Limits::default();
        let downlink = Downlink::in_memory(&limits);
        Self(Inner::new(limits, ingest, Arc::new(AllowAll), downlink))
    }

    /// Sends a message of the gateway itself to whoever is subscribed to `topic` now, with QoS 1; false when it is none to publish.
    #[must_use]
    pub fn publish(&self, topic: &str, payload: Vec<u8>) -> bool {
        self.0.downlink.publish(topic, payload, false, 1).is_ok()
    }

    /// Serves a connection as a task of `host`. Its end is that of the task, or of the stream.
    pub fn serve(&self, host: &Handle, stream: DuplexStream) {
        let inner = Arc::clone(&self.0);
        host.spawn(async move {
            let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            if let Ok(pass) = enter(&inner, peer) {
                connection::run(inner, Socket::Memory(stream), peer, pass).await;
            }
        });
    }
}

impl<I: Ingest> std::fmt::Debug for Server<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}
