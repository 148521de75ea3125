//! Requests over HTTP/1.1: one out, one bounded answer back.
//!
//! In: a request whole in memory. Out: status, headers and body, with the times of both ends, or why there is none and
//! whether the server may have seen the request. Invariants: an answer larger than its limit is not read on; nothing waits
//! without a time limit; nothing is sent twice on its own and no redirect is followed, for what is sent is signed.
//! Connections are kept and used again. Not here: what is in a request (kinesis, credentials).

mod connect;
mod error;
mod held;
mod transport;
mod trust;

pub use error::{HttpError, HttpErrorKind};
pub use transport::{Connecting, Io, Transport};
pub use trust::{HttpSettings, Identity, Trust, TrustError};

use crate::clock::{Clock, Now};
use crate::limits;
use crate::timestamp::Timestamp;
use bytes::Bytes;
use connect::Connector;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{DATE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use zeroize::Zeroizing;

/// A client for any number of servers. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client<Connector, Outgoing>,
    settings: Arc<HttpSettings>,
}

/// What goes out.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    /// From now until the whole answer is here.
    pub(crate) timeout: Duration,
    pub(crate) answer_bytes_max: usize,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// May hold credentials, hence zeroed.
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// When the request went out and when the head of the answer came.
    pub(crate) sent: Now,
    pub(crate) received: Now,
}

impl Answer {
    /// What time the server says it is.
    pub(crate) fn date(&self) -> Option<Timestamp> {
        self.header(&DATE).and_then(Timestamp::parse_http)
    }

    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Http {
    /// Prepares a client; connects to nothing yet. Reads certificates from files.
    ///
    /// # Errors
    /// [`TrustError`], with the file.
    pub fn new(settings: &HttpSettings) -> Result<Self, TrustError> {
        let connector = Connector::new(settings)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits::IDLE_TIMEOUT)
            .pool_max_idle_per_host(limits::IDLE_CONNECTIONS_MAX)
            .http1_max_headers(limits::ANSWER_FIELDS_MAX)
            .build(connector);
        Ok(Http { client, settings: Arc::new(settings.clone()) })
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.settings.clock
    }

    pub(crate) fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    pub(crate) async fn send(&self, request: Request) -> Result<Answer, HttpError> {
        let host = request.uri.authority().map(ToString::to_string).unwrap_or_default();
        let taken = Arc::new(AtomicBool::new(false));
        let answer = tokio::time::timeout(request.timeout, self.exchange(request, &taken)).await;
        let failed = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failed)) => failed,
            Err(_) => error::Failed::Timeout,
        };
        Err(HttpError::new(host, failed, taken.load(Ordering::Relaxed)))
    }

    async fn exchange(&self, request: Request, taken: &Arc<AtomicBool>) -> Result<Answer, error::Failed> {
        let bytes_max = request.answer_bytes_max;
        let body = Outgoing { body: Some(request.body), taken: Arc::clone(taken) };
        let mut outgoing = hyper::Request::new(body);
        *outgoing.method_mut() = request.method;
        *outgoing.uri_mut() = request.uri;
        for (name, value) in request.headers {
            outgoing.headers_mut().append(name, value);
        }
        let sent = self.clock().now();
        let answer = self.client.request(outgoing).await.map_err(error::Failed::Exchange)?;
        let received = self.clock().now();
        let (head, incoming) = answer.into_parts();
        let body = collect(incoming, bytes_max).await?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body, sent, received })
    }
}

/// Reads up to a limit. What is announced to be larger is not read at all.
async fn collect(mut incoming: Incoming, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, error::Failed> {
    let announced = usize::try_from(incoming.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(error::Failed::TooLarge(bytes_max));
    }
    let mut body = Zeroizing::new(Vec::with_capacity(announced));
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(error::Failed::Answer)?.into_data() else { continue };
        if body.len() + data.len() > bytes_max {
            return Err(error::Failed::TooLarge(bytes_max));
        }
        body.extend_from_slice(&data);
    }
    Ok(body)
}

/// A body that remembers whether any of it was given to a connection: only then may the server have seen it.
#[derive(Debug)]
struct Outgoing {
    body: Option<Bytes>,
    taken: Arc<AtomicBool>,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.taken.store(true, Ordering::Relaxed);
        Poll::Ready(self.body.take().filter(|body| !body.is_empty()).map(|body| Ok(Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.as_ref().map_or(0, |body| body.len() as u64))
    }
}
