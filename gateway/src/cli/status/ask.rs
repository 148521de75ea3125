//! One GET of a gateway's status port.
//!
//! In: the address the configuration says. Out: status and body, bounded in time and size.
//! Not here: what the answer means (`seen`).

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

/// A gateway answers in milliseconds, and one whose disk is slow in less than this.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A page of metrics has some hundred bytes a shard; this is far more than the engine shows.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum AskError {
    /// The port is chosen anew at every start.
    #[error("http.listen has port 0, so nobody knows where a gateway's status port is; set a port")]
    NoPort,
    /// Nobody takes the connection.
    #[error("no gateway runs: nothing answers at {addr} (http.listen): {source}")]
    NotRunning {
        /// Where.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody else is there, or it broke off.
    #[error("what answers at {addr} (http.listen) is no gateway: {what}")]
    Foreign {
        /// Where.
        addr: SocketAddr,
        /// What was found.
        what: String,
    },
}

/// An answer.
#[derive(Debug)]
pub(in crate::cli) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// The address to connect to for one that is listened on: every address of this machine is also this one.
pub(in crate::cli) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Asks for `path`.
pub(super) async fn get(listen: SocketAddr, path: &'static str) -> Result<Answer, AskError> {
    if listen.port() == 0 {
        return Err(AskError::NoPort);
    }
    let addr = reachable(listen);
    let late = || AskError::Foreign { addr, what: format!("no answer within {} s", TIMEOUT.as_secs()) };
    tokio::time::timeout(TIMEOUT, exchange(addr, path)).await.map_err(|_| late())?
}

async fn exchange(addr: SocketAddr, path: &'static str) -> Result<Answer, AskError> {
    let stream = TcpStream::connect(addr).await;
    let stream = stream.map_err(|source| AskError::NotRunning { addr, source })?;
    let foreign = |what: String| AskError::Foreign { addr, what };
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| foreign(error.to_string()))?;
    // Ends with the answer, or with the sender.
    tokio::spawn(connection);
    let request = Request::get(path).header(HOST, addr.to_string()).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| foreign(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| foreign(error.to_string()))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| foreign(error.to_string()))?.to_bytes();
    Ok(Answer { status, body })
}
