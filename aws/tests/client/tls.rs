//! TLS: whom we trust, by which clock, and as whom AWS IoT sees us.

use crate::credentials::{provider_at, written};
use crate::support::{Act, Fixture, environment, settings};
use headwater_aws::{
    Class, Clock, HttpSettings, Identity, IotSettings, Kinesis, KinesisSettings, Now, Source,
    SourceErrorKind, StreamRef, Thing, Timestamp, Trust,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

const SUMMARY: &str =
    r#"{"StreamDescriptionSummary":{"StreamName":"s","StreamARN":"a","StreamStatus":"ACTIVE"}}"#;

/// An authority with a directory for what it signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) file: PathBuf,
    dir: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn make() -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("authority.pem");
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), file, dir }
    }

    /// Certificate and key for a name, from 2020 to 2040, in files of that name.
    pub(crate) fn sign(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let identity = Identity {
            certificates: self.dir.path().join(format!("{name}.pem")),
            key: self.dir.path().join(format!("{name}.key")),
        };
        std::fs::write(&identity.certificates, certificate.pem()).unwrap();
        std::fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }

    pub(crate) fn acceptor(&self, name: &str, clients: Option<&Authority>) -> TlsAcceptor {
        let identity = self.sign(name);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(certificate(&authority.file)).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
        let config = builder.with_single_cert(vec![certificate(&identity.certificates)], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn certificate(file: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file).unwrap()
}

fn client(fixture: &Fixture, http: HttpSettings) -> Kinesis {
    let endpoint = format!("https://localhost:{}", fixture.address.port());
    Kinesis::new(KinesisSettings { http: Some(http), ..settings(&endpoint) }).unwrap()
}

#[tokio::test]
async fn a_server_is_believed_by_an_authority_that_was_named_and_by_no_other() {
    let authority = Authority::make();
    let fixture =
        Fixture::start_tls(authority.acceptor("localhost", None), |_, _| Act::json(200, SUMMARY)).await;
    for trust in [Trust::Only(authority.file.clone()), Trust::PublicAnd(authority.file.clone())] {
        let client = client(&fixture, HttpSettings { trust, ..HttpSettings::default() });
        client.describe(&StreamRef::name("s")).await.unwrap();
    }
    // As AWS_CA_BUNDLE names it.
    let bundle = authority.file.to_str().unwrap();
    let endpoint = format!("https://localhost:{}", fixture.address.port());
    let named =
        KinesisSettings { environment: environment(&[("AWS_CA_BUNDLE", bundle)]), ..settings(&endpoint) };
    Kinesis::new(named).unwrap().describe(&StreamRef::name("s")).await.unwrap();

    let asked = fixture.seen().len();
    let foreign = Authority::make();
    for trust in [Trust::Public, Trust::Only(foreign.file.clone()), Trust::PublicAnd(foreign.file.clone())] {
        let client = client(&fixture, HttpSettings { trust, ..HttpSettings::default() });
        let error = client.describe(&StreamRef::name("s")).await.unwrap_err();
        assert_eq!((error.class, error.may_be_done), (Class::Final(Thing::Certificate), false), "{error}");
    }
    // The right authority and another name.
    let trust = Trust::Only(authority.file.clone());
    let http = HttpSettings { trust, ..HttpSettings::default() };
    let endpoint = format!("https://127.0.0.1:{}", fixture.address.port());
    let by_address = Kinesis::new(KinesisSettings { http: Some(http), ..settings(&endpoint) }).unwrap();
    let error = by_address.describe(&StreamRef::name("s")).await.unwrap_err();
    assert_eq!(error.class, Class::Final(Thing::Certificate), "{error}");
    assert_eq!(fixture.seen().len(), asked, "nothing was said to whom we do not trust");
}

#[tokio::test]
async fn a_board_that_boots_in_1970_believes_certificates_by_the_time_it_knows_has_come() {
    let authority = Authority::make();
    let fixture =
        Fixture::start_tls(authority.acceptor("localhost", None), |_, _| Act::json(200, SUMMARY)).await;
    let clock = Clock::new(|| Now { wall: Timestamp::from_ms(9_000), uptime: Clock::system().now().uptime });
    let http = HttpSettings { trust: Trust::Only(authority.file.clone()), clock, ..HttpSettings::default() };
    let error = client(&fixture, http.clone()).describe(&StreamRef::name("s")).await.unwrap_err();
    assert_eq!(error.class, Class::Final(Thing::Certificate));
    assert!(error.to_string().contains("not valid yet"), "{error}");
    let newest_record = Timestamp::from_ms(1_780_000_000_000);
    let knowing = HttpSettings { not_before: newest_record, ..http };
    client(&fixture, knowing).describe(&StreamRef::name("s")).await.unwrap();
}

#[tokio::test]
async fn another_authority_and_a_renewed_certificate_in_the_same_files_are_taken_up_without_a_restart() {
    let (old, new, devices) = (Authority::make(), Authority::make(), Authority::make());
    let identity = devices.sign("pi-7");
    // Each call comes over a connection of its own.
    let answer = |_: &_, _| Act::with(200, &[("connection", "close")], SUMMARY);
    let fixture = Fixture::start_tls(old.acceptor("localhost", Some(&devices)), answer).await;
    let uptime_s = Arc::new(AtomicU64::new(1_000));
    let hands = Arc::clone(&uptime_s);
    let clock = Clock::new(move || Now {
        uptime: Duration::from_secs(hands.load(Ordering::Relaxed)),
        ..Clock::system().now()
    });
    let trust = Trust::Only(old.file.clone());
    let http = HttpSettings { trust, identity: Some(identity.clone()), clock, ..HttpSettings::default() };
    let client = client(&fixture, http);
    let describe = async || client.describe(&StreamRef::name("s")).await;
    describe().await.unwrap();
    // The server has a certificate of another authority, and trusts another one for devices.
    let others = Authority::make();
    fixture.appear_as(new.acceptor("localhost", Some(&others)));
    assert_eq!(describe().await.unwrap_err().class, Class::Final(Thing::Certificate));
    // Half of a renewal: a file that is not whole yet changes nothing.
    std::fs::write(&old.file, "-----BEGIN CERT").unwrap();
    uptime_s.fetch_add(11, Ordering::Relaxed);
    assert_eq!(describe().await.unwrap_err().class, Class::Final(Thing::Certificate));
    std::fs::copy(&new.file, &old.file).unwrap();
    let renewed = others.sign("pi-7");
    std::fs::copy(&renewed.certificates, &identity.certificates).unwrap();
    std::fs::copy(&renewed.key, &identity.key).unwrap();
    assert!(describe().await.is_err(), "files are not read at every failure");
    uptime_s.fetch_add(11, Ordering::Relaxed);
    describe().await.unwrap();
    let shown = fixture.seen().pop().unwrap().certificate.unwrap();
    assert_eq!(shown, &certificate(&renewed.certificates)[..]);
}

fn iot(fixture: &Fixture, identity: Identity, authority: &Authority) -> Source {
    Source::Iot(IotSettings {
        endpoint: format!("localhost:{}", fixture.address.port()),
        role_alias: "edge-alias".to_owned(),
        thing_name: Some("pi-7".to_owned()),
        identity,
        authority: Some(authority.file.clone()),
    })
}

#[tokio::test]
async fn aws_iot_gives_a_role_for_the_certificate_of_a_device_and_its_name() {
    let (servers, devices) = (Authority::make(), Authority::make());
    let fixture = Fixture::start_tls(servers.acceptor("localhost", Some(&devices)), |seen, number| {
        let path = "/role-aliases/edge-alias/credentials";
        if (seen.method.as_str(), seen.target.as_str(), seen.header("x-amzn-iot-thingname"))
            != ("GET", path, "pi-7")
        {
            return Act::with(404, &[], r#"{"message":"no such alias"}"#);
        }
        let plain = written(&format!("ASIAIOT{number}"));
        let plain = plain.replace("AccessKeyId", "accessKeyId").replace("SecretAccessKey", "secretAccessKey");
        let plain = plain.replace("Token", "sessionToken").replace("Expiration", "expiration");
        Act::with(200, &[], &format!(r#"{{"credentials":{plain}}}"#))
    })
    .await;
    let identity = devices.sign("pi-7");
    let provider = provider_at(iot(&fixture, identity.clone(), &servers), &[], Clock::system());
    let first = provider.credentials().await.unwrap();
    assert_eq!((first.access_key_id(), first.source()), ("ASIAIOT0", "AWS IoT role alias edge-alias"));
    assert_eq!(first.session_token().unwrap().expose(), "token-ASIAIOT0");
    assert_eq!(fixture.seen()[0].certificate.as_deref().unwrap(), &certificate(&identity.certificates)[..]);

    // A new certificate in the same files is shown the next time.
    devices.sign("pi-7");
    provider.handle_refused(&first);
    provider.credentials().await.unwrap();
    let shown: Vec<_> = fixture.seen().into_iter().map(|seen| seen.certificate.unwrap()).collect();
    assert!(shown[0] != shown[1] && shown[1] == certificate(&identity.certificates)[..]);
}

#[tokio::test]
async fn aws_iot_refuses_a_certificate_of_another_authority_and_a_missing_file_is_named() {
    let (servers, devices) = (Authority::make(), Authority::make());
    let fixture =
        Fixture::start_tls(servers.acceptor("localhost", Some(&devices)), |_, _| Act::with(200, &[], "{}"))
            .await;
    let foreign = Authority::make();
    let source = iot(&fixture, foreign.sign("pi-7"), &servers);
    let error = provider_at(source, &[], Clock::system()).credentials().await.unwrap_err();
    assert_eq!(error.asked[0].kind, SourceErrorKind::Refused, "{error}");
    assert!(fixture.seen().is_empty());

    let missing = Identity { certificates: "/nonexistent/pi.pem".into(), key: "/nonexistent/pi.key".into() };
    let error =
        provider_at(iot(&fixture, missing, &servers), &[], Clock::system()).credentials().await.unwrap_err();
    assert_eq!(error.asked[0].kind, SourceErrorKind::Settings);
    assert!(error.to_string().contains("/nonexistent/pi.pem cannot be read"), "{error}");
}
