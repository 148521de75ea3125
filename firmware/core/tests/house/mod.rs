//! Authorities, certificates, devices that have them, and gateways as rustls makes them.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(unreachable_pub, reason = "a module of a test binary")]
#![allow(clippy::unwrap_used, reason = "a panic is the report")]

use crate::peer::Wire;
use headwater_device::LinkDown;
use headwater_device::mqtt::Dial;
use headwater_device::mqtt::tls::{Records, Tls, TlsClock};
use headwater_device::testing::Rng;
use headwater_telemetry::Credentials;
use p256::ecdsa::SigningKey;
use p256::pkcs8::DecodePrivateKey;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

pub const NAME: &str = "gateway.local";
/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Chance that repeats, for tests alone.
pub struct Chance(pub Rng);

impl rand_core::RngCore for Chance {
    fn next_u32(&mut self) -> u32 {
        u32::try_from(self.0.next_u64() >> 32).unwrap()
    }
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.fill_with(|| self.0.next_u64().to_le_bytes()[7]);
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl rand_core::CryptoRng for Chance {}

/// A certificate with its key.
pub struct Identity {
    params: CertificateParams,
    pub der: Vec<u8>,
    key: KeyPair,
}

impl Identity {
    pub fn authority(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { params, der, key }
    }

    /// One that `self` signs for `name`, whether it may or not.
    pub fn sign(&self, name: &str) -> Self {
        self.sign_as(name, |_| {})
    }

    pub fn sign_as(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        // Two digits of a year, as all certificates of the product have.
        (params.not_before, params.not_after) = (date_time_ymd(2024, 1, 1), date_time_ymd(2049, 12, 31));
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let der =
            params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap().der().to_vec();
        Self { params, der, key }
    }

    pub fn sec1(&self) -> Vec<u8> {
        p256::SecretKey::from_pkcs8_der(&self.key.serialize_der()).unwrap().to_sec1_der().unwrap().to_vec()
    }

    pub fn signing(&self) -> SigningKey {
        SigningKey::from_pkcs8_der(&self.key.serialize_der()).unwrap()
    }
}

/// A gateway's TLS, as rustls does it.
pub fn server(chain: &[&Identity], clients: &Identity, fragment: usize) -> TlsAcceptor {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(clients.der.clone())).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let certificates = chain.iter().map(|identity| CertificateDer::from(identity.der.clone())).collect();
    let key = PrivateKeyDer::try_from(chain[0].key.serialize_der()).unwrap();
    let builder = builder.with_client_cert_verifier(verifier);
    let mut config = builder.with_single_cert(certificates, key).unwrap();
    config.max_fragment_size = Some(fragment);
    // As the gateway: a device comes back seldom.
    config.send_tls13_tickets = 0;
    TlsAcceptor::from(Arc::new(config))
}

/// Hands out streams that were made before.
pub struct Dialer(pub Vec<DuplexStream>);

impl Dial for Dialer {
    type Stream<'a> = Wire<DuplexStream>;

    async fn dial(&mut self) -> Result<Self::Stream<'_>, LinkDown> {
        self.0.pop().map(Wire::new).ok_or(LinkDown::Unreachable)
    }
}

pub struct Device {
    identity: Identity,
    authority: Vec<u8>,
    key: Vec<u8>,
}

impl Device {
    pub fn new(identity: Identity, authority: &Identity) -> Self {
        let key = identity.sec1();
        Self { identity, authority: authority.der.clone(), key }
    }

    pub fn credentials<'a>(&'a self, server_name: &'a str) -> Credentials<'a> {
        let (authority, certificate) = (&self.authority, &self.identity.der);
        Credentials { server_name, authority, certificate, key: &self.key }
    }

    /// What becomes of a handshake with whoever is at the other end of the stream, which is then closed.
    pub async fn handshake<T: TlsClock>(&self, stream: DuplexStream) -> Result<(), LinkDown> {
        let mut records = Records::new();
        let mut tls = Tls::<_, _, T>::new(
            Dialer(vec![stream]),
            self.credentials(NAME),
            &mut records,
            Chance(Rng::new(3)),
        );
        tokio::time::timeout(PATIENCE, tls.dial()).await.expect("every handshake ends").map(drop)
    }
}
