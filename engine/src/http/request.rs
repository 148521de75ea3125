//! One request: which operation it names, who sends it, its body, its answer.

use super::body::{self, AnswerBody};
use crate::api::{ApiError, Call, ErrorType, Format, Reply, ReplyBody};
use crate::engine::Engine;
use crate::operations::{self, Operation};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
const CBOR: HeaderValue = HeaderValue::from_static("application/x-amz-cbor-1.1");
const EVENTS: HeaderValue = HeaderValue::from_static("application/vnd.amazon.eventstream");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// Service and version that every target begins with.
const SERVICE: &str = "Kinesis_20131202.";

/// What all connections share.
pub(super) struct Face {
    engine: Engine,
    room: body::Room,
    ids: RequestIds,
}

impl Face {
    pub(super) fn new(engine: Engine) -> Self {
        Face { engine, room: body::Room::new(), ids: RequestIds::new() }
    }

    /// Answers one request. Counts it, and gives every answer an id.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let format = format(request.headers());
        let found = find(request.method(), request.headers(), format);
        let format = format.unwrap_or(Format::Json);
        let number = found.as_ref().ok().map(|&(number, _)| number);
        let outcome = match found {
            Ok((_, operation)) => self.run(operation, request, format).await.map_err(Refusal::Error),
            Err(refusal) => Err(refusal),
        };
        let mut response = match outcome {
            Ok(reply) => {
                let kind = match reply.body {
                    ReplyBody::Whole(_) => kind(format),
                    ReplyBody::Events(_) => EVENTS,
                };
                answer(StatusCode::OK, kind, AnswerBody::of_reply(reply))
            }
            Err(Refusal::Error(error)) => {
                answer(status(error.error), kind(format), AnswerBody::of_bytes(error.body(format)))
            }
            Err(Refusal::Xml(status, text)) => {
                let mut response = Response::new(AnswerBody::of_bytes(text.as_bytes()));
                *response.status_mut() = status;
                response
            }
        };
        self.engine.0.tally.call(number, response.status().as_u16());
        response.headers_mut().insert(REQUEST_ID, self.ids.next());
        response
    }

    async fn run(
        &self,
        operation: &Operation,
        request: Request<Incoming>,
        format: Format,
    ) -> Result<Reply, ApiError> {
        authenticate(&request)?;
        let held = body::read(request.into_body(), &self.room).await?;
        operations::run(operation, &self.engine, Call { body: held.bytes.clone(), format }).await
    }
}

/// An answer other than that of an operation.
enum Refusal {
    Error(ApiError),
    /// AWS answers what is no API call at all in XML.
    Xml(StatusCode, &'static str),
}

const UNDETERMINED: &str = "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be \
                            authorized</Message>\n</AccessDeniedException>\n";
const NEITHER: &str = "<UnknownOperationException/>\n";

fn find(
    method: &Method,
    headers: &HeaderMap,
    format: Option<Format>,
) -> Result<(usize, &'static Operation), Refusal> {
    let target = headers.get(TARGET).and_then(|target| target.to_str().ok());
    let Some(target) = target.filter(|_| method == Method::POST) else {
        return Err(Refusal::Xml(StatusCode::FORBIDDEN, UNDETERMINED));
    };
    let unknown = || Refusal::Error(ApiError::new(ErrorType::UnknownOperation, ""));
    let name = target.strip_prefix(SERVICE).ok_or_else(unknown)?;
    if format.is_none() {
        return Err(Refusal::Xml(StatusCode::NOT_FOUND, NEITHER));
    }
    operations::find(name).map_err(Refusal::Error)
}

/// What the request's body is written in, and the answer's will be.
fn format(headers: &HeaderMap) -> Option<Format> {
    match content_type(headers) {
        b"application/x-amz-json-1.1" => Some(Format::Json),
        b"application/x-amz-cbor-1.1" => Some(Format::Cbor),
        _ => None,
    }
}

fn kind(format: Format) -> HeaderValue {
    match format {
        Format::Json => JSON,
        Format::Cbor => CBOR,
    }
}

/// The content type without its parameters.
fn content_type(headers: &HeaderMap) -> &[u8] {
    let value = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    value.split(|&b| b == b';').next().unwrap_or_default().trim_ascii()
}

/// Requires what a signed request has. Signatures are not verified: whoever reaches the port may use it.
fn authenticate<B>(request: &Request<B>) -> Result<(), ApiError> {
    let headers = request.headers();
    let signed_query = request.uri().query().is_some_and(|query| query.contains("X-Amz-Algorithm="));
    let Some(authorization) = headers.get(header::AUTHORIZATION) else {
        let missing = || ApiError::new(ErrorType::MissingAuthenticationToken, "Missing Authentication Token");
        return if signed_query { Ok(()) } else { Err(missing()) };
    };
    let text = String::from_utf8_lossy(authorization.as_bytes());
    let mut wrong = String::new();
    for parameter in ["Credential", "Signature", "SignedHeaders"] {
        let there = text
            .split([',', ' '])
            .any(|part| part.split_once('=').is_some_and(|(name, _)| name == parameter));
        if !there {
            wrong += &format!("Authorization header requires '{parameter}' parameter. ");
        }
    }
    if !headers.contains_key(AMZ_DATE) && !headers.contains_key(header::DATE) {
        wrong += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(ErrorType::IncompleteSignature, format!("{wrong}Authorization={text}")))
}

fn answer(status: StatusCode, kind: HeaderValue, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn status(error: ErrorType) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Ids of requests, in the form of a random UUID: different in every answer, also across restarts.
struct RequestIds {
    seed: u64,
    count: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        RequestIds { seed: std::hash::RandomState::new().build_hasher().finish(), count: AtomicU64::new(0) }
    }

    fn next(&self) -> HeaderValue {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let (high, low) = (mix(self.seed ^ count), mix(self.seed.wrapping_add(count).rotate_left(32)));
        let digits = u128::from(high) << 64 | u128::from(low);
        let mut text = *b"00000000-0000-4000-8000-000000000000";
        let places = (0..text.len()).filter(|i| !matches!(i, 8 | 13 | 14 | 18 | 19 | 23));
        for (nibble, at) in places.enumerate() {
            text[at] = HEX[usize::try_from(digits >> (4 * nibble) & 15).unwrap_or(0)];
        }
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
    }
}

/// The finalizer of splitmix64: turns a counter into bits that look random.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_differ_and_look_like_uuids() {
        let ids = RequestIds::new();
        let (a, b) = (ids.next(), ids.next());
        assert_ne!(a, b);
        assert_eq!(a.len(), 36);
        assert_eq!(a.as_bytes()[14], b'4');
    }

    #[test]
    fn signed_requests_pass_and_others_are_told_what_is_missing() {
        let request = |authorization: Option<&str>, date: bool, uri: &str| {
            let mut request = Request::builder().uri(uri);
            if let Some(text) = authorization {
                request = request.header("authorization", text);
            }
            if date {
                request = request.header("x-amz-date", "20150830T123600Z");
            }
            request.body(()).unwrap()
        };
        let signed = "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00";
        assert!(authenticate(&request(Some(signed), true, "/")).is_ok());
        assert!(authenticate(&request(None, false, "/?X-Amz-Algorithm=AWS4-HMAC-SHA256")).is_ok());
        let missing = authenticate(&request(None, true, "/")).unwrap_err();
        assert_eq!(missing.error, ErrorType::MissingAuthenticationToken);
        let half = authenticate(&request(Some("AWS4-HMAC-SHA256 Credential=a"), false, "/")).unwrap_err();
        assert_eq!(half.error, ErrorType::IncompleteSignature);
        assert!(half.message.contains("'Signature'") && half.message.contains("X-Amz-Date"));
    }
}
