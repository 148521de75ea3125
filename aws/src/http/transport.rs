//! Another way to servers than the network.
//!
//! In: a URL. Out: a connection that carries HTTP/1.1 in the open. Not here: the network itself (connect).

use hyper::Uri;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Both ways of a connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection that is being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// Makes connections in the place of TCP, proxies and TLS: to a server in the same process, on time that is not the machine's. Whoever
/// carries the bytes answers for their secrecy. Cheap to clone.
#[derive(Clone)]
pub struct Transport(Arc<dyn Fn(&Uri) -> Connecting + Send + Sync>);

impl Transport {
    /// A way that `connect` makes connections on; it is given the URL of the request.
    pub fn new(connect: impl Fn(&Uri) -> Connecting + Send + Sync + 'static) -> Self {
        Transport(Arc::new(connect))
    }

    pub(super) fn connect(&self, uri: &Uri) -> Connecting {
        (self.0)(uri)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}
