//! Connections: TCP, the tunnel of a proxy where there is one, TLS where the URL says so; or whatever the host has instead.

use super::held::HeldTls;
use super::transport::{Io, Transport};
use super::trust::{HttpSettings, TrustError};
use crate::environment::Environment;
use crate::limits;
use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tower_service::Service;

type Cause = Box<dyn Error + Send + Sync>;

#[derive(Clone)]
pub(super) enum Connector {
    Network(Network),
    Other(Transport),
}

#[derive(Clone)]
pub(super) struct Network {
    tcp: HttpConnector,
    proxies: Arc<Matcher>,
    tls: Arc<HeldTls>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("{0} is no host")]
    Host(String),
    #[error("proxy {0} is of a kind that is not supported: only http:// is")]
    Proxy(String),
    #[error("by way of proxy {0}")]
    Tunnel(String, #[source] Cause),
    #[error("TLS")]
    Tls(#[source] io::Error),
    #[error("no connection within {seconds} s", seconds = limits::CONNECT_TIMEOUT.as_secs())]
    Timeout,
}

impl Connector {
    pub(super) fn new(settings: &HttpSettings) -> Result<Self, TrustError> {
        match &settings.transport {
            Some(transport) => Ok(Connector::Other(transport.clone())),
            None => Network::new(settings).map(Connector::Network),
        }
    }

    async fn connect(self, uri: Uri) -> Result<Stream, Cause> {
        match self {
            Connector::Network(network) => network.connect(uri).await,
            Connector::Other(transport) => {
                let io = transport.connect(&uri).await?;
                Ok(Stream { io: TokioIo::new(io), is_proxied: false })
            }
        }
    }
}

impl Network {
    fn new(settings: &HttpSettings) -> Result<Self, TrustError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // A peer that is gone without a word is noticed while a connection idles.
        tcp.set_keepalive(Some(limits::IDLE_TIMEOUT));
        let tls = Arc::new(HeldTls::new(settings)?);
        Ok(Network { tcp, proxies: Arc::new(proxies(&settings.proxies)), tls })
    }

    async fn connect(mut self, uri: Uri) -> Result<Stream, Cause> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let is_tls = uri.scheme_str() == Some("https");
        let proxy = if is_near(&host) { None } else { self.proxies.intercept(&uri) };
        let Some(proxy) = proxy else {
            let stream = self.tcp.call(uri).await?.into_inner();
            return self.finish(stream, &host, is_tls, false).await;
        };
        let name = proxy.uri().authority().map(ToString::to_string).unwrap_or_default();
        if proxy.uri().scheme_str() != Some("http") {
            return Err(ConnectError::Proxy(name).into());
        }
        let by_way = |cause: Cause| ConnectError::Tunnel(name.clone(), cause);
        if !is_tls {
            // Without TLS the proxy is asked for the whole URL instead of a tunnel.
            let stream = self.tcp.call(proxy.uri().clone()).await.map_err(|error| by_way(error.into()))?;
            return self.finish(stream.into_inner(), &host, false, true).await;
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.tcp.clone());
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        let stream = tunnel.call(uri).await.map_err(|error| by_way(error.into()))?;
        self.finish(stream.into_inner(), &host, true, false).await
    }

    async fn finish(
        &self,
        stream: TcpStream,
        host: &str,
        is_tls: bool,
        is_proxied: bool,
    ) -> Result<Stream, Cause> {
        let io: Box<dyn Io> = if is_tls {
            let name =
                ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Host(host.to_owned()))?;
            let done = self.tls.connector().await.connect(name, stream).await;
            Box::new(done.inspect_err(|_| self.tls.doubt()).map_err(ConnectError::Tls)?)
        } else {
            Box::new(stream)
        };
        Ok(Stream { io: TokioIo::new(io), is_proxied })
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Cause>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.clone().connect(uri);
        Box::pin(async move {
            let connected = tokio::time::timeout(limits::CONNECT_TIMEOUT, connecting).await;
            connected.unwrap_or_else(|_| Err(ConnectError::Timeout.into()))
        })
    }
}

fn proxies(environment: &Environment) -> Matcher {
    let said = |upper: &str| {
        let lower = upper.to_ascii_lowercase();
        environment.get(&lower).or_else(|| environment.get(upper)).unwrap_or_default().to_owned()
    };
    // In a CGI program HTTP_PROXY is a header of a request, which a stranger writes.
    let http = if environment.get("REQUEST_METHOD").is_some() { String::new() } else { said("HTTP_PROXY") };
    Matcher::builder()
        .all(said("ALL_PROXY"))
        .http(http)
        .https(said("HTTPS_PROXY"))
        .no(said("NO_PROXY"))
        .build()
}

/// In the machine or on its link: metadata services and engines beside us, which no proxy could reach.
fn is_near(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        // fd00:ec2::/32 is where EC2 and EKS have their metadata services.
        Ok(IpAddr::V6(address)) => {
            address.is_loopback()
                || address.is_unicast_link_local()
                || address.segments()[..2] == [0xfd00, 0xec2]
        }
        Err(_) => host == "localhost",
    }
}

/// A connection as hyper wants it.
pub(super) struct Stream {
    io: TokioIo<Box<dyn Io>>,
    is_proxied: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_proxied)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_chosen_as_curl_does_and_never_for_what_is_near() {
        let pairs = [
            ("https_proxy", "http://u:p@proxy.test:3128"),
            ("NO_PROXY", "corp.test,10.0.0.0/8"),
            ("HTTP_PROXY", "http://plain.test:80"),
        ];
        let matcher = proxies(&pairs.into_iter().collect());
        let by = |uri: &'static str| {
            matcher.intercept(&Uri::from_static(uri)).map(|found| found.uri().to_string())
        };
        assert_eq!(
            by("https://kinesis.eu-west-1.amazonaws.com/").as_deref(),
            Some("http://proxy.test:3128/")
        );
        assert_eq!(by("http://pi.test/").as_deref(), Some("http://plain.test:80/"));
        assert_eq!(by("https://kinesis.corp.test/"), None);
        assert_eq!(by("https://10.1.2.3/"), None);
        let cgi =
            proxies(&[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil.test")].into_iter().collect());
        assert!(cgi.intercept(&Uri::from_static("http://pi.test/")).is_none());
        for near in
            ["127.0.0.1", "169.254.169.254", "169.254.170.2", "fd00:ec2::254", "::1", "localhost", "fe80::1"]
        {
            assert!(is_near(near), "{near}");
        }
        assert!(!is_near("10.0.0.1") && !is_near("pi.test") && !is_near("fd00::1"));
    }
}
