//! A call as a request of HTTP, signed.

use super::error::{About, CallError, Thing};
use crate::credentials::Credentials;
use crate::endpoint::{Endpoint, Region};
use crate::http::Request;
use crate::limits;
use crate::sigv4::{Scope, Signable, sign};
use crate::timestamp::Timestamp;
use crate::wire::Format;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use std::time::Duration;

const API: &str = "Kinesis_20131202";
const AGENT: &str = concat!("headwater/", env!("CARGO_PKG_VERSION"));
const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const X_AMZ_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// What a request is made of beside the call itself.
#[derive(Debug)]
pub(super) struct Sending<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) region: &'a Region,
    pub(super) credentials: &'a Credentials,
    pub(super) time: Timestamp,
    pub(super) format: Format,
    pub(super) body: &'a Bytes,
    pub(super) timeout: Duration,
}

impl Sending<'_> {
    /// The request. The whole body is hashed here, on the thread of the caller.
    pub(super) fn request(&self, about: About<'_>) -> Result<Request, CallError> {
        let target = format!("{API}.{}", about.operation);
        let content_type = self.format.content_type();
        let headers =
            [("host", self.endpoint.host()), ("content-type", content_type), ("x-amz-target", &target)];
        let signable =
            Signable { method: "POST", path: self.endpoint.path(), headers: &headers, body: self.body };
        let scope = Scope { region: self.region.name(), service: "kinesis" };
        let signature = sign(&signable, self.credentials, scope, self.time);
        let value = |text: &str| {
            let mut value = HeaderValue::try_from(text).map_err(|_| {
                let source = self.credentials.source();
                about.local(Thing::Credentials, &format!("those of {source} are no text for a header"))
            })?;
            value.set_sensitive(true);
            Ok(value)
        };
        let mut headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (X_AMZ_TARGET, value(&target)?),
            (X_AMZ_DATE, value(&signature.date)?),
            (AUTHORIZATION, value(&signature.authorization)?),
            (USER_AGENT, HeaderValue::from_static(AGENT)),
        ];
        if let Some(token) = self.credentials.session_token() {
            headers.push((X_AMZ_TOKEN, value(token.expose())?));
        }
        Ok(Request {
            method: Method::POST,
            uri: self.endpoint.uri().clone(),
            headers,
            body: self.body.clone(),
            timeout: self.timeout,
            answer_bytes_max: limits::ANSWER_BYTES_MAX,
        })
    }
}
