//! Thirty-two secret bytes: where they come from, and how one secret wraps another.
//!
//! In: the machine's randomness, text from files. Out: secrets that are wiped when they are dropped and never shown, and
//! wrapped ones that say nothing without the secret they were wrapped with. Invariant: a wrapped secret opens only for what
//! it was wrapped for. Not here: files (file, vault).

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of a secret: the keys of both ciphers have as many.
pub(crate) const SECRET_BYTES: usize = 32;
/// What sealing adds.
const TAG_BYTES: usize = 16;

/// A secret, wiped from memory when it is dropped.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<[u8; SECRET_BYTES]>);

impl Secret {
    /// A secret nobody had before. `None` when the machine gives no randomness.
    pub(crate) fn random() -> Option<Secret> {
        let mut secret = Secret(Zeroizing::new([0; SECRET_BYTES]));
        SystemRandom::new().fill(&mut secret.0[..]).ok()?;
        Some(secret)
    }

    /// The secret that [`Secret::text`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Secret> {
        let bytes = Zeroizing::new(base64_simd::STANDARD.decode_to_vec(text).ok()?);
        let mut secret = Secret(Zeroizing::new([0; SECRET_BYTES]));
        if bytes.len() != SECRET_BYTES {
            return None;
        }
        secret.0.copy_from_slice(&bytes);
        Some(secret)
    }

    /// The secret in base64.
    pub(crate) fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64_simd::STANDARD.encode_to_string(&self.0[..]))
    }

    /// The bytes, for whoever seals with them.
    pub(crate) fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// Wraps `inner`, bound to `purpose`. `None` when the machine gives no randomness.
    pub(crate) fn wrap(&self, inner: &Secret, purpose: &[u8]) -> Option<Wrapped> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = [0; SECRET_BYTES + TAG_BYTES];
        let mut text = Zeroizing::new(*inner.0);
        // A random nonce: one secret wraps far fewer than the 2^32 keys that would make a repeat likely.
        let tag = self.key()?.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(purpose),
            &mut text[..],
        );
        sealed[..SECRET_BYTES].copy_from_slice(&text[..]);
        sealed[SECRET_BYTES..].copy_from_slice(tag.ok()?.as_ref());
        Some(Wrapped { nonce, sealed })
    }

    /// The secret in `wrapped`; `None` unless it was wrapped by this secret for this purpose.
    pub(crate) fn unwrap(&self, wrapped: &Wrapped, purpose: &[u8]) -> Option<Secret> {
        let mut text = Zeroizing::new(wrapped.sealed);
        let nonce = Nonce::assume_unique_for_key(wrapped.nonce);
        let opened = self.key()?.open_in_place(nonce, Aad::from(purpose), &mut text[..]).ok()?;
        let mut secret = Secret(Zeroizing::new([0; SECRET_BYTES]));
        secret.0.copy_from_slice(opened);
        Some(secret)
    }

    fn key(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&CHACHA20_POLY1305, &self.0[..]).ok().map(LessSafeKey::new)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// A secret that only another one opens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wrapped {
    nonce: [u8; NONCE_LEN],
    sealed: [u8; SECRET_BYTES + TAG_BYTES],
}

impl Wrapped {
    /// As text: base64 of nonce, sealed secret and tag.
    pub(crate) fn text(&self) -> String {
        base64_simd::STANDARD.encode_to_string([&self.nonce[..], &self.sealed[..]].concat())
    }

    /// What [`Wrapped::text`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Wrapped> {
        let bytes = base64_simd::STANDARD.decode_to_vec(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk()?;
        Some(Wrapped { nonce: *nonce, sealed: sealed.try_into().ok()? })
    }
}

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wrapped")
    }
}

/// A new identifier in the form of a version 4 UUID. `None` when the machine gives no randomness.
pub(crate) fn random_id() -> Option<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let id = u128::from_be_bytes(bytes);
    let hex = format!("{id:032x}");
    Some(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_secret_opens_only_with_its_wrapper_and_for_its_purpose() {
        let (master, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        let inner = Secret::random().unwrap();
        let wrapped = master.wrap(&inner, b"stream 1").unwrap();
        assert_ne!(wrapped, master.wrap(&inner, b"stream 1").unwrap(), "a nonce of its own each time");
        let read = Wrapped::parse(&wrapped.text()).unwrap();
        assert_eq!(master.unwrap(&read, b"stream 1").unwrap().bytes(), inner.bytes());
        assert!(master.unwrap(&read, b"stream 2").is_none());
        assert!(other.unwrap(&read, b"stream 1").is_none());
        let text = wrapped.text();
        assert!(Wrapped::parse(&text[..text.len() - 4]).is_none() && Wrapped::parse("?").is_none());
    }

    #[test]
    fn secrets_are_not_shown_and_come_back_from_text() {
        let secret = Secret::random().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
        assert_eq!(Secret::parse(&secret.text()).unwrap().bytes(), secret.bytes());
        assert!(Secret::parse("AAAA").is_none() && Secret::parse("not base64").is_none());
    }

    #[test]
    fn identifiers_have_the_form_of_random_uuids() {
        let id = random_id().unwrap();
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(&id[14..15] == "4" && "89ab".contains(&id[19..20]), "{id}");
        assert_ne!(id, random_id().unwrap());
    }
}
