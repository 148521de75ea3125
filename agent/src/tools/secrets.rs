//! Certificate and key files of people, as a device wants them.
//!
//! In: PEM or DER files. Out: DER; the key as SEC 1. Invariants: what a device cannot use is refused here, with the reason; a key belongs to
//! its certificate. Not here: who signed what: a device may have another authority than its gateway.

mod spki;

use headwater_telemetry::Credentials;
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Larger than any file of these.
const FILE_BYTES_MAX: u64 = 64 * 1024;

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
/// A file cannot be read, or holds something that a device cannot use, or the key is not the certificate's.
pub fn load(authority: &Path, certificate: &Path, key: &Path) -> Result<Files, SecretError> {
    let (authority, _) = read_certificate(authority)?;
    let (der, public) = read_certificate(certificate)?;
    let secret = read_key(key)?;
    if secret.public_key() != public {
        let what = format!(
            "is not the key of certificate {}, expected the one it was made for",
            certificate.display()
        );
        return Err(failed(key, what));
    }
    let sec1 = secret.to_sec1_der().map_err(|error| failed(key, error.to_string()))?;
    Ok(Files { authority, certificate: der, key: sec1 })
}

fn failed(path: &Path, what: impl Into<String>) -> SecretError {
    SecretError { path: path.to_owned(), what: what.into() }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    use std::io::Read;
    let mut bytes = Zeroizing::new(Vec::new());
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| failed(path, error.to_string()))?;
    Ok(bytes)
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN.as_bytes())
}

const PEM_BEGIN: &str = "-----BEGIN ";

/// In the name of a PKCS 8 block, or in the head of an older one.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

fn read_certificate(path: &Path) -> Result<(Vec<u8>, p256::PublicKey), SecretError> {
    let bytes = read(path)?;
    let none = || failed(path, "is no certificate, expected one in PEM or DER");
    let der = if is_pem(&bytes) {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match found.map_err(|_| none())?.as_slice() {
            [one] => one.to_vec(),
            [] => return Err(none()),
            more => {
                return Err(failed(
                    path,
                    format!("holds {} certificates, expected one: a device keeps no chain", more.len()),
                ));
            }
        }
    } else {
        bytes.to_vec()
    };
    let spki = spki::of(&der).ok_or_else(none)?;
    let public = p256::PublicKey::from_public_key_der(spki)
        .map_err(|_| failed(path, "is for a key that a device cannot use, expected P-256"))?;
    Ok((der, public))
}

fn read_key(path: &Path) -> Result<p256::SecretKey, SecretError> {
    let bytes = read(path)?;
    let wrong = || {
        let expected =
            "is no key that a device can use, expected a P-256 private key (PKCS 8 or SEC 1, PEM or DER)";
        failed(path, expected)
    };
    let sec1_or_pkcs8 = |der: &[u8]| {
        let key = p256::SecretKey::from_pkcs8_der(der).ok();
        key.or_else(|| p256::SecretKey::from_sec1_der(der).ok())
    };
    if !is_pem(&bytes) {
        return sec1_or_pkcs8(&bytes).ok_or_else(wrong);
    }
    if bytes.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) {
        let what = "is encrypted, expected a key without passphrase, as a device has nobody to ask";
        return Err(failed(path, what));
    }
    // Other blocks, such as the parameters of the curve that some tools write first, are passed over.
    let key = PrivateKeyDer::from_pem_slice(&bytes).ok();
    let der = key.as_ref().map(PrivateKeyDer::secret_der);
    der.and_then(sec1_or_pkcs8).ok_or_else(wrong)
}
