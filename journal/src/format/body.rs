//! What stands before the text of a run that is compressed or sealed.
//!
//! In: fields, or the first bytes of a stored body. Out: bytes, or checked fields. Drawn in the parent module.
//! Invariant: everything a keyless reader must know (the time of the last record, lengths, where the key comes from) is in the open, so
//! recovery, footers and copies need no key; a sealed run carries the place it was sealed for, so it can be copied as it is.
//! Not here: compression and ciphers (`core::coder`, `keys`).

use crate::bytes::Fields;
use crate::keys::Cipher;
use crate::limits::RUN_BYTES_MAX;

/// Bytes before the text of a run that is only compressed.
pub(crate) const FRONT_BYTES: usize = 8;
/// Bytes before the text of a sealed run.
pub(crate) const SEALED_FRONT_BYTES: usize = 48;
/// Bytes behind it: the proof that neither text nor header were changed.
pub(crate) const TAG_BYTES: usize = 16;
/// What sealing adds to a run at most.
pub(crate) const SEAL_BYTES: usize = SEALED_FRONT_BYTES + TAG_BYTES;

const LZ4: u16 = 0x0001;
const AES_256_GCM: u16 = 0x0010;
const CHACHA20_POLY1305: u16 = 0x0020;

/// Bytes that one byte of an LZ4 block can stand for at most.
pub(crate) const LZ4_RATIO_MAX: usize = 255;

/// How a body is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) lz4: bool,
    pub(crate) cipher: Option<Cipher>,
}

impl Form {
    /// `None` for flags of a newer program.
    pub(crate) fn of(flags: u16, key_id: u16) -> Option<Self> {
        let lz4 = flags & LZ4 != 0;
        let cipher = match flags & !LZ4 {
            // A key without a cipher: something that this program does not know.
            0 if key_id != 0 => return None,
            0 => None,
            AES_256_GCM => Some(Cipher::Aes256Gcm),
            CHACHA20_POLY1305 => Some(Cipher::ChaCha20Poly1305),
            _ => return None,
        };
        Some(Self { lz4, cipher })
    }

    pub(crate) fn flags(self) -> u16 {
        let cipher = match self.cipher {
            None => 0,
            Some(Cipher::Aes256Gcm) => AES_256_GCM,
            Some(Cipher::ChaCha20Poly1305) => CHACHA20_POLY1305,
        };
        cipher | if self.lz4 { LZ4 } else { 0 }
    }

    pub(crate) fn is_plain(self) -> bool {
        self == Self::default()
    }

    /// Bytes before the text.
    pub(crate) fn front_bytes(self) -> usize {
        match self {
            Self { cipher: Some(_), .. } => SEALED_FRONT_BYTES,
            Self { lz4: true, .. } => FRONT_BYTES,
            _ => 0,
        }
    }
}

/// Where a run was sealed: what its key and its nonce are made of, wherever it is copied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) lane: u128,
    /// Of the segment.
    pub(crate) salt: u64,
    pub(crate) group: u64,
    /// Index in the group.
    pub(crate) run: u32,
}

/// The open part of a stored body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Front {
    /// From the base to the last record.
    pub(crate) span_ms: u32,
    /// Length of the records as they are read.
    pub(crate) raw: u32,
    /// Origin and key check of a sealed run.
    pub(crate) seal: Option<(Origin, u32)>,
}

impl Front {
    pub(crate) fn encode(&self) -> ([u8; SEALED_FRONT_BYTES], usize) {
        let mut out = [0; SEALED_FRONT_BYTES];
        out[..4].copy_from_slice(&self.span_ms.to_le_bytes());
        out[4..8].copy_from_slice(&self.raw.to_le_bytes());
        let Some((origin, check)) = &self.seal else { return (out, FRONT_BYTES) };
        out[8..24].copy_from_slice(&origin.lane.to_le_bytes());
        out[24..32].copy_from_slice(&origin.salt.to_le_bytes());
        out[32..40].copy_from_slice(&origin.group.to_le_bytes());
        out[40..44].copy_from_slice(&origin.run.to_le_bytes());
        out[44..].copy_from_slice(&check.to_le_bytes());
        (out, SEALED_FRONT_BYTES)
    }

    /// `None` when the bytes cannot be such a body: too short, or records that no run and no such text can hold.
    pub(crate) fn decode(form: Form, body: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(body.get(..form.front_bytes())?);
        let (span_ms, raw) = (fields.u32()?, fields.u32()?);
        let sealed = form.cipher.is_some();
        let text = (body.len() - form.front_bytes()).checked_sub(if sealed { TAG_BYTES } else { 0 })?;
        let length = crate::format::index(raw);
        let fits = if form.lz4 { length / LZ4_RATIO_MAX <= text } else { length == text };
        if length == 0 || length > RUN_BYTES_MAX || !fits {
            return None;
        }
        if !sealed {
            return Some(Self { span_ms, raw, seal: None });
        }
        let lane = fields.array().map(u128::from_le_bytes)?;
        let origin = Origin { lane, salt: fields.u64()?, group: fields.u64()?, run: fields.u32()? };
        Some(Self { span_ms, raw, seal: Some((origin, fields.u32()?)) })
    }
}

/// Milliseconds from the base to the last record of a body that is not plain, by any program: they always come first.
pub(crate) fn span_ms(body: &[u8]) -> u32 {
    Fields::new(body).u32().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_survive_the_round_trip_and_unknown_ones_are_refused() {
        let mut known = 0;
        for flags in 0..=u16::MAX {
            if let Some(form) = Form::of(flags, 7) {
                assert_eq!(form.flags(), flags);
                assert!(form.cipher.is_some(), "a key id without a cipher");
                known += 1;
            }
        }
        assert_eq!(known, 4);
        assert_eq!(Form::of(0, 0), Some(Form::default()));
        assert_eq!(Form::of(1, 0), Some(Form { lz4: true, cipher: None }));
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_before_memory_is_taken() {
        let body =
            |raw: u32, text: usize| [&0u32.to_le_bytes()[..], &raw.to_le_bytes(), &vec![0; text]].concat();
        let lz4 = Form { lz4: true, cipher: None };
        assert!(Front::decode(lz4, &body(2550, 10)).is_some());
        assert_eq!(Front::decode(lz4, &body(1 << 20, 10)), None, "more than LZ4 can unfold");
        assert_eq!(Front::decode(lz4, &body(u32::MAX, 1 << 25)), None, "more than a run may have");
        assert_eq!(Front::decode(lz4, &body(0, 10)), None);
        assert_eq!(Front::decode(lz4, &[0; 7]), None);
        let sealed = Form { lz4: false, cipher: Some(Cipher::Aes256Gcm) };
        assert_eq!(Front::decode(sealed, &[0; SEALED_FRONT_BYTES + TAG_BYTES - 1]), None);
    }
}
