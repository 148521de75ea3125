//! Bodies of requests within their bounds: they wait for room before they are read.

use crate::api::{ApiError, ErrorType};
use crate::limits;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A request body, with the room it takes until the request is answered.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// Bytes left for request bodies, over all connections.
pub(super) struct Room {
    large: Arc<Semaphore>,
    /// Apart, because who waits for much room would stand in front of those who need little.
    small: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self::of(limits::BODY_BYTES_IN_FLIGHT_MAX, limits::SMALL_BODY_BYTES_IN_FLIGHT_MAX)
    }

    fn of(large: usize, small: usize) -> Self {
        Room { large: Arc::new(Semaphore::new(large)), small: Arc::new(Semaphore::new(small)) }
    }

    async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let room = if bytes <= limits::SMALL_BODY_BYTES { &self.small } else { &self.large };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = tokio::time::timeout(limits::BODY_TIMEOUT, Arc::clone(room).acquire_many_owned(bytes));
        permit.await.ok().and_then(Result::ok).ok_or_else(|| {
            ApiError::new(ErrorType::ServiceUnavailable, "Too many requests are being received at once.")
        })
    }
}

/// Reads a body to its end.
///
/// # Errors
/// 413 when it is larger than any request can be, 408 when it comes too slowly, 503 when there is no room for it for too
/// long, `SerializationException` when the client breaks off.
pub(super) async fn read(body: Incoming, room: &Room) -> Result<Held, ApiError> {
    // What is not announced may become as large as the limit.
    let announced = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let expected = announced.unwrap_or(limits::BODY_BYTES_MAX);
    if expected > limits::BODY_BYTES_MAX {
        return Err(too_large());
    }
    let permit = room.reserve(expected).await?;
    let slow = || ApiError::new(ErrorType::RequestTimeout, "The request body came too slowly.");
    let time =
        limits::BODY_TIMEOUT + Duration::from_secs(expected as u64 / limits::BODY_BYTES_PER_SECOND_MIN);
    let bytes = tokio::time::timeout(time, collect(body, announced)).await.map_err(|_| slow())??;
    Ok(Held { bytes, _room: permit })
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

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use hyper::{Response, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_too_slowly_is_given_up_and_one_that_goes_on_is_not() {
        // A byte every so many seconds, of a body of ten.
        for (pause, expected) in [(1, "200"), (5, "408")] {
            let (ours, mut theirs) = tokio::io::duplex(1 << 16);
            let service = service_fn(|request: hyper::Request<Incoming>| async {
                let read = read(request.into_body(), &Room::new()).await;
                let status = read.map_or_else(|error| error.error.status(), |_| 200);
                Response::builder().status(status).body(Full::new(Bytes::new()))
            });
            let served = tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(ours), service));
            theirs.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n").await.unwrap();
            let (mut reading, mut writing) = tokio::io::split(theirs);
            let begun = Instant::now();
            let slow = tokio::spawn(async move {
                for _ in 0..10 {
                    tokio::time::sleep(Duration::from_secs(pause)).await;
                    if writing.write_all(b"x").await.is_err() {
                        return;
                    }
                }
            });
            let mut answer = [0; 12];
            reading.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer[9..], expected.as_bytes());
            assert_eq!(begun.elapsed().as_secs(), (10 * pause).min(limits::BODY_TIMEOUT.as_secs()));
            slow.abort();
            served.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_body_takes_room_and_small_ones_do_not_wait_behind_large_ones() {
        let room = Room::of(100_000, 2 * limits::SMALL_BODY_BYTES);
        let large = room.reserve(100_000).await.unwrap();
        let small = room.reserve(limits::SMALL_BODY_BYTES).await.unwrap();
        let second = room.reserve(limits::SMALL_BODY_BYTES).await.unwrap();
        // As many as one HTTP/2 connection likes to begin: they wait, and are told in the end.
        assert_eq!(room.reserve(1).await.err().unwrap().error, ErrorType::ServiceUnavailable);
        drop(small);
        assert!(room.reserve(limits::SMALL_BODY_BYTES).await.is_ok());
        assert_eq!(room.reserve(50_000).await.err().unwrap().error, ErrorType::ServiceUnavailable);
        drop((large, second));
        assert!(room.reserve(50_000).await.is_ok());
    }
}
