//! One request: which operation it names, who sends it, its body, its answer.

use super::answer::AnswerBody;
use super::headers::{self, RequestIds};
use super::{auth, body};
use crate::api::{ApiError, Call, ErrorType, Format, Reply, ReplyBody};
use crate::engine::Engine;
use crate::operations::{self, Operation};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;

const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
const CBOR: HeaderValue = HeaderValue::from_static("application/x-amz-cbor-1.1");
const PLAIN_JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("application/vnd.amazon.eventstream");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
/// Service and version that every target begins with.
const SERVICE: &str = "Kinesis_20131202.";

/// What all connections share.
pub(super) struct Face {
    engine: Engine,
    room: body::Room,
    ids: RequestIds,
}

impl Face {
    pub(super) fn new(engine: Engine, ids: RequestIds) -> Self {
        Face { engine, room: body::Room::new(), ids }
    }

    /// Answers one request. Counts it, and gives every answer its ids. `closed` ends with the server.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        closed: &watch::Receiver<()>,
    ) -> Response<AnswerBody> {
        let mut headers = HeaderMap::new();
        let preflight = request.method() == Method::OPTIONS && request.headers().contains_key(header::ORIGIN);
        headers::cross_origin(request.headers(), preflight, &mut headers);
        self.ids.mark(&mut headers, preflight);
        headers.insert(header::DATE, headers::date(self.engine.now_ms()));
        let mut response = if preflight {
            Response::new(AnswerBody::of_bytes(""))
        } else {
            self.operate(request, closed.clone()).await
        };
        response.headers_mut().extend(headers);
        response
    }

    async fn operate(&self, request: Request<Incoming>, closed: watch::Receiver<()>) -> Response<AnswerBody> {
        let format = format(request.headers());
        let found = find(request.method(), request.headers(), format);
        let format = format.unwrap_or(Format::Json);
        let number = found.as_ref().ok().map(|&(number, _)| number);
        let outcome = match found {
            Ok((_, operation)) => self.run(operation, request, format).await.map_err(Refusal::Error),
            Err(refusal) => Err(refusal),
        };
        let response = match outcome {
            Ok(reply) => {
                let kind = match reply.body {
                    ReplyBody::Whole(_) => kind(format),
                    ReplyBody::Events(_) => EVENTS,
                };
                answer(StatusCode::OK, kind, AnswerBody::of_reply(reply, closed))
            }
            Err(Refusal::Error(error)) => {
                answer(status(error.error), kind(format), AnswerBody::of_bytes(error.body(format)))
            }
            Err(Refusal::Xml(status, text)) => {
                let mut response = Response::new(AnswerBody::of_bytes(text.as_bytes()));
                *response.status_mut() = status;
                response
            }
            Err(Refusal::Legacy) => {
                answer(StatusCode::OK, PLAIN_JSON, AnswerBody::of_bytes(LEGACY.as_bytes()))
            }
        };
        self.engine.0.tally.call(number, response.status().as_u16());
        response
    }

    async fn run(
        &self,
        operation: &Operation,
        request: Request<Incoming>,
        format: Format,
    ) -> Result<Reply, ApiError> {
        auth::check(&request)?;
        let held = body::read(request.into_body(), &self.room).await?;
        operations::run(operation, &self.engine, Call { body: held.bytes.clone(), format }).await
    }
}

/// An answer other than that of an operation.
enum Refusal {
    Error(ApiError),
    /// AWS answers what is no API call at all in XML.
    Xml(StatusCode, &'static str),
    /// To plain JSON it answers as an older protocol did, whatever was asked, with status 200.
    Legacy,
}

const UNDETERMINED: &str = "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be \
                            authorized</Message>\n</AccessDeniedException>\n";
const LEGACY: &str = r#"{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException","message":null},"Version":"1.0"}"#;
const NEITHER: &str = "<UnknownOperationException/>\n";

fn find(
    method: &Method,
    headers: &HeaderMap,
    format: Option<Format>,
) -> Result<(usize, &'static Operation), Refusal> {
    let target = headers.get(TARGET).and_then(|target| target.to_str().ok()).unwrap_or_default();
    if method != Method::POST {
        return Err(Refusal::Xml(StatusCode::FORBIDDEN, UNDETERMINED));
    }
    if format.is_none() {
        let named =
            target.split_once('.').is_some_and(|(service, name)| !service.is_empty() && !name.is_empty());
        return Err(match content_type(headers) == PLAIN_JSON.as_bytes() {
            true => Refusal::Legacy,
            false if named => Refusal::Xml(StatusCode::NOT_FOUND, NEITHER),
            false => Refusal::Xml(StatusCode::FORBIDDEN, UNDETERMINED),
        });
    }
    let name = target.strip_prefix(SERVICE).unwrap_or_default();
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

fn answer(status: StatusCode, kind: HeaderValue, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn status(error: ErrorType) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
