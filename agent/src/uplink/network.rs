//! Connections to a gateway over the network: TCP, and TLS where the settings say so.
//!
//! In: settings. Out: a stream, or why there is none, in words.
//! Invariant: with TLS settings nothing is said to whoever cannot show a certificate of the authority that is named; there is no way to
//! switch that off. Files are read for each connection, so what was renewed is used by the next one.

use super::conversation::Stream;
use crate::config::{TlsConfig, UplinkConfig};
use crate::limits::CLOCK_SANE_FROM_MS;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Connects. To be given up by the caller when it takes too long.
pub(super) async fn connect(config: &UplinkConfig) -> Result<Box<dyn Stream>, String> {
    // Before anybody is bothered.
    let tls = config.tls.as_ref().map(client_config).transpose()?;
    let tcp = TcpStream::connect(format!("{}:{}", config.host, config.port)).await;
    let tcp = tcp.map_err(|error| error.to_string())?;
    // A record waits for nothing: without this it may wait for the peer's delayed TCP ack.
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    let (Some(tls), Some(settings)) = (tls, &config.tls) else {
        return Ok(Box::new(tcp));
    };
    let name =
        server_name(&settings.name).ok_or_else(|| format!("{} is no name of a server", settings.name))?;
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await;
    Ok(Box::new(stream.map_err(|error| format!("TLS: {error}"))?))
}

/// What rustls needs of the files; what is wrong names the key of the configuration.
pub(crate) fn client_config(settings: &TlsConfig) -> Result<ClientConfig, String> {
    let (key, path) = ("uplink.tls.authority", settings.authority.as_path());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, path)? {
        roots.add(certificate).map_err(|error| wrong(key, path, &error))?;
    }
    let earliest = [Some(path), settings.identity.as_ref().map(|(certificate, _)| certificate.as_path())]
        .into_iter()
        .flatten()
        .filter_map(|path| std::fs::metadata(path).ok()?.modified().ok())
        .max();
    let time = Arc::new(NotBefore(earliest.unwrap_or(UNIX_EPOCH)));
    let builder = ClientConfig::builder_with_details(Arc::new(ring::default_provider()), time)
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    let Some((path, private)) = &settings.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates("uplink.tls.certificate", path)?;
    let key = PrivateKeyDer::from_pem_file(private)
        .map_err(|error| wrong("uplink.tls.key", private, &text(&error, "private key")))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| wrong("uplink.tls.certificate", path, &error))
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| wrong(key, path, &text(&error, "certificate")))?;
    if found.is_empty() { Err(wrong(key, path, &"it holds no certificate in PEM")) } else { Ok(found) }
}

fn text(error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("it holds no {what} in PEM"),
        error => error.to_string(),
    }
}

fn wrong(key: &str, path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("{key} is \"{}\", which cannot be used: {why}", path.display())
}

/// The clock of certificates: the host's, and while nobody has set that, the time at which the files were written, which has certainly come.
#[derive(Debug)]
struct NotBefore(SystemTime);

impl TimeProvider for NotBefore {
    fn current_time(&self) -> Option<UnixTime> {
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (now, earliest) = (since(SystemTime::now()), since(self.0));
        let is_set = now >= Duration::from_millis(CLOCK_SANE_FROM_MS);
        Some(UnixTime::since_unix_epoch(if is_set { now } else { now.max(earliest) }))
    }
}

/// The name that the gateway's certificate must have.
pub(crate) fn server_name(name: &str) -> Option<ServerName<'static>> {
    // Addresses of version 6 stand in brackets before a port.
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    ServerName::try_from(bare.to_owned()).ok()
}
