//! Certificates and keys as people have them: an authority, a device, files in every form.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, SignatureAlgorithm,
};
use std::path::{Path, PathBuf};

pub(crate) struct Papers {
    pub(crate) dir: PathBuf,
}

impl Papers {
    /// Files `ca.pem`, `device.pem`, `device.key`, the same as `.der`; `other.pem` and `other.key`, and `p384.pem` and `p384.key`.
    pub(crate) fn make(dir: &Path) -> Self {
        let papers = Self { dir: dir.to_owned() };
        let mut params = CertificateParams::new(Vec::new()).expect("good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Farm");
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("keys are made");
        let ca = params.self_signed(&key).expect("it signs itself");
        papers.write("ca.pem", ca.pem());
        papers.write("chain.pem", ca.pem() + &ca.pem());
        let issuer = Issuer::from_params(&params, &key);
        let sign = |name: &str, algorithm: &'static SignatureAlgorithm, extra: usize| {
            let mut names = vec![name.to_owned()];
            names.extend((0..extra).map(|n| format!("another-name-{n}.of-a-long-domain.example.org")));
            let params = CertificateParams::new(names).expect("good names");
            let key = KeyPair::generate_for(algorithm).expect("keys are made");
            let certificate = params.signed_by(&key, &issuer).expect("it is signed");
            papers.write(&format!("{name}.pem"), certificate.pem());
            papers.write(&format!("{name}.der"), certificate.der());
            papers.write(&format!("{name}.key"), key.serialize_pem());
            papers.write(&format!("{name}.key.der"), key.serialize_der());
        };
        sign("device", &PKCS_ECDSA_P256_SHA256, 0);
        sign("other", &PKCS_ECDSA_P256_SHA256, 0);
        sign("p384", &PKCS_ECDSA_P384_SHA384, 0);
        sign("large", &PKCS_ECDSA_P256_SHA256, 40);
        papers
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.dir.join(name), content).expect("a file is written");
        self.path(name)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().expect("test paths are UTF-8").to_owned()
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.join(name)).expect("it was written")
    }
}
