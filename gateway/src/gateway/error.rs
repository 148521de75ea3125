//! Why a gateway does not start.

use crate::forward::SinkError;
use crate::route::RouterError;
use headwater_engine::OpenError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a gateway did not start. Nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken, or an address is not one of this machine.
    #[error("cannot listen on {addr} ({key}): {source}")]
    Listen {
        /// The setting that names the address.
        key: &'static str,
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The state directory cannot be used.
    #[error("cannot open the state directory {}: {}", dir.display(), chain(.source))]
    Open {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// The files of the TLS listener are not good.
    #[error("cannot set up mqtt.tls: {0}")]
    Tls(io::Error),
    /// The routes cannot run.
    #[error("cannot open the routes: {}", chain(.0))]
    Routes(RouterError),
    /// A sink cannot run.
    #[error("cannot start the sinks: {}", chain(.0))]
    Sinks(SinkError),
}

/// An error with its causes on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
