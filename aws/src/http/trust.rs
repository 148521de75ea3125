//! Whom TLS trusts, as whom we appear, and by which clock.
//!
//! Trusted by default are both the authorities compiled in and those of the machine: a board whose store was never updated
//! does not know the authority AWS uses today, and a company's proxy that opens TLS is known to the machine alone.
//! Invariant: a certificate is always checked; there is no way to switch that off. Not here: connections (connect).

use super::transport::Transport;
use crate::clock::Clock;
use crate::environment::Environment;
use crate::timestamp::Timestamp;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Why TLS cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file of certificates.
    #[error("certificates in {file} cannot be read", file = .0.display())]
    Certificates(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// A file that holds none.
    #[error("{file} holds no certificate", file = .0.display())]
    Empty(PathBuf),
    /// A file with a private key.
    #[error("the private key in {file} cannot be read", file = .0.display())]
    Key(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// Something TLS does not take.
    #[error("{file} cannot be used", file = .0.display())]
    Tls(PathBuf, #[source] rustls::Error),
}

/// Which authorities may vouch for a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// Those compiled in, and those of the machine (`SSL_CERT_FILE` and `SSL_CERT_DIR`, else where its system keeps them).
    #[default]
    Public,
    /// The same and those of a PEM file, as `AWS_CA_BUNDLE` names one.
    PublicAnd(PathBuf),
    /// Those of a PEM file and no others.
    Only(PathBuf),
}

/// A certificate of ours, with its chain, and its key: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate first, then those that vouch for it.
    pub certificates: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// How servers are reached.
#[derive(Debug, Clone, Default)]
pub struct HttpSettings {
    /// Whom to trust.
    pub trust: Trust,
    /// As whom to appear to servers that ask.
    pub identity: Option<Identity>,
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in capitals or not, as curl reads them. Loopback and
    /// link-local addresses are never asked of a proxy.
    pub proxies: Environment,
    /// What time it is.
    pub clock: Clock,
    /// It is certainly not earlier than this: a board that boots in 1970 takes no certificate for valid. The time of the
    /// newest record it has stored will do. Only asked while the clock is before 2026, so not set at all.
    pub not_before: Timestamp,
    /// In the place of the network: then nobody is asked for trust, and no proxy for the way.
    pub transport: Option<Transport>,
}

impl HttpSettings {
    /// As the environment says: proxies, and `AWS_CA_BUNDLE`.
    #[must_use]
    pub fn of(environment: &Environment) -> Self {
        let bundle = environment.get("AWS_CA_BUNDLE").map(|path| Trust::PublicAnd(environment.path(path)));
        HttpSettings {
            trust: bundle.unwrap_or_default(),
            proxies: environment.clone(),
            ..HttpSettings::default()
        }
    }
}

/// No machine's clock is right that is before this: no program of this version ran then. 2026-01-01.
const FIRST_MS: u64 = 1_767_225_600_000;

/// The clock of certificates: the wall's, unless nobody has set it; then a time that has certainly come. One that was set is believed:
/// records that were stored while it was years ahead must not end every certificate.
#[derive(Debug)]
struct NotBefore {
    clock: Clock,
    earliest: Timestamp,
}

impl TimeProvider for NotBefore {
    fn current_time(&self) -> Option<UnixTime> {
        let wall = self.clock.now().wall;
        let time = if wall.ms() < FIRST_MS { wall.max(self.earliest) } else { wall };
        Some(UnixTime::since_unix_epoch(Duration::from_millis(time.ms())))
    }
}

pub(super) fn tls(settings: &HttpSettings) -> Result<ClientConfig, TrustError> {
    let time = NotBefore { clock: settings.clock.clone(), earliest: settings.not_before };
    let builder = ClientConfig::builder_with_details(Arc::new(ring::default_provider()), Arc::new(time))
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots(&settings.trust)?);
    let Some(Identity { certificates, key }) = &settings.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = read(certificates)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| TrustError::Key(key.clone(), error))?;
    builder
        .with_client_auth_cert(chain, private)
        .map_err(|error| TrustError::Tls(certificates.clone(), error))
}

fn roots(trust: &Trust) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    if !matches!(trust, Trust::Only(_)) {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let machine = rustls_native_certs::load_native_certs();
        for error in &machine.errors {
            tracing::debug!(%error, "some certificates of this machine cannot be read");
        }
        // Old stores hold certificates that are malformed by the rules of today; they vouch for nobody anyway.
        roots.add_parsable_certificates(machine.certs);
    }
    if let Trust::PublicAnd(file) | Trust::Only(file) = trust {
        for certificate in read(file)? {
            roots.add(certificate).map_err(|error| TrustError::Tls(file.clone(), error))?;
        }
    }
    Ok(roots)
}

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let failed = |error| TrustError::Certificates(file.to_owned(), error);
    let found: Vec<_> =
        CertificateDer::pem_file_iter(file).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if found.is_empty() { Err(TrustError::Empty(file.to_owned())) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;

    #[test]
    fn a_clock_that_nobody_set_is_not_before_the_newest_record_and_one_that_is_set_is_believed() {
        let judged = |wall_ms: u64, earliest_ms: u64| {
            let now = Now { wall: Timestamp::from_ms(wall_ms), uptime: Duration::ZERO };
            let time =
                NotBefore { clock: Clock::new(move || now), earliest: Timestamp::from_ms(earliest_ms) };
            time.current_time().map(|time| time.as_secs() * 1_000)
        };
        const NOW: u64 = 1_800_000_000_000;
        const YEARS_AHEAD: u64 = 2_500_000_000_000;
        assert_eq!(judged(5_000, NOW), Some(NOW));
        assert_eq!(judged(NOW, NOW - 1_000), Some(NOW));
        assert_eq!(
            judged(NOW, YEARS_AHEAD),
            Some(NOW),
            "a record of a clock that was wrong ends no certificate"
        );
    }
}
