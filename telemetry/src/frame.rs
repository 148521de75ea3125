//! Bytes on the wire and in flash.
//!
//! ```text
//! body   | message (postcard)              | CRC-32/ISCSI of it, little endian |   <= 512 bytes
//!        |   = MQTT payload, = flash record                                    |
//! frame  | body, COBS-stuffed: no zero byte in it                     | 0x00   |   <= 516 bytes
//! ```
//! In: messages, or a byte stream with damage. Out: bytes, or bodies. Invariants: a frame has exactly one zero byte,
//! its last; a damaged frame costs at most the frame after it; nothing from outside panics.
//! Not here: what a message means.

use crate::limits::{BODY_BYTES_MAX, CHECKSUM_BYTES, FRAME_BYTES_MAX};
use core::fmt;
use serde::{Serialize, de::DeserializeOwned};

/// Why bytes are not a message, or a message not bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Longer than the limit, or than the buffer given.
    TooLong,
    /// The COBS codes do not add up: bytes were lost or changed.
    Cobs,
    /// The checksum does not match: bytes were lost or changed.
    Checksum,
    /// The checksum matches but the message is not known here: a newer peer. Skip and count.
    Unknown,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "frame is longer than its limit",
            Self::Cobs => "frame has byte-stuffing codes that do not add up",
            Self::Checksum => "frame has a checksum that does not match",
            Self::Unknown => "frame is whole but holds a message that this version does not know",
        })
    }
}

impl core::error::Error for FrameError {}

/// Encodes a message as a body: postcard and checksum.
///
/// # Errors
/// [`FrameError::TooLong`] when it exceeds `buf` or [`BODY_BYTES_MAX`].
pub fn encode_body<'b, T: Serialize>(message: &T, buf: &'b mut [u8]) -> Result<&'b [u8], FrameError> {
    let room = buf.len().min(BODY_BYTES_MAX);
    let bytes = postcard::to_slice_crc32(message, &mut buf[..room], CRC.digest());
    bytes.map(|bytes| &*bytes).map_err(|_| FrameError::TooLong)
}

/// Decodes a body.
///
/// # Errors
/// [`FrameError::Checksum`] for damage, [`FrameError::Unknown`] for a whole body that is no `T`,
/// [`FrameError::TooLong`] beyond [`BODY_BYTES_MAX`].
pub fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(FrameError::TooLong);
    }
    let Some((message, checksum)) = body.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(FrameError::Checksum);
    };
    if CRC.checksum(message).to_le_bytes() != *checksum {
        return Err(FrameError::Checksum);
    }
    match postcard::take_from_bytes(message) {
        // Structs are frozen, so bytes left over mean another version, not a longer message.
        Ok((value, [])) => Ok(value),
        _ => Err(FrameError::Unknown),
    }
}

/// Encodes a message as a frame, delimiter included.
///
/// # Errors
/// [`FrameError::TooLong`] when it exceeds `buf` or [`BODY_BYTES_MAX`].
pub fn encode_frame<'b, T: Serialize>(message: &T, buf: &'b mut [u8]) -> Result<&'b [u8], FrameError> {
    let mut scratch = [0u8; BODY_BYTES_MAX];
    frame_body(encode_body(message, &mut scratch)?, buf)
}

/// Makes a frame of a body that is already encoded (from flash, say), delimiter included.
///
/// # Errors
/// [`FrameError::TooLong`] when it exceeds `buf` or [`BODY_BYTES_MAX`].
pub fn frame_body<'b>(body: &[u8], buf: &'b mut [u8]) -> Result<&'b [u8], FrameError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(FrameError::TooLong);
    }
    let len = stuff(body, buf).ok_or(FrameError::TooLong)?;
    Ok(&buf[..len])
}

/// COBS: each code byte tells how far the next one is; a zero stood there, except after a full run of 254.
fn stuff(body: &[u8], out: &mut [u8]) -> Option<usize> {
    let (mut code_at, mut code, mut len) = (0, 1u8, 1);
    for &byte in body {
        if code == u8::MAX {
            *out.get_mut(code_at)? = code;
            (code_at, code, len) = (len, 1, len + 1);
        }
        if byte == 0 {
            *out.get_mut(code_at)? = code;
            (code_at, code, len) = (len, 1, len + 1);
        } else {
            *out.get_mut(len)? = byte;
            code += 1;
            len += 1;
        }
    }
    *out.get_mut(code_at)? = code;
    *out.get_mut(len)? = 0;
    Some(len + 1)
}

/// Splits a byte stream into bodies. Finds the next frame by itself after garbage.
#[derive(Clone, Debug)]
pub struct Deframer {
    buf: [u8; FRAME_BYTES_MAX - 1],
    len: usize,
    overrun: bool,
}

impl Default for Deframer {
    fn default() -> Self {
        Self::new()
    }
}

impl Deframer {
    /// At the start of a stream.
    pub const fn new() -> Self {
        Self { buf: [0; FRAME_BYTES_MAX - 1], len: 0, overrun: false }
    }

    /// Takes one byte; gives the body when it completes a frame. The checksum is not looked at here:
    /// [`decode_body`] does. Empty frames are skipped, so a zero byte may be sent at any time to end what was
    /// broken off.
    pub fn push(&mut self, byte: u8) -> Option<Result<&[u8], FrameError>> {
        if byte != 0 {
            match self.buf.get_mut(self.len) {
                Some(slot) => {
                    *slot = byte;
                    self.len += 1;
                }
                None => self.overrun = true,
            }
            return None;
        }
        let (len, overrun) = (self.len, self.overrun);
        self.reset();
        if len == 0 {
            return None;
        }
        if overrun {
            return Some(Err(FrameError::TooLong));
        }
        Some(match unstuff(&mut self.buf[..len]) {
            Some(len) => Ok(&self.buf[..len]),
            None => Err(FrameError::Cobs),
        })
    }

    /// Forgets a partial frame, as for a new connection.
    pub fn reset(&mut self) {
        self.len = 0;
        self.overrun = false;
    }
}

/// Decodes one frame without its delimiter in place.
fn unstuff(buf: &mut [u8]) -> Option<usize> {
    let (mut read, mut write) = (0, 0);
    while let Some(&code) = buf.get(read) {
        let end = read + usize::from(code);
        if code == 0 || end > buf.len() {
            return None;
        }
        buf.copy_within(read + 1..end, write);
        write += usize::from(code) - 1;
        read = end;
        if code != u8::MAX && read < buf.len() {
            buf[write] = 0;
            write += 1;
        }
    }
    Some(write)
}

pub(crate) const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
