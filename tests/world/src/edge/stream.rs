//! Streams in memory between machines, read and written between two ticks.
//!
//! In: one end of a stream whose other end a task has. Out: what is there now; nothing waits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// Bytes that wait in one direction before whoever writes must wait: some tens of packets.
pub(super) const ROOM_BYTES: usize = 64 * 1024;

/// Everything that can be read now, and whether the stream ends behind it.
pub(super) fn read_now(stream: &mut DuplexStream) -> (Vec<u8>, bool) {
    let (mut bytes, mut piece) = (Vec::new(), [0u8; 4096]);
    loop {
        let mut read = ReadBuf::new(&mut piece);
        match Pin::new(&mut *stream).poll_read(&mut now(), &mut read) {
            Poll::Pending => return (bytes, false),
            Poll::Ready(Ok(())) if !read.filled().is_empty() => bytes.extend_from_slice(read.filled()),
            Poll::Ready(_) => return (bytes, true),
        }
    }
}

/// How many of the bytes there is room for now.
///
/// # Errors
/// The other end is gone.
pub(super) fn write_now(stream: &mut DuplexStream, bytes: &[u8]) -> io::Result<usize> {
    match Pin::new(stream).poll_write(&mut now(), bytes) {
        Poll::Pending => Ok(0),
        Poll::Ready(written) => written,
    }
}

fn now() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
