//! Keys that runs are sealed with: the stream's key, and what is made of it for one segment.
//!
//! In: 32 secret bytes per stream and key id, the lane and salt of a segment. Out: sealed and opened bytes.
//! Invariants: the key of a run is bound to the life of its segment (lane and salt), its nonce to its place in it (group and run), and a
//! group number is written once in a life, so no pair of key and nonce seals two texts; secrets are never shown.
//! Not here: who knows which key (`core::keys`), where the bytes stand in a run (`format::body`), wrapping and master keys (the
//! journal never sees them).

use ring::aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use zeroize::Zeroizing;

use crate::format::body::{Origin, TAG_BYTES};

/// Bytes of a [`StreamKey`].
pub const STREAM_KEY_BYTES: usize = 32;

/// How runs are encrypted. Recorded in each run, so a journal written with one is read where the other is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cipher {
    /// AES-256-GCM: the faster one where the processor has instructions for it.
    Aes256Gcm,
    /// ChaCha20-Poly1305: the faster one, and the one without timing traps, where it has none (a Raspberry Pi 4).
    ChaCha20Poly1305,
}

impl Cipher {
    /// The cipher that this machine's processor is made for.
    #[must_use]
    pub fn of_this_machine() -> Self {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        let has_aes = std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq");
        #[cfg(target_arch = "aarch64")]
        let has_aes = std::arch::is_aarch64_feature_detected!("aes")
            && std::arch::is_aarch64_feature_detected!("pmull");
        #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
        let has_aes = false;
        if has_aes { Self::Aes256Gcm } else { Self::ChaCha20Poly1305 }
    }

    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }

    /// Says what the derived key is for; one per cipher, so that no key serves two.
    fn label(self) -> &'static [u8] {
        match self {
            Self::Aes256Gcm => b"headwater journal run aes-256-gcm",
            Self::ChaCha20Poly1305 => b"headwater journal run chacha20-poly1305",
        }
    }
}

/// Label of the four bytes that tell a wrong key from a damaged run.
const CHECK_LABEL: &[u8] = b"headwater journal key check";

/// The secret key of one stream, 32 bytes. Wiped when the last handle is dropped; never shown.
pub struct StreamKey(Zeroizing<[u8; STREAM_KEY_BYTES]>);

impl StreamKey {
    /// A key of these bytes, which must be random: nothing is stretched. The caller's copy is the caller's to wipe.
    #[must_use]
    pub fn new(bytes: &[u8; STREAM_KEY_BYTES]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// The key for runs of one segment: HKDF-SHA256, salted with lane UUID and segment salt.
    pub(crate) fn run_key(&self, lane: u128, salt: u64, cipher: Cipher) -> RunKey {
        let mut life = [0; 24];
        life[..16].copy_from_slice(&lane.to_le_bytes());
        life[16..].copy_from_slice(&salt.to_le_bytes());
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &life).extract(&self.0[..]);
        let label = [cipher.label()];
        let okm = prk.expand(&label, cipher.algorithm()).expect("a key is far shorter than HKDF's limit");
        let mut check = [0; 4];
        prk.expand(&[CHECK_LABEL], CheckBytes)
            .and_then(|okm| okm.fill(&mut check))
            .expect("four bytes are far below HKDF's limit");
        RunKey { key: LessSafeKey::new(UnboundKey::from(okm)), check: u32::from_le_bytes(check) }
    }
}

impl std::fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamKey(redacted)")
    }
}

struct CheckBytes;

impl hkdf::KeyType for CheckBytes {
    fn len(&self) -> usize {
        4
    }
}

/// A stream's key made for one segment and cipher.
pub(crate) struct RunKey {
    key: LessSafeKey,
    /// Stored with each run: another value there means another key, not damage.
    pub(crate) check: u32,
}

impl RunKey {
    /// Encrypts `text` in place and gives the tag that proves it and `bound`.
    pub(crate) fn seal(&self, origin: &Origin, bound: &[u8], text: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(origin), Aad::from(bound), text)
            .expect("a run is far shorter than a cipher's limit of 64 GiB");
        let mut bytes = [0; TAG_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Decrypts `sealed` (text and tag) in place and gives the length of the text; `None` when the tag does not prove it.
    pub(crate) fn open(&self, origin: &Origin, bound: &[u8], sealed: &mut [u8]) -> Option<usize> {
        let text = self.key.open_in_place(nonce(origin), Aad::from(bound), sealed).ok()?;
        Some(text.len())
    }
}

/// Group number and index of the run in it: once in the life of a segment, which is what the key belongs to.
fn nonce(origin: &Origin) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..8].copy_from_slice(&origin.group.to_le_bytes());
    bytes[8..].copy_from_slice(&origin.run.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { lane: 1, salt: 2, group: 3, run: 4 };

    #[test]
    fn lane_salt_cipher_and_secret_each_make_another_key() {
        let secret = StreamKey::new(&[7; STREAM_KEY_BYTES]);
        let sealed = |secret: &StreamKey, lane, salt, cipher| {
            let mut text = *b"the same text";
            let tag = secret.run_key(lane, salt, cipher).seal(&ORIGIN, b"bound", &mut text);
            (text, tag)
        };
        let first = sealed(&secret, 1, 2, Cipher::Aes256Gcm);
        assert_eq!(first, sealed(&secret, 1, 2, Cipher::Aes256Gcm));
        assert_ne!(first, sealed(&secret, 9, 2, Cipher::Aes256Gcm));
        assert_ne!(first, sealed(&secret, 1, 9, Cipher::Aes256Gcm));
        assert_ne!(first, sealed(&secret, 1, 2, Cipher::ChaCha20Poly1305));
        assert_ne!(first, sealed(&StreamKey::new(&[8; STREAM_KEY_BYTES]), 1, 2, Cipher::Aes256Gcm));
        assert_ne!(
            secret.run_key(1, 2, Cipher::Aes256Gcm).check,
            secret.run_key(1, 3, Cipher::Aes256Gcm).check
        );
    }

    #[test]
    fn what_is_sealed_opens_only_under_its_nonce_and_with_what_it_is_bound_to() {
        for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
            let key = StreamKey::new(&[7; STREAM_KEY_BYTES]).run_key(1, 2, cipher);
            let mut sealed = b"text".to_vec();
            let tag = key.seal(&ORIGIN, b"bound", &mut sealed);
            sealed.extend_from_slice(&tag);
            let open = |origin: &Origin, bound: &[u8]| {
                let mut sealed = sealed.clone();
                key.open(origin, bound, &mut sealed).map(|len| sealed[..len].to_vec())
            };
            assert_eq!(open(&ORIGIN, b"bound"), Some(b"text".to_vec()));
            assert_eq!(open(&ORIGIN, b"other"), None);
            assert_eq!(open(&Origin { run: 5, ..ORIGIN }, b"bound"), None);
            assert_eq!(open(&Origin { group: 5, ..ORIGIN }, b"bound"), None);
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", StreamKey::new(&[0x41; STREAM_KEY_BYTES])), "StreamKey(redacted)");
    }
}
