//! Members whose two formats differ.

use crate::timestamp::Timestamp;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;

/// Data: base64 in JSON, bytes in CBOR (or base64 in it, as one emulator writes).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl Visitor<'_> for Reading {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes or base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Blob, E> {
                let decoded = base64_simd::STANDARD.decode_to_vec(text);
                decoded.map(Blob).map_err(|_| E::custom("data is not base64"))
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
        }
        deserializer.deserialize_any(Reading)
    }
}

/// A time: seconds with a fraction. What CBOR has in milliseconds its reader gives as seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Seconds(f64);

impl Seconds {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and no time is negative"
    )]
    pub(crate) fn timestamp(self) -> Timestamp {
        Timestamp::from_ms((self.0 * 1_000.0).round() as u64)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Seconds)
    }
}
