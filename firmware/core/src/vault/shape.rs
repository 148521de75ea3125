//! Whether bytes are credentials, without holding them.
//!
//! In: the bytes of encoded [`Credentials`](headwater_telemetry::Credentials), one by one. Out: whether they are four
//! fields and nothing else. Invariant: what is whole here decodes. A device that made anything else count would find at
//! its next start that it has no credentials it could use. Not here: what a certificate says.

/// Follows the encoding: a length as a varint, as many bytes, four times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    /// Fields begun.
    fields: u8,
    /// Bytes that the field begun last still needs.
    left: u32,
    /// The length being read, and how many of its bits are.
    length: u32,
    bits: u32,
    bad: bool,
}

const FIELDS: u8 = 4;
/// Two bytes of a varint: 16,383, more than all credentials have.
const LENGTH_BITS_MAX: u32 = 14;

impl Shape {
    pub(super) fn push(&mut self, byte: u8) {
        if self.left > 0 {
            self.left -= 1;
            // The name of a server is a host name or an address.
            self.bad |= self.fields == 1 && !byte.is_ascii_graphic();
            return;
        }
        self.bad |= self.fields == FIELDS || self.bits == LENGTH_BITS_MAX;
        if self.bad {
            return;
        }
        self.length |= u32::from(byte & 0x7f) << self.bits;
        self.bits += 7;
        if byte & 0x80 == 0 {
            self.fields += 1;
            self.bad |= self.length == 0;
            (self.left, self.length, self.bits) = (self.length, 0, 0);
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        !self.bad && self.fields == FIELDS && self.left == 0 && self.bits == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_telemetry::Credentials;
    use headwater_telemetry::limits::CREDENTIALS_BYTES_MAX;

    fn is_whole(bytes: &[u8]) -> bool {
        let mut shape = Shape::default();
        bytes.iter().for_each(|&byte| shape.push(byte));
        shape.is_whole()
    }

    #[test]
    fn only_whole_credentials_have_the_shape() {
        let (authority, certificate, key) = ([1u8; 500], [2u8; 127], [3u8; 1_200]);
        let with = |server_name| Credentials {
            server_name,
            authority: &authority,
            certificate: &certificate,
            key: &key,
        };
        let mut out = [0u8; CREDENTIALS_BYTES_MAX];
        let good = with("gateway.local").encode(&mut out).unwrap().to_vec();
        assert!(is_whole(&good));
        for len in 0..good.len() {
            assert!(!is_whole(&good[..len]), "{len} bytes");
        }
        assert!(!is_whole(&[&good[..], &[1]].concat()));
        for bad in [with(""), with("gate way"), Credentials { key: &[], ..with("a") }] {
            let bytes = bad.encode(&mut out).unwrap();
            assert!(!is_whole(bytes), "{bad:?}");
        }
    }

    #[test]
    fn what_has_the_shape_decodes() {
        let mut rng = crate::testing::Rng::new(4);
        let mut whole = 0;
        for _ in 0..200_000 {
            let len = rng.below(24) + 1;
            let byte = |n: u64| [1, 2, 0x81, b'a', 0, 3][usize::try_from(n).unwrap()];
            let bytes: std::vec::Vec<u8> = (0..len).map(|_| byte(rng.below(6))).collect();
            if is_whole(&bytes) {
                whole += 1;
                assert!(Credentials::decode(&bytes).is_some(), "{bytes:?}");
            }
        }
        assert!(whole > 0);
    }
}
