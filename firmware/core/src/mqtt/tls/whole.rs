//! Records that hold something.
//!
//! In: the bytes of a transport. Out: the same, up to a record that is too short. Invariant: no encrypted record without
//! content reaches embedded-tls 0.19, which panics at one; anybody on the way can send one. Not here: what records hold.

use embedded_io_async::{ErrorType, Read, Write};

/// Type, version, length (RFC 8446, 5.1).
const HEADER_BYTES: usize = 5;

/// The outer type of an encrypted record.
const APPLICATION_DATA: u8 = 23;

/// The least in an encrypted record: the type of what is in it, and the tag of the cipher.
const ENCRYPTED_BYTES_MIN: usize = 1 + 16;

/// A transport that ends before a record without content.
#[derive(Debug)]
pub struct Whole<S> {
    transport: S,
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that came.
    known: usize,
    /// Bytes of the record that are still to come.
    left: usize,
    is_over: bool,
}

impl<S> Whole<S> {
    pub(super) fn new(transport: S) -> Self {
        Self { transport, header: [0; HEADER_BYTES], known: 0, left: 0, is_over: false }
    }

    /// Bytes that may be read at once: never from one part of a record into the next.
    fn most(&self) -> usize {
        if self.left > 0 { self.left } else { HEADER_BYTES - self.known }
    }

    fn handle(&mut self, bytes: &[u8]) {
        if self.left > 0 {
            self.left -= bytes.len();
            return;
        }
        self.header[self.known..self.known + bytes.len()].copy_from_slice(bytes);
        self.known += bytes.len();
        if self.known == HEADER_BYTES {
            let [kind, _, _, high, low] = self.header;
            (self.known, self.left) = (0, u16::from_be_bytes([high, low]).into());
            self.is_over = kind == APPLICATION_DATA && self.left < ENCRYPTED_BYTES_MIN;
        }
    }
}

impl<S: ErrorType> ErrorType for Whole<S> {
    type Error = S::Error;
}

impl<S: Read> Read for Whole<S> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, S::Error> {
        if self.is_over {
            return Ok(0);
        }
        let most = buf.len().min(self.most());
        let count = self.transport.read(&mut buf[..most]).await?;
        self.handle(&buf[..count]);
        // The header of a bad record is not handed out either.
        Ok(if self.is_over { 0 } else { count })
    }
}

impl<S: Write> Write for Whole<S> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, S::Error> {
        self.transport.write(buf).await
    }

    async fn flush(&mut self) -> Result<(), S::Error> {
        self.transport.flush().await
    }
}
