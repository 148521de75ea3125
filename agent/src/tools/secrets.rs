//! Certificate and key files of people, as a device wants them.
//!
//! In: PEM or DER files. Out: DER; the key as SEC 1. Invariant: what a device cannot use is refused here, with the reason.

use headwater_telemetry::Credentials;
use p256::pkcs8::DecodePrivateKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Why files are no credentials.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct SecretError {
    path: PathBuf,
    what: String,
}

/// Credentials of one device as it keeps them.
pub struct Files {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("certificate", &self.certificate.len()).finish_non_exhaustive()
    }
}

impl Files {
    /// As a device is told them. `server_name` is what the gateway's certificate must say.
    pub fn credentials<'a>(&'a self, server_name: &'a str) -> Credentials<'a> {
        Credentials {
            server_name,
            authority: &self.authority,
            certificate: &self.certificate,
            key: &self.key,
        }
    }
}

/// Reads the authority, the device's certificate and its private key.
///
/// # Errors
/// A file cannot be read, or holds something that a device cannot use.
pub fn load(authority: &Path, certificate: &Path, key: &Path) -> Result<Files, SecretError> {
    Ok(Files {
        authority: read_certificate(authority)?,
        certificate: read_certificate(certificate)?,
        key: read_key(key)?,
    })
}

fn failed(path: &Path, what: impl Into<String>) -> SecretError {
    SecretError { path: path.to_owned(), what: what.into() }
}

fn read_certificate(path: &Path) -> Result<Vec<u8>, SecretError> {
    let bytes = std::fs::read(path).map_err(|error| failed(path, error.to_string()))?;
    // DER begins with a sequence whose length takes two bytes.
    if bytes.starts_with(&[0x30, 0x82]) {
        return Ok(bytes);
    }
    let found = CertificateDer::from_pem_slice(&bytes);
    found.map(|der| der.to_vec()).map_err(|_| failed(path, "is no certificate, expected one in PEM or DER"))
}

fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let bytes = Zeroizing::new(std::fs::read(path).map_err(|error| failed(path, error.to_string()))?);
    let text = std::str::from_utf8(&bytes).ok();
    let key = match text {
        Some(text) => {
            p256::SecretKey::from_pkcs8_pem(text).ok().or_else(|| p256::SecretKey::from_sec1_pem(text).ok())
        }
        None => p256::SecretKey::from_pkcs8_der(&bytes)
            .ok()
            .or_else(|| p256::SecretKey::from_sec1_der(&bytes).ok()),
    };
    let expected =
        "is no key that a device can use, expected a P-256 private key (PKCS 8 or SEC 1, PEM or DER)";
    let key = key.ok_or_else(|| failed(path, expected))?;
    key.to_sec1_der().map_err(|_| failed(path, expected))
}
