//! Credentials of an EC2 instance's role, from its metadata service, version 2.
//!
//! A session token is fetched by PUT and shown by every GET. Version 1, without the token, is not spoken: a program that
//! can be talked into fetching a URL could hand these credentials out.

use super::answer::{expect_ok, of_answer, unreachable};
use super::cache::Fetched;
use super::fetch::Asking;
use super::{SourceError, SourceErrorKind};
use crate::http::{Answer, Request};
use crate::limits;
use crate::secret::Secret;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const SOURCE: &str = "instance";
const ENDPOINT: &str = "http://169.254.169.254";
const ENDPOINT_IPV6: &str = "http://[fd00:ec2::254]";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
/// Six hours, the longest there is.
const TTL_SECONDS: u32 = 21_600;
/// A token is not used in its last minute.
const TTL_MARGIN: Duration = Duration::from_secs(60);

/// The token, with the uptime of its end.
#[derive(Debug, Default)]
pub(super) struct Session(Mutex<Option<(Secret, Duration)>>);

pub(super) async fn fetch(asking: &Asking) -> Result<Fetched, SourceError> {
    if asking.environment.is_true("AWS_EC2_METADATA_DISABLED") {
        let reason = "switched off by AWS_EC2_METADATA_DISABLED";
        return Err(SourceError::new(SOURCE, SourceErrorKind::Absent, reason));
    }
    let base = base(asking)?;
    let mut token = token(&base, asking).await?;
    let mut answer = get(&base, ROLES, &token, asking).await?;
    if answer.status == 401 {
        // The service has forgotten the token: it was restarted.
        asking.instance.keep(None);
        token = self::token(&base, asking).await?;
        answer = get(&base, ROLES, &token, asking).await?;
    }
    if answer.status == 404 {
        return Err(SourceError::new(SOURCE, SourceErrorKind::Absent, "the instance has no role"));
    }
    expect_ok(SOURCE, &answer)?;
    let text = String::from_utf8_lossy(&answer.body);
    let role = text.lines().next().unwrap_or_default().trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
    if role.is_empty() || !role.chars().all(fits) {
        return Err(SourceError::new(SOURCE, SourceErrorKind::Malformed, "the name of its role is none"));
    }
    let answer = get(&base, &format!("{ROLES}{role}"), &token, asking).await?;
    of_answer(&format!("{SOURCE} role {role}"), &answer)
}

fn base(asking: &Asking) -> Result<String, SourceError> {
    let environment = &asking.environment;
    let profiles = asking.profiles()?;
    let said =
        |variable: &str, key: &str| environment.get(variable).or_else(|| profiles.get(asking.profile(), key));
    let mode = said("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ec2_metadata_service_endpoint_mode");
    let usual =
        if mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6")) { ENDPOINT_IPV6 } else { ENDPOINT };
    let named = said("AWS_EC2_METADATA_SERVICE_ENDPOINT", "ec2_metadata_service_endpoint");
    Ok(named.unwrap_or(usual).trim_end_matches('/').to_owned())
}

async fn token(base: &str, asking: &Asking) -> Result<Secret, SourceError> {
    let uptime = asking.time.now().uptime;
    if let Some(token) = asking.instance.kept(uptime) {
        return Ok(token);
    }
    let ttl = (TTL, HeaderValue::from(TTL_SECONDS));
    let answer = send(Method::PUT, base, "/latest/api/token", ttl, asking).await.map_err(|error| {
        // Most machines are no instance: then nobody answers there.
        let is_silent = error.kind == SourceErrorKind::Unreachable;
        let kind = if is_silent { SourceErrorKind::Absent } else { error.kind };
        SourceError { kind, ..error }
    })?;
    expect_ok(SOURCE, &answer)?;
    let text = String::from_utf8_lossy(&answer.body).trim().to_owned();
    if text.is_empty() {
        return Err(SourceError::new(SOURCE, SourceErrorKind::Malformed, "its session token is empty"));
    }
    let token = Secret::new(text);
    let granted =
        answer.header(&TTL).and_then(|text| text.parse().ok()).unwrap_or(TTL_SECONDS).min(TTL_SECONDS);
    let end = uptime + Duration::from_secs(granted.into()).saturating_sub(TTL_MARGIN);
    asking.instance.keep(Some((token.clone(), end)));
    Ok(token)
}

async fn get(base: &str, path: &str, token: &Secret, asking: &Asking) -> Result<Answer, SourceError> {
    let mut value = HeaderValue::try_from(token.expose()).map_err(|_| {
        SourceError::new(SOURCE, SourceErrorKind::Malformed, "its session token is no text for a header")
    })?;
    value.set_sensitive(true);
    send(Method::GET, base, path, (TOKEN, value), asking).await
}

async fn send(
    method: Method,
    base: &str,
    path: &str,
    header: (HeaderName, HeaderValue),
    asking: &Asking,
) -> Result<Answer, SourceError> {
    let uri = format!("{base}{path}").parse().map_err(|_| {
        SourceError::new(
            SOURCE,
            SourceErrorKind::Settings,
            format!("its endpoint is {base:?}, which is no URL"),
        )
    })?;
    let request = Request {
        method,
        uri,
        headers: vec![header],
        body: Bytes::new(),
        timeout: limits::METADATA_TIMEOUT,
        answer_bytes_max: limits::CREDENTIALS_BYTES_MAX,
    };
    asking.http.send(request).await.map_err(|error| unreachable(SOURCE, &error))
}

impl Session {
    fn kept(&self, uptime: Duration) -> Option<Secret> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(_, end)| uptime < *end).map(|(token, _)| token.clone())
    }

    fn keep(&self, session: Option<(Secret, Duration)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = session;
    }
}
