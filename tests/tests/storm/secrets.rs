//! Authorities and what they sign, made here: three hundred certificates are too many for a program started for each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// What clients call the gateway.
pub(crate) const GATEWAY: &str = "gateway.local";

/// Signs gateways and devices. All of them have the same name, as those of `headwater certificates` have.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn make() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn sign(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![if name == GATEWAY {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        }];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    /// Of a client that trusts `authorities`.
    pub(crate) fn client(&self, authorities: &[&Authority]) -> Arc<ClientConfig> {
        let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        authorities.iter().for_each(|authority| roots.add(certificate(&authority.pem)).unwrap());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_root_certificates(roots);
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        Arc::new(builder.with_client_auth_cert(vec![certificate(&self.certificate)], key).unwrap())
    }
}

/// The files of the gateway.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// Whom the gateway takes for its devices.
    pub(crate) fn trust(&self, authorities: &[&Authority]) {
        self.put(
            "clients.pem",
            &authorities.iter().map(|authority| authority.pem.as_str()).collect::<String>(),
        );
    }

    /// Who the gateway is: two files, one after the other.
    pub(crate) fn serve(&self, identity: &Identity) {
        self.put("server.key.pem", &identity.key);
        self.put("server.pem", &identity.certificate);
    }

    /// Written over, as an editor or a copy does it: for a moment it is half a file.
    pub(crate) fn put(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    pub(crate) fn config(&self, listen: std::net::SocketAddr) -> String {
        let file = |name: &str| self.0.join(name);
        format!(
            "[mqtt.tls]\nlisten = \"{listen}\"\ncertificate = {:?}\nkey = {:?}\nclients = {:?}\n",
            file("server.pem"),
            file("server.key.pem"),
            file("clients.pem")
        )
    }
}
