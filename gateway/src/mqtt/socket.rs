//! Reading from and closing a socket, for many connections with little memory.

use super::limits::{READ_BYTES, READ_BYTES_PRESSED};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::ready;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// After our goodbye: time for the client to read it before the socket is gone.
pub(super) const LINGER: Duration = Duration::from_millis(250);

thread_local! {
    /// Where reads land first: idle connections need no buffer, and only what was read is copied.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Appends at most `limit` bytes to `buffer`. Cancel-safe; holds no memory while it waits.
pub(super) async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
    std::future::poll_fn(|context| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(&mut scratch[..limit]);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
            buffer.extend_from_slice(read.filled());
            std::task::Poll::Ready(Ok(read.filled().len()))
        })
    })
    .await
}

/// Closes our side and reads on for a moment: closing with unread input would reset the connection, and the client
/// would lose the reason we just sent.
pub(super) async fn linger(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
    let drain = async {
        let mut ignored = Vec::new();
        while read(stream, &mut ignored, READ_BYTES_PRESSED).await.unwrap_or(0) > 0 {
            ignored.clear();
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}
