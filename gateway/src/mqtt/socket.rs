//! Reading from, writing to and closing a socket, plain or TLS, for many connections with little memory.

use super::limits::{READ_BYTES, READ_BYTES_PRESSED};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// After our goodbye: time for the client to read it before the socket is gone.
pub(super) const LINGER: Duration = Duration::from_millis(250);

thread_local! {
    /// Where reads land first: idle connections need no buffer, and only what was read is copied.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// A client's socket.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(TcpStream),
    /// Boxed: its state is ten times that of a plain one.
    Tls(Box<TlsStream<TcpStream>>),
    /// Of a simulation.
    #[cfg(feature = "simulation")]
    Memory(tokio::io::DuplexStream),
}

impl Socket {
    /// Writes what there is room for.
    ///
    /// # Errors
    /// `WouldBlock` when there is none: await [`Socket::writable`].
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_write(bytes),
            Self::Tls(stream) => now(|context| Pin::new(&mut **stream).poll_write(context, bytes)),
            #[cfg(feature = "simulation")]
            Self::Memory(stream) => now(|context| Pin::new(stream).poll_write(context, bytes)),
        }
    }

    /// Sends what was written and still waits in the TLS session.
    ///
    /// # Errors
    /// `WouldBlock` when not all of it went: await [`Socket::writable`].
    pub(super) fn try_flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => now(|context| Pin::new(&mut **stream).poll_flush(context)),
            #[cfg(feature = "simulation")]
            Self::Memory(_) => Ok(()),
        }
    }

    /// Waits until the system takes bytes again. Cancel-safe.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.writable().await,
            Self::Tls(stream) => stream.get_ref().0.writable().await,
            // It tells nobody: look again in a moment.
            #[cfg(feature = "simulation")]
            Self::Memory(_) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(())
            }
        }
    }

    /// Writes all of a goodbye and closes our side.
    pub(super) async fn finish(&mut self, goodbye: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(goodbye).await,
            Self::Tls(stream) => {
                stream.write_all(goodbye).await?;
                stream.flush().await
            }
            #[cfg(feature = "simulation")]
            Self::Memory(stream) => stream.write_all(goodbye).await,
        }
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
            #[cfg(feature = "simulation")]
            Self::Memory(stream) => stream.shutdown().await,
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, read),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, read),
            #[cfg(feature = "simulation")]
            Self::Memory(stream) => Pin::new(stream).poll_read(context, read),
        }
    }
}

/// What `poll` has to say now; nobody is woken later, which is what [`Socket::writable`] is for.
fn now<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>) -> io::Result<T> {
    match poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Appends at most `limit` bytes to `buffer`. Cancel-safe; holds no memory while it waits.
pub(super) async fn read(stream: &mut Socket, buffer: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
    std::future::poll_fn(|context| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(&mut scratch[..limit]);
            ready!(stream.poll_read(context, &mut read))?;
            buffer.extend_from_slice(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        })
    })
    .await
}

/// Closes our side and reads on for a moment: closing with unread input would reset the connection, and the client
/// would lose the reason we just sent.
pub(super) async fn linger(stream: &mut Socket) {
    let _ = stream.shutdown().await;
    let drain = async {
        let mut ignored = Vec::new();
        while read(stream, &mut ignored, READ_BYTES_PRESSED).await.unwrap_or(0) > 0 {
            ignored.clear();
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}
