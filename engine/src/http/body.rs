//! Bodies within their bounds: requests wait for room before they are read, replies hold theirs until they are sent.

use crate::api::{ApiError, ErrorType, Reply};
use crate::limits;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A request body, with the room it takes until the request is answered.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Bodies up to this size are read without waiting for room: all connections together hold 16 MiB of them at most.
const SMALL_BODY_BYTES: usize = 16 << 10;
const _: () = assert!(SMALL_BODY_BYTES * limits::CONNECTIONS_MAX <= 16 << 20);

/// Reads a body to its end.
///
/// # Errors
/// 413 when it is larger than any request can be, 408 when it comes too slowly, 503 when there is no room for it for too
/// long, `SerializationException` when the client breaks off.
pub(super) async fn read(body: Incoming, room: &Arc<Semaphore>) -> Result<Held, ApiError> {
    // What is not announced may become as large as the limit.
    let announced = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let expected = announced.unwrap_or(limits::BODY_BYTES_MAX);
    if expected > limits::BODY_BYTES_MAX {
        return Err(too_large());
    }
    let permit = if expected <= SMALL_BODY_BYTES { None } else { Some(reserve(room, expected).await?) };
    let slow = || ApiError::new(ErrorType::RequestTimeout, "The request body came too slowly.");
    let time =
        limits::BODY_TIMEOUT + Duration::from_secs(expected as u64 / limits::BODY_BYTES_PER_SECOND_MIN);
    let bytes = tokio::time::timeout(time, collect(body, announced)).await.map_err(|_| slow())??;
    Ok(Held { bytes, _room: permit })
}

async fn reserve(room: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    let permit = tokio::time::timeout(limits::BODY_TIMEOUT, Arc::clone(room).acquire_many_owned(bytes)).await;
    permit.ok().and_then(Result::ok).ok_or_else(|| {
        ApiError::new(ErrorType::ServiceUnavailable, "Too many large requests are being received at once.")
    })
}

async fn collect(mut body: Incoming, announced: Option<usize>) -> Result<Bytes, ApiError> {
    let mut first = Bytes::new();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let broken = |_| ApiError::serialization("The request body ended early.");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        // Most bodies come in one piece, which is not copied.
        if first.is_empty() && rest.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.reserve(announced.unwrap_or(0).max(first.len() + data.len()));
            rest.extend_from_slice(&first);
        }
        if rest.len() + data.len() > limits::BODY_BYTES_MAX {
            return Err(too_large());
        }
        rest.extend_from_slice(&data);
    }
    Ok(if rest.is_empty() { first } else { rest.into() })
}

fn too_large() -> ApiError {
    let limit = limits::BODY_BYTES_MAX;
    ApiError::new(ErrorType::RequestEntityTooLarge, format!("The request body is larger than {limit} bytes."))
}

/// A reply's bytes. Their room is free again when the connection has let go of them, that is, has sent them.
pub(super) fn of_reply(reply: Reply) -> Full<Bytes> {
    let Reply { body, permit } = reply;
    match permit {
        None => Full::new(body.into()),
        Some(permit) => Full::new(Bytes::from_owner(Sending { body, _room: permit })),
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
