//! Where a certificate has its public key.
//!
//! In: DER of X.509. Out: the bytes of its SubjectPublicKeyInfo. Pure, and reads nothing else: who is to believe a certificate decides for
//! himself.

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The SubjectPublicKeyInfo; none when this is no certificate, or more than one.
pub(super) fn of(certificate: &[u8]) -> Option<&[u8]> {
    let (whole, []) = item(certificate)? else { return None };
    let (signed, _) = item(whole.inside(SEQUENCE)?)?;
    let mut rest = signed.inside(SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = item(rest)?.1;
    }
    // Serial number, algorithm, issuer, validity, subject.
    for _ in 0..5 {
        rest = item(rest)?.1;
    }
    let (key, _) = item(rest)?;
    key.inside(SEQUENCE)?;
    Some(key.whole)
}

struct Item<'a> {
    whole: &'a [u8],
    content: &'a [u8],
}

impl<'a> Item<'a> {
    fn inside(&self, tag: u8) -> Option<&'a [u8]> {
        (self.whole.first() == Some(&tag)).then_some(self.content)
    }
}

/// The first element and what follows it.
fn item(bytes: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let (head, len) = match *bytes.get(1)? {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(*bytes.get(2)?)),
        0x82 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        // Nothing of a certificate that fits a device is longer.
        _ => return None,
    };
    let (whole, rest) = bytes.split_at_checked(head + len)?;
    Some((Item { whole, content: &whole[head..] }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_behind_five_fields_and_no_cut_of_a_certificate_is_one() {
        let key = [0x30, 3, 1, 2, 3];
        let mut signed = vec![VERSION, 1, 0, 2, 1, 7];
        signed.extend([0x30, 0].repeat(4));
        signed.extend(key);
        let wrapped =
            |content: &[u8]| [&[0x30, 0x81, u8::try_from(content.len()).unwrap()], content].concat();
        let certificate = wrapped(&[&wrapped(&signed)[..], &[0x30, 0, 3, 0]].concat());
        assert_eq!(of(&certificate), Some(&key[..]));
        for len in 0..certificate.len() {
            assert_eq!(of(&certificate[..len]), None, "cut at {len}");
        }
        let longer = [&certificate[..], &[0]].concat();
        assert_eq!(of(&longer), None);
    }
}
