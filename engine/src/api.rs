//! The API's wording: errors, checks against the service model, JSON and CBOR, tokens, addresses of streams.
//!
//! In: request bodies. Out: values that satisfy the service model, or the error AWS would answer; and replies.
//! Not here: what operations do (operations), HTTP (http).

pub(crate) mod address;
mod cbor;
pub(crate) mod check;
pub(crate) mod error;
pub(crate) mod eventstream;
pub(crate) mod fields;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub(crate) mod model;
pub(crate) mod put;
mod scan;
mod strict;
pub(crate) mod time;
pub(crate) mod token;
pub(crate) mod writer;

pub(crate) use error::{ApiError, ErrorType};
pub(crate) use fields::Fields;
pub(crate) use writer::Writer;

use crate::storage::BoxFuture;
use bytes::Bytes;
use std::fmt;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// How bodies are written; an answer comes in the format of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `application/x-amz-json-1.1`.
    Json,
    /// `application/x-amz-cbor-1.1`.
    Cbor,
}

/// A request that an operation runs on.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The body, whole.
    pub(crate) body: Bytes,
    /// What the body is written in.
    pub(crate) format: Format,
}

impl Call {
    /// A call in JSON.
    pub(crate) fn json(body: Bytes) -> Self {
        Call { body, format: Format::Json }
    }

    /// An empty answer in the format of the request.
    pub(crate) fn writer(&self) -> Writer {
        Writer::new(self.format)
    }
}

/// The body of a 200.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) body: ReplyBody,
    /// What the body takes of the memory set aside for large replies, held until the client took it.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// What a reply consists of.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// All of it, known when the answer begins.
    Whole(Vec<u8>),
    /// Messages of an event stream as they come.
    Events(Events),
}

/// An event stream. It makes its messages while the client takes them: whoever holds it polls `run` whenever there is no
/// message, and drops it when the client has gone. The stream ends with `run`.
pub(crate) struct Events {
    /// Whole messages, one at a time.
    pub(crate) messages: mpsc::Receiver<Bytes>,
    /// Sends them.
    pub(crate) run: BoxFuture<'static, ()>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Reply {
    /// Operations without an output answer with no body at all.
    pub(crate) fn empty() -> Self {
        Reply { body: ReplyBody::Whole(Vec::new()), permit: None }
    }

    pub(crate) fn written(answer: Writer) -> Self {
        Reply { body: ReplyBody::Whole(answer.into_bytes()), permit: None }
    }

    /// A body that holds room until the client took it.
    pub(crate) fn large(answer: Writer, permit: OwnedSemaphorePermit) -> Self {
        Reply { body: ReplyBody::Whole(answer.into_bytes()), permit: Some(permit) }
    }

    /// An event stream (`application/vnd.amazon.eventstream`).
    pub(crate) fn events(events: Events) -> Self {
        Reply { body: ReplyBody::Events(events), permit: None }
    }
}
