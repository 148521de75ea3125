//! Devices that connect over TCP: QEMU, simulated devices, boards behind a serial-to-network adapter.

use super::Links;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long to wait after a failed accept (out of file descriptors, say) before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds the listener, so that a wrong address stops the start.
pub(crate) async fn bind(listen: &str) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen).await?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}

/// Serves connections until the links are told to stop, then waits for them to end.
pub(crate) async fn run_tcp(links: Links, listener: TcpListener, connections_max: usize, idle: Duration) {
    // The permit is taken before the accept: what exceeds the limit waits in the system's queue.
    let permits = Arc::new(Semaphore::new(connections_max));
    let mut stop = links.stop.clone();
    let mut open = JoinSet::new();
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
            (permit, listener.accept().await)
        };
        tokio::select! {
            (permit, accepted) = next => match accepted {
                Ok((stream, peer)) => {
                    // Acks are small and wait for nothing: without this each waits for the peer's delayed TCP ack.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "no TCP_NODELAY");
                    }
                    tracing::info!(%peer, "link opened");
                    let links = links.clone();
                    open.spawn(async move {
                        links.run_link(stream, format!("tcp {peer}"), Some(idle), false).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "link not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = open.join_next() => {}
            () = stop.stopped() => break,
        }
    }
    while open.join_next().await.is_some() {}
}
