//! Who a device is for TLS, and how that reaches it in pieces.
//!
//! ```text
//! credentials | server name | authority | certificate | key |   postcard: each a length and its bytes, <= 2048 in all
//! ```
//! In: certificates and a key. Out: one encoding, cut into [`CredentialsPart`]s. Invariant: a key never shows in `Debug`;
//! there is no message that carries it up. Not here: how a device stores it, what a certificate says.

use crate::TooLong;
use crate::frame::CRC;
use crate::limits::{CREDENTIALS_BYTES_MAX, CREDENTIALS_PART_BYTES_MAX};
use core::fmt;
use heapless::Vec;
use postcard::ser_flavors::Size;
use serde::{Deserialize, Serialize};

/// A piece of encoded [`Credentials`]. Pieces are sent in order, each after the result of the one before; the piece at
/// offset 0 begins anew. A piece that the device already has is answered as done and not stored again, so a piece may be
/// repeated whose result was lost. After a restart of the device what came is gone unless it was whole: begin anew.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsPart {
    /// Bytes of the whole, at most [`CREDENTIALS_BYTES_MAX`]; 0 removes what is stored.
    pub total: u16,
    /// CRC-32/ISCSI of the whole.
    pub checksum: u32,
    /// Where this piece begins.
    pub offset: u16,
    /// The piece.
    pub bytes: Vec<u8, CREDENTIALS_PART_BYTES_MAX>,
}

impl fmt::Debug for CredentialsPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A piece may hold a private key.
        write!(f, "CredentialsPart({} of {} bytes from {})", self.bytes.len(), self.total, self.offset)
    }
}

impl CredentialsPart {
    /// The pieces of encoded credentials, in order. `encoded` has at most [`CREDENTIALS_BYTES_MAX`] bytes, or there are
    /// none.
    pub fn all(encoded: &[u8]) -> impl Iterator<Item = Self> + '_ {
        let total = u16::try_from(encoded.len()).ok();
        let total = total.filter(|&total| usize::from(total) <= CREDENTIALS_BYTES_MAX).unwrap_or(0);
        let checksum = CRC.checksum(encoded);
        (0..total).step_by(CREDENTIALS_PART_BYTES_MAX).map(move |offset| {
            let rest = &encoded[usize::from(offset)..];
            let piece = &rest[..rest.len().min(CREDENTIALS_PART_BYTES_MAX)];
            let bytes = Vec::from_slice(piece).unwrap_or_default();
            Self { total, checksum, offset, bytes }
        })
    }

    /// The piece that removes what a device has.
    pub fn removal() -> Self {
        Self { total: 0, checksum: CRC.checksum(&[]), offset: 0, bytes: Vec::new() }
    }
}

/// Who a device is for TLS, and whom it trusts. All DER; all keys P-256, which is what small devices can do.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials<'a> {
    /// The name that the gateway's certificate must have.
    pub server_name: &'a str,
    /// Certificate of the authority that signed the gateway's; the only one trusted.
    pub authority: &'a [u8],
    /// The device's own certificate.
    pub certificate: &'a [u8],
    /// Its private key, as SEC 1 DER.
    pub key: &'a [u8],
}

impl<'a> Credentials<'a> {
    /// Encodes into `out`.
    ///
    /// # Errors
    /// When they have more than [`CREDENTIALS_BYTES_MAX`] bytes.
    pub fn encode<'b>(&self, out: &'b mut [u8; CREDENTIALS_BYTES_MAX]) -> Result<&'b [u8], TooLong> {
        let len = postcard::serialize_with_flavor(self, Size::default()).unwrap_or(usize::MAX);
        match postcard::to_slice(self, out) {
            Ok(bytes) => Ok(bytes),
            Err(_) => Err(TooLong { len, max: CREDENTIALS_BYTES_MAX }),
        }
    }

    /// Decodes what [`Credentials::encode`] made; none for anything else.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        match postcard::take_from_bytes(bytes) {
            Ok((credentials, [])) => Some(credentials),
            _ => None,
        }
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("server_name", &self.server_name)
            .field("authority", &self.authority.len())
            .field("certificate", &self.certificate.len())
            .field("key", &"(hidden)")
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn debug_of_credentials_shows_no_key() {
        let credentials =
            Credentials { server_name: "gateway.local", authority: b"ca", certificate: b"mine", key: b"KEY" };
        let part =
            CredentialsPart { total: 3, checksum: 0, offset: 0, bytes: Vec::from_slice(b"KEY").unwrap() };
        let shown = format!("{credentials:?} {part:?}");
        assert!(shown.contains("gateway.local") && shown.contains("3 of 3 bytes"));
        assert!(!shown.contains("75, 69, 89") && !shown.contains("KEY"));
    }

    #[test]
    fn the_pieces_are_the_whole_and_too_much_is_refused() {
        let key = [7u8; 1_990];
        let with =
            |key| Credentials { server_name: "gateway.local", authority: b"ca", certificate: b"mine", key };
        let mut out = [0u8; CREDENTIALS_BYTES_MAX];
        let encoded = with(&key[..700]).encode(&mut out).unwrap();
        let pieces: std::vec::Vec<_> = CredentialsPart::all(encoded).collect();
        assert_eq!(
            pieces.iter().map(|piece| piece.bytes.len()).collect::<std::vec::Vec<_>>(),
            [256, 256, 212]
        );
        let joined: std::vec::Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.clone()).collect();
        assert_eq!(joined, encoded);
        assert!(pieces.iter().all(|piece| usize::from(piece.total) == encoded.len()));
        assert!(pieces.iter().all(|piece| piece.checksum == CRC.checksum(encoded)));
        assert_eq!(Credentials::decode(encoded), Some(with(&key[..700])));
        assert_eq!(Credentials::decode(&encoded[..encoded.len() - 1]), None);

        let whole = with(&key).encode(&mut [0u8; CREDENTIALS_BYTES_MAX]).map(<[u8]>::len);
        assert_eq!(whole, Ok(2_014));
        let key = [7u8; 2_030];
        let over = with(&key).encode(&mut [0u8; CREDENTIALS_BYTES_MAX]).map(<[u8]>::len);
        assert_eq!(over, Err(TooLong { len: 2_054, max: 2_048 }));
    }
}
