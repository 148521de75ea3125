//! The body of an answer: bytes that are known, or messages as they are made.
//!
//! Invariant: an event stream runs only while the client takes what it makes, and ends with the server between two
//! messages. Over HTTP/2 answers go in pieces, so that one the client does not take is noticed (stalls).

use super::stalls::{Stalls, Turn};
use crate::api::{Events, Reply, ReplyBody};
use crate::limits;
use crate::storage::BoxFuture;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

/// The body of an answer.
pub(super) struct AnswerBody {
    /// What is known and not yet given to the connection.
    rest: Bytes,
    stream: Option<Stream>,
    turn: Option<Arc<Turn>>,
}

struct Stream {
    messages: mpsc::Receiver<Bytes>,
    /// Until it has ended.
    run: Option<BoxFuture<'static, ()>>,
    /// Resolves when the server stops.
    closing: BoxFuture<'static, ()>,
}

impl AnswerBody {
    pub(super) fn of_bytes(bytes: impl Into<Bytes>) -> Self {
        AnswerBody { rest: bytes.into(), stream: None, turn: None }
    }

    /// A reply's bytes. Their room is free again when the connection has let go of them, that is, has sent them. `closed`
    /// ends with the server.
    pub(super) fn of_reply(reply: Reply, mut closed: watch::Receiver<()>) -> Self {
        let Reply { body, permit } = reply;
        match (body, permit) {
            (ReplyBody::Whole(body), None) => AnswerBody::of_bytes(body),
            (ReplyBody::Whole(body), Some(permit)) => {
                AnswerBody::of_bytes(Bytes::from_owner(Sending { body, _room: permit }))
            }
            (ReplyBody::Events(Events { messages, run }), _) => {
                let closing = Box::pin(async move { while closed.changed().await.is_ok() {} });
                AnswerBody {
                    stream: Some(Stream { messages, run: Some(run), closing }),
                    ..AnswerBody::of_bytes("")
                }
            }
        }
    }

    /// The same, with its pieces watched.
    pub(super) fn watched(self, stalls: &Arc<Stalls>) -> Self {
        AnswerBody { turn: Some(stalls.turn()), ..self }
    }

    /// The next piece of what is known.
    fn piece(&mut self) -> Bytes {
        let Some(turn) = &self.turn else { return std::mem::take(&mut self.rest) };
        let piece = self.rest.split_to(self.rest.len().min(limits::ANSWER_PIECE_BYTES));
        turn.given(piece)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if let Some(turn) = &this.turn {
            turn.asked();
        }
        if this.rest.is_empty()
            && let Some(stream) = &mut this.stream
        {
            match stream.poll_message(cx) {
                Poll::Ready(Some(message)) => this.rest = message,
                Poll::Ready(None) => this.stream = None,
                Poll::Pending => return Poll::Pending,
            }
        }
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(this.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.stream.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.stream.is_some() { SizeHint::default() } else { SizeHint::with_exact(self.rest.len() as u64) }
    }
}

impl Stream {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        // Only `run` sends, so nothing can come while it is not polled, and no waker is needed here.
        if let Ok(message) = self.messages.try_recv() {
            return Poll::Ready(Some(message));
        }
        if self.closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let Some(run) = &mut self.run else { return Poll::Ready(None) };
        if run.as_mut().poll(cx).is_ready() {
            self.run = None;
        }
        match self.messages.try_recv() {
            Ok(message) => Poll::Ready(Some(message)),
            Err(_) if self.run.is_none() => Poll::Ready(None),
            Err(_) => Poll::Pending,
        }
    }
}

struct Sending {
    body: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Sending {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_stream_makes_nothing_before_it_is_asked_and_ends_with_its_maker() {
        let (sender, messages) = mpsc::channel(1);
        let made = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let run = Box::pin(async move {
            while let Ok(place) = sender.reserve().await {
                let i = counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                place.send(Bytes::from(vec![b'x'; 3]));
                if i == 4 {
                    return;
                }
            }
        });
        let (open, closed) = watch::channel(());
        let reply = Reply::events(Events { messages, run });
        let mut body = AnswerBody::of_reply(reply, closed);
        for i in 1..=5 {
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "xxx");
            assert_eq!(made.load(std::sync::atomic::Ordering::Relaxed), i);
        }
        assert!(body.frame().await.is_none());
        drop(open);
    }

    #[tokio::test]
    async fn a_stream_ends_when_the_server_stops() {
        let (sender, messages) = mpsc::channel(1);
        let run = Box::pin(async move {
            let _ = sender.send("one".into()).await;
            std::future::pending().await
        });
        let (open, closed) = watch::channel(());
        let mut body = AnswerBody::of_reply(Reply::events(Events { messages, run }), closed);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        drop(open);
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn watched_answers_go_in_pieces_and_come_out_the_same() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * limits::ANSWER_PIECE_BYTES + 5).collect();
        let stalls = Arc::new(Stalls::default());
        let mut body = AnswerBody::of_bytes(bytes.clone()).watched(&stalls);
        assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap());
        }
        assert_eq!((pieces.len(), pieces.concat()), (4, bytes));
    }
}
