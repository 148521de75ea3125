//! The API's wording: errors, checks against the service model, JSON, tokens, addresses of streams.
//!
//! In: request bodies. Out: values that satisfy the service model, or the error AWS would answer; and replies.
//! Not here: what operations do (operations), HTTP (http).

pub(crate) mod address;
pub(crate) mod check;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod json;
pub(crate) mod model;
pub(crate) mod scan;
pub(crate) mod time;
pub(crate) mod token;

pub(crate) use error::{ApiError, ErrorType};
pub(crate) use fields::Fields;
pub(crate) use json::Json;

use tokio::sync::OwnedSemaphorePermit;

/// The body of a 200.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) body: Vec<u8>,
    /// What the body takes of the memory set aside for large replies, held until the client took it.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl Reply {
    /// Operations without an output answer with no body at all.
    pub(crate) fn empty() -> Self {
        Reply::default()
    }

    pub(crate) fn json(json: Json) -> Self {
        Reply { body: json.into_bytes(), permit: None }
    }
}
