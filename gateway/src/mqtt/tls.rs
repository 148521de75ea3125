//! TLS for devices: the handshake, and who a client certificate is for.
//!
//! In: certificate files, TCP connections. Out: encrypted sockets. Invariants: a file that changed is read before the next
//! handshake, and a bad one leaves what was there; a record sent is never larger than `fragment`, for devices have small
//! buffers and rustls does not heed what they ask for; a handshake ends in time, and only so many run at once.
//! Not here: what a device may do (`authorize`), making certificates.

use super::authorize::Certificate;
use super::limits::{TLS_HANDSHAKE_TIMEOUT, TLS_HANDSHAKES_MAX};
use super::socket::Socket;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// rustls counts the header of a record to its fragment.
const RECORD_HEADER_BYTES: usize = 5;

/// How the TLS listener is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The gateway's certificate and those between it and its authority, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Certificates of the authorities that sign devices, PEM; none when clients show no certificates.
    pub clients: Option<PathBuf>,
    /// Whether a client without a certificate may go on, as one with a name and password.
    pub optional: bool,
    /// Most bytes of data in one record.
    pub fragment_bytes: usize,
}

/// Why the TLS listener cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The files do not fit each other.
    #[error("certificate and key do not make a TLS server: {0}")]
    Rejected(#[from] rustls::Error),
}

/// Makes encrypted sockets of TCP connections.
#[derive(Debug)]
pub(super) struct Acceptor {
    loaded: Mutex<Loaded>,
    handshakes: Semaphore,
}

/// Files that were read and fit each other.
#[derive(Debug)]
pub(super) struct Loaded {
    settings: TlsSettings,
    config: Arc<ServerConfig>,
    stamp: Stamp,
}

/// What tells the files apart from those that were there before.
type Stamp = [Option<Seen>; 3];

/// A file. Times of files move in ticks of some milliseconds, so one that is read half written has, once it is whole, the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    inode: (u64, u64),
    bytes: u64,
    /// Also of those that were put in place with the time of another.
    changed: (i64, i64),
}

impl Acceptor {
    /// Reads the files.
    pub(super) fn new(settings: TlsSettings) -> Result<Self, TlsError> {
        let loaded = Mutex::new(Loaded::read(settings)?);
        Ok(Self { loaded, handshakes: Semaphore::new(TLS_HANDSHAKES_MAX) })
    }

    /// Handshakes that begin from now on go by these files.
    pub(super) fn set(&self, loaded: Loaded) {
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = loaded;
    }

    /// The handshake. An error says nothing that the client was not told.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Socket> {
        let handshake = async {
            // Never closed, so it is always acquired.
            let _permit = self.handshakes.acquire().await;
            TlsAcceptor::from(self.config()).accept(stream).await
        };
        let timed = tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, handshake).await;
        timed.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map(|tls| Socket::Tls(Box::new(tls)))
    }

    /// What the files say now.
    fn config(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&loaded.settings);
        if now != loaded.stamp {
            match load(&loaded.settings) {
                Ok(config) => {
                    tracing::info!("certificates of the TLS listener read again");
                    loaded.config = config;
                }
                Err(error) => {
                    tracing::error!(%error, "certificates changed and are not good; the former ones stay")
                }
            }
            loaded.stamp = now;
        }
        Arc::clone(&loaded.config)
    }
}

impl Loaded {
    /// Reads the files.
    pub(super) fn read(settings: TlsSettings) -> Result<Self, TlsError> {
        // Before they are read: a change meanwhile is seen at the next handshake.
        let stamp = stamp(&settings);
        Ok(Self { config: load(&settings)?, settings, stamp })
    }
}

fn stamp(settings: &TlsSettings) -> Stamp {
    let seen = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        let changed = (found.ctime(), found.ctime_nsec());
        Some(Seen { inode: (found.dev(), found.ino()), bytes: found.size(), changed })
    };
    [seen(&settings.certificate), seen(&settings.key), settings.clients.as_deref().and_then(seen)]
}

fn load(settings: &TlsSettings) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&settings.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&settings.key);
    let key = key.map_err(|error| file(&settings.key, "a private key", &error))?;
    let provider = Arc::new(ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match &settings.clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if settings.optional { verifier.allow_unauthenticated() } else { verifier };
            let failed = |error: rustls::server::VerifierBuilderError| TlsError::File {
                path: path.clone(),
                what: error.to_string(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(failed)?)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.max_fragment_size = Some(settings.fragment_bytes + RECORD_HEADER_BYTES);
    // A device opens one connection and keeps it. Tickets are two more records, and memory for nothing.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |error| file(path, "certificates", &error);
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
    if found.is_empty() {
        return Err(file(path, "certificates", &pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn file(path: &Path, expected: &str, error: &pem::Error) -> TlsError {
    let what = match error {
        pem::Error::Io(error) => error.to_string(),
        error => format!("{error}, expected {expected} in PEM"),
    };
    TlsError::File { path: path.to_owned(), what }
}

/// What the client's certificate says about `client_id`. That an authority signed it was checked in the handshake.
pub(super) fn certificate(socket: &Socket, client_id: &str) -> Certificate {
    let Socket::Tls(stream) = socket else { return Certificate::None };
    let (_, session) = stream.get_ref();
    let Some(shown) = session.peer_certificates().and_then(<[_]>::first) else { return Certificate::None };
    let names = || {
        let parsed = ParsedCertificate::try_from(shown).ok()?;
        // A device's name is taken for a host's: letters, digits, dashes, dots and underscores fit both.
        let name = ServerName::try_from(client_id).ok()?;
        rustls::client::verify_server_name(&parsed, &name).ok()
    };
    if names().is_some() { Certificate::Names } else { Certificate::Other }
}
