//! Credentials for a device's certificate, from AWS IoT Core's credentials endpoint.
//!
//! The certificate is shown in TLS and exchanged for an hour or so of a role. Files are read anew each time: whoever
//! replaces a certificate needs to tell nobody. Not here: getting certificates.

use super::answer::{of_wrapped_answer, unreachable};
use super::cache::Fetched;
use super::fetch::Asking;
use super::{SourceError, SourceErrorKind};
use crate::http::{Http, HttpSettings, Identity, Request, Trust};
use crate::limits;
use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Uri};
use std::path::PathBuf;

const THING_NAME: HeaderName = HeaderName::from_static("x-amzn-iot-thingname");

/// A device as AWS IoT knows it, and the role it shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IotSettings {
    /// Host, and port if not 443: `c1234567890.credentials.iot.eu-west-1.amazonaws.com`.
    pub endpoint: String,
    /// The alias of the role, as AWS IoT has it.
    pub role_alias: String,
    /// The thing the certificate is attached to; needed where its policy names things.
    pub thing_name: Option<String>,
    /// The device's certificate and key.
    pub identity: Identity,
    /// Whom to trust besides the usual: a PEM file.
    pub authority: Option<PathBuf>,
}

pub(super) async fn fetch(
    settings: &IotSettings,
    source: &str,
    asking: &Asking,
) -> Result<Fetched, SourceError> {
    let wrong = |reason: String| SourceError::new(source, SourceErrorKind::Settings, reason);
    let alias = &settings.role_alias;
    if alias.is_empty() || !alias.chars().all(|c| c.is_ascii_alphanumeric() || "=,@_-".contains(c)) {
        return Err(wrong(format!("role alias is {alias:?}, must be letters, digits and =,@-_")));
    }
    let url = format!("https://{}/role-aliases/{alias}/credentials", settings.endpoint);
    let uri: Uri =
        url.parse().map_err(|_| wrong(format!("endpoint is {:?}, must be a host", settings.endpoint)))?;
    let http = client(settings, asking).map_err(|error| wrong(crate::text::with_causes(&error)))?;
    let mut headers = Vec::new();
    if let Some(thing) = &settings.thing_name {
        let value = HeaderValue::try_from(thing)
            .map_err(|_| wrong(format!("thing name is {thing:?}, which is none")))?;
        headers.push((THING_NAME, value));
    }
    let request = Request {
        method: Method::GET,
        uri,
        headers,
        body: Bytes::new(),
        timeout: limits::STS_TIMEOUT,
        answer_bytes_max: limits::CREDENTIALS_BYTES_MAX,
    };
    let answer = http.send(request).await.map_err(|error| unreachable(source, &error))?;
    of_wrapped_answer(source, &answer)
}

/// A client of its own each time: connections of one certificate must not be used for another.
fn client(settings: &IotSettings, asking: &Asking) -> Result<Http, crate::http::TrustError> {
    let trust = settings.authority.clone().map_or(Trust::Public, Trust::PublicAnd);
    let general = asking.http.settings();
    Http::new(&HttpSettings {
        trust,
        identity: Some(settings.identity.clone()),
        proxies: general.proxies.clone(),
        clock: general.clock.clone(),
        not_before: general.not_before,
        transport: general.transport.clone(),
    })
}
