//! The uplink over TLS: whom an agent talks to, as whom it appears, and renewals while it runs.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod support;

use headwater_agent::{Agent, Config, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use support::broker::Broker;
use support::device::Device;
use support::{config, until};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Who signs certificates, and where they lie.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
    dir: tempfile::TempDir,
}

impl Authority {
    fn make() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("authority.pem");
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file, dir }
    }

    /// Certificate and key for a name.
    fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let at = |end: &str| self.dir.path().join(format!("{name}{end}"));
        std::fs::write(at(".pem"), certificate.pem()).unwrap();
        std::fs::write(at(".key.pem"), key.serialize_pem()).unwrap();
        (at(".pem"), at(".key.pem"))
    }

    /// A server of that name, which wants certificates of `clients`.
    fn acceptor(&self, name: &str, clients: &Authority) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&clients.file).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (certificate, key) = self.sign(name);
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_file(certificate).unwrap()],
                PrivateKeyDer::from_pem_file(key).unwrap(),
            );
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }
}

/// The TLS port of a broker: who appears there is told on, with the certificate that was shown.
struct Front {
    addr: SocketAddr,
    acceptor: Arc<Mutex<TlsAcceptor>>,
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Front {
    async fn start(broker: SocketAddr, acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let front = Self { addr, acceptor: Arc::new(Mutex::new(acceptor)), shown: Arc::default() };
        let (acceptor, shown) = (Arc::clone(&front.acceptor), Arc::clone(&front.shown));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, shown) = (acceptor.lock().unwrap().clone(), Arc::clone(&shown));
                tokio::spawn(async move {
                    let Ok(mut near) = acceptor.accept(socket).await else { return };
                    let certificates = near.get_ref().1.peer_certificates().unwrap();
                    shown.lock().unwrap().push(certificates[0].to_vec());
                    let mut far = TcpStream::connect(broker).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        front
    }
}

fn over_tls(state: &Path, front: &Front, authority: &Authority, identity: (PathBuf, PathBuf)) -> Config {
    let mut config = config(state, front.addr);
    config.uplink.tls = Some(TlsConfig {
        authority: authority.file.clone(),
        name: "gateway.barn".to_owned(),
        identity: Some(identity),
    });
    config
}

async fn deliver(agent: &Agent, firsts: std::ops::Range<u32>) {
    let mut device = Device::connect(agent.link_addrs()[0], "d", 1).await;
    for first in firsts {
        device.send_batch(first * 5, 5).await;
        device.acked_through(first * 5 + 4).await;
    }
}

#[tokio::test]
async fn records_go_up_over_tls_and_what_is_renewed_is_used_by_the_next_connection() {
    let (servers, agents) = (Authority::make(), Authority::make());
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let front = Front::start(broker.addr, servers.acceptor("gateway.barn", &agents)).await;
    let identity = agents.sign("barn-agent");
    let agent = Agent::start(over_tls(dir.path(), &front, &servers, identity.clone())).await.unwrap();
    // More than the window, and larger than one record of TLS.
    deliver(&agent, 0..200).await;
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    assert_eq!(broker.seen().iter().filter(|seen| seen.topic == "headwater/d/batch").count(), 200);
    let shown = || front.shown.lock().unwrap().last().cloned().unwrap();
    assert_eq!(shown(), CertificateDer::from_pem_file(&identity.0).unwrap().to_vec());

    let before = shown();
    agents.sign("barn-agent");
    broker.cut();
    deliver(&agent, 200..210).await;
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    assert_ne!(shown(), before, "the renewed certificate is shown");
    assert!(agent.ledger().balances(), "{:?}", agent.ledger());
    agent.stop().await;
}

#[tokio::test]
async fn nothing_is_said_to_a_gateway_of_another_authority_or_name_and_the_data_waits() {
    let (servers, others, agents) = (Authority::make(), Authority::make(), Authority::make());
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let front = Front::start(broker.addr, others.acceptor("gateway.barn", &agents)).await;
    let agent =
        Agent::start(over_tls(dir.path(), &front, &servers, agents.sign("barn-agent"))).await.unwrap();
    deliver(&agent, 0..5).await;
    let failures = || agent.counters().uplink_failures.get();
    until("it tried a few times", || failures() >= 3).await;
    *front.acceptor.lock().unwrap() = servers.acceptor("gateway.yard", &agents);
    let so_far = failures();
    until("it tried a few times", || failures() >= so_far + 3).await;
    assert_eq!((broker.connections(), agent.ledger().waiting), (0, 6), "a birth and five batches wait");
    // The authority's file is replaced while the agent runs: what was another's gateway is its own.
    *front.acceptor.lock().unwrap() = others.acceptor("gateway.barn", &agents);
    std::fs::copy(&others.file, &servers.file).unwrap();
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    agent.stop().await;
}
