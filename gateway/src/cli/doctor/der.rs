//! From when until when a certificate holds.
//!
//! In: DER of X.509 (RFC 5280, 4.1). Out: two times. Pure, and reads nothing else: who is to believe a certificate is decided
//! where it is shown.

use headwater_aws::Timestamp;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// First and last moment; none when this is no certificate.
pub(super) fn validity(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (whole, _) = inside(certificate, SEQUENCE)?;
    let (signed, _) = inside(whole, SEQUENCE)?;
    let mut rest = signed;
    if rest.first() == Some(&VERSION) {
        rest = item(rest)?.2;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        rest = item(rest)?.2;
    }
    let (validity, _) = inside(rest, SEQUENCE)?;
    let (tag, from, rest) = item(validity)?;
    let from = time(tag, from)?;
    let (tag, until, _) = item(rest)?;
    Some((from, time(tag, until)?))
}

/// RFC 5280, 4.1.2.5: two digits of 50 and more are of the last century; every time is in UTC and has seconds.
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let long = match tag {
        UTC_TIME if text.len() == 13 => {
            let century = if text.get(..2)? < "50" { "20" } else { "19" };
            format!("{century}{text}")
        }
        GENERALIZED_TIME if text.len() == 15 => text.to_owned(),
        _ => return None,
    };
    // What ended before 1970 has ended.
    let before = long.get(..4)? < "1970";
    if before {
        return Some(Timestamp::EPOCH);
    }
    Timestamp::parse_basic(&format!("{}T{}", long.get(..8)?, long.get(8..)?))
}

/// The content of an element of this kind, and what follows it.
fn inside(bytes: &[u8], expected: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = item(bytes)?;
    (tag == expected).then_some((content, rest))
}

/// The first element's kind and content, and what follows it.
fn item(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, len) = match *bytes.get(1)? {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(*bytes.get(2)?)),
        0x82 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        // No certificate is longer.
        _ => return None,
    };
    let (whole, rest) = bytes.split_at_checked(head + len)?;
    Some((bytes[0], &whole[head..], rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    #[test]
    fn times_of_both_kinds_are_read_and_no_cut_of_a_certificate_has_any() {
        let mut params = CertificateParams::new(vec!["barn".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2024, 2, 29), date_time_ymd(2051, 7, 1));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let (from, until) = validity(certificate.der()).unwrap();
        assert_eq!(
            (from.basic(), until.basic()),
            ("20240229T000000Z".to_owned(), "20510701T000000Z".to_owned())
        );
        for len in 0..certificate.der().len() {
            assert_eq!(validity(&certificate.der()[..len]), None, "cut at {len}");
        }
        assert_eq!(time(UTC_TIME, b"700101000001Z").map(Timestamp::ms), Some(1_000));
        assert_eq!(time(GENERALIZED_TIME, b"19500101000000Z"), Some(Timestamp::EPOCH));
        assert_eq!(time(UTC_TIME, b"2401010000Z"), None);
    }
}
