//! Certificates of `headwater certificates`, and what a device keeps of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use headwater_telemetry::Credentials;
use p256::pkcs8::DecodePrivateKey as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use system_tests::binaries;

/// A directory with the files of a gateway called `gateway.local` and of one device.
pub(crate) struct Secrets {
    pub(crate) directory: PathBuf,
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Secrets {
    pub(crate) fn make(directory: &Path, device: &str) -> Self {
        let directory = directory.join("certificates");
        for arguments in [&["authority"][..], &["server", "gateway.local"], &["device", device]] {
            let mut command = Command::new(binaries::headwater());
            let output = command.arg("certificates").arg("--dir").arg(&directory).args(arguments).output();
            let output = output.expect("headwater runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let der = |name: &str| {
            let file = CertificateDer::from_pem_file(directory.join(name));
            file.expect("a certificate in PEM").to_vec()
        };
        let pem =
            std::fs::read_to_string(directory.join(format!("{device}.key.pem"))).expect("the key is there");
        let key = p256::SecretKey::from_pkcs8_pem(&pem).expect("a key in PEM");
        let (authority, certificate) = (der("authority.pem"), der(&format!("{device}.pem")));
        let key = key.to_sec1_der().expect("a key can be written").to_vec();
        Self { directory, authority, certificate, key }
    }

    pub(crate) fn credentials<'a>(&'a self, server_name: &'a str) -> Credentials<'a> {
        Credentials {
            server_name,
            authority: &self.authority,
            certificate: &self.certificate,
            key: &self.key,
        }
    }
}
