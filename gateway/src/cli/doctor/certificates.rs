//! Certificates: do they hold today and for long enough, and do keys belong to them.

use super::Subject;
use super::der::validity;
use super::report::Finding;
use headwater_aws::Timestamp;
use rustls::Error;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A certificate that ends sooner should be renewed now: a person needs that long to reach some gateways.
const ENDS_SOON: Duration = Duration::from_secs(30 * 86_400);

pub(super) fn check(subject: &Subject<'_>) -> Vec<Finding> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let mut findings = Vec::new();
    if let Some(tls) = &subject.config.mqtt.tls {
        let settings = &tls.settings;
        findings.push(dates("mqtt.tls.certificate", &settings.certificate, now));
        findings.push(pair("mqtt.tls.key", &settings.certificate, &settings.key));
        findings.extend(settings.clients.as_ref().map(|path| dates("mqtt.tls.clients", path, now)));
    }
    for sink in &subject.config.sinks {
        if let crate::forward::CredentialsFrom::Iot(iot) = &sink.credentials {
            let key = |name: &str| format!("sinks.{}.iot.{name}", sink.name);
            findings.push(dates(&key("certificate"), &iot.identity.certificates, now));
            findings.push(pair(&key("key"), &iot.identity.certificates, &iot.identity.key));
            findings.extend(iot.authority.as_ref().map(|path| dates(&key("authority"), path, now)));
        }
    }
    findings
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err("there is no certificate in it, expected PEM".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}

/// Every certificate of a file.
fn dates(about: &str, path: &Path, now: Timestamp) -> Finding {
    let shown = path.display();
    let certificates = match read(path) {
        Ok(certificates) => certificates,
        Err(error) => {
            let remedy = "`headwater certificates` makes certificates; the user that runs the gateway must be able to read them";
            return Finding::fail(about, format!("{shown}: {error}"), remedy);
        }
    };
    let held: Option<Vec<_>> = certificates.iter().map(|certificate| validity(certificate)).collect();
    let Some(held) = held else {
        return Finding::fail(
            about,
            format!("{shown} holds something else than certificates"),
            "make it anew",
        );
    };
    let from = held.iter().map(|(from, _)| *from).max().unwrap_or(Timestamp::EPOCH);
    let until = held.iter().map(|(_, until)| *until).min().unwrap_or(Timestamp::EPOCH);
    let day = |time: Timestamp| time.basic().chars().take(8).collect::<String>();
    let found = format!("{shown} holds from {} until {}", day(from), day(until));
    if now < from {
        Finding::fail(
            about,
            found,
            "it holds later than today: set the clock, or make a certificate that holds now",
        )
    } else if until <= now {
        Finding::fail(
            about,
            format!("{found}, which is over"),
            "renew it; a running gateway reads it by itself",
        )
    } else if until.since(now) < ENDS_SOON {
        let days = until.since(now).as_secs() / 86_400;
        Finding::warn(
            about,
            format!("{found}, {days} days from now"),
            "renew it soon; a running gateway reads it by itself",
        )
    } else {
        Finding::ok(about, found)
    }
}

/// Whether a key is that of the certificate.
fn pair(about: &str, certificate: &Path, key: &Path) -> Finding {
    let shown = key.display();
    let parsed = match PrivateKeyDer::from_pem_file(key) {
        Ok(parsed) => parsed,
        Err(error) => {
            let remedy =
                "name the PEM file of the private key, which the user that runs the gateway can read";
            return Finding::fail(about, format!("{shown}: {error}"), remedy);
        }
    };
    // A file that cannot be read has its own finding.
    let Ok(chain) = read(certificate) else { return Finding::ok(about, format!("{shown} is a private key")) };
    match CertifiedKey::from_der(chain, parsed, &ring::default_provider()) {
        Ok(_) => Finding::ok(about, format!("{shown} is the key of {}", certificate.display())),
        Err(Error::InconsistentKeys(_)) => Finding::fail(
            about,
            format!("{shown} is not the key of {}", certificate.display()),
            "use the two files that were made together",
        ),
        Err(error) => Finding::fail(about, format!("{shown}: {error}"), "make key and certificate anew"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    #[test]
    fn certificates_that_ended_end_soon_or_have_another_key_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key, other) = (dir.path().join("c"), dir.path().join("k"), dir.path().join("o"));
        let pair_of = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["barn".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2024, 1, 1), date_time_ymd(2030, 1, 1));
        std::fs::write(&certificate, params.self_signed(&pair_of).unwrap().pem()).unwrap();
        std::fs::write(&key, pair_of.serialize_pem()).unwrap();
        std::fs::write(&other, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let level = |text: &str| dates("x", &certificate, Timestamp::parse_basic(text).unwrap()).level;
        assert_eq!(level("20231231T000000Z"), Level::Fail);
        assert_eq!(level("20240102T000000Z"), Level::Ok);
        assert_eq!(level("20291215T000000Z"), Level::Warn);
        assert_eq!(level("20300101T000001Z"), Level::Fail);
        assert_eq!(pair("x", &certificate, &key).level, Level::Ok);
        assert_eq!(pair("x", &certificate, &other).level, Level::Fail);
        assert_eq!(pair("x", &certificate, &certificate).level, Level::Fail);
        assert_eq!(dates("x", &key, Timestamp::EPOCH).level, Level::Fail);
    }
}
