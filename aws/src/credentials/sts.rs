//! Roles: credentials of another identity from AWS's Security Token Service.
//!
//! A form is posted, XML comes back. AssumeRole is signed with the credentials that may assume the role; with a web
//! identity the token is all the proof, and nothing is signed. Not here: who is asked first (fetch, plan).

use super::answer::unreachable;
use super::cache::Fetched;
use super::fetch::Asking;
use super::{Credentials, SourceError, SourceErrorKind};
use crate::endpoint::{Endpoint, Region};
use crate::http::{Answer, Request};
use crate::limits;
use crate::secret::Secret;
use crate::sigv4::{Scope, Signable, sign};
use crate::timestamp::Timestamp;
use crate::xml;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use std::fmt::Write;
use std::path::PathBuf;
use zeroize::Zeroizing;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// Seen in the audit log of the account whose role it is.
const SESSION_NAME: &str = "headwater";

/// A role and how it is assumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSettings {
    /// `arn:aws:iam::123456789012:role/name`
    pub arn: String,
    /// What the session is called in audit logs; `headwater` where nothing is said.
    pub session_name: Option<String>,
    /// What the role's owner asks for besides.
    pub external_id: Option<String>,
    /// Seconds the credentials shall live, 900 to what the role allows; an hour where nothing is said.
    pub duration_seconds: Option<u32>,
}

impl RoleSettings {
    /// A role, with nothing special.
    #[must_use]
    pub fn new(arn: impl Into<String>) -> Self {
        RoleSettings { arn: arn.into(), session_name: None, external_id: None, duration_seconds: None }
    }
}

/// A role by a token that somebody else made and keeps fresh in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebIdentity {
    /// The role.
    pub role: RoleSettings,
    /// Read anew each time.
    pub token_file: PathBuf,
}

pub(super) async fn assume(
    role: &RoleSettings,
    base: &Credentials,
    source: &str,
    asking: &Asking,
) -> Result<Fetched, SourceError> {
    let form = form("AssumeRole", role, None);
    let first = call(&form, Some(base), source, asking).await?;
    // A clock that is wrong is learned from the refusal; then it is right.
    let answer = if first.0.status != 200 && asking.time.learn(&first.0, first.1) {
        call(&form, Some(base), source, asking).await?.0
    } else {
        first.0
    };
    read(&answer, source)
}

pub(super) async fn by_web_identity(
    settings: Option<&WebIdentity>,
    source: &str,
    asking: &Asking,
) -> Result<Fetched, SourceError> {
    let of_environment;
    let settings = match settings {
        Some(settings) => settings,
        None => {
            of_environment = from_environment(asking, source)?;
            &of_environment
        }
    };
    let file = &settings.token_file;
    let wrong = |reason: String| SourceError::new(source, SourceErrorKind::Settings, reason);
    let token = crate::profile::read(file)
        .map_err(|error| wrong(crate::text::with_causes(&error)))?
        .ok_or_else(|| wrong(format!("the token file {} does not exist", file.display())))?;
    let form = form("AssumeRoleWithWebIdentity", &settings.role, Some(token.trim()));
    read(&call(&form, None, source, asking).await?.0, source)
}

fn from_environment(asking: &Asking, source: &str) -> Result<WebIdentity, SourceError> {
    let environment = &asking.environment;
    let Some(file) = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") else {
        return Err(SourceError::new(
            source,
            SourceErrorKind::Absent,
            "AWS_WEB_IDENTITY_TOKEN_FILE is not set",
        ));
    };
    let Some(arn) = environment.get("AWS_ROLE_ARN") else {
        return Err(super::fetch::missing(source, "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"));
    };
    let session_name = environment.get("AWS_ROLE_SESSION_NAME").map(str::to_owned);
    Ok(WebIdentity {
        role: RoleSettings { session_name, ..RoleSettings::new(arn) },
        token_file: environment.path(file),
    })
}

fn form(action: &str, role: &RoleSettings, token: Option<&str>) -> Zeroizing<String> {
    let mut form = Zeroizing::new(format!("Action={action}&Version=2011-06-15"));
    let duration = role.duration_seconds.map(|seconds| seconds.to_string());
    let fields = [
        ("RoleArn", Some(role.arn.as_str())),
        ("RoleSessionName", Some(role.session_name.as_deref().unwrap_or(SESSION_NAME))),
        ("ExternalId", role.external_id.as_deref()),
        ("DurationSeconds", duration.as_deref()),
        ("WebIdentityToken", token),
    ];
    for (name, value) in fields {
        let Some(value) = value else { continue };
        write!(form, "&{name}=").expect("a String takes everything");
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => form.push(byte.into()),
                _ => write!(form, "%{byte:02X}").expect("a String takes everything"),
            }
        }
    }
    form
}

/// The answer and the time it was signed for.
async fn call(
    form: &str,
    signer: Option<&Credentials>,
    source: &str,
    asking: &Asking,
) -> Result<(Answer, Timestamp), SourceError> {
    let (region, endpoint) = place(source, asking)?;
    let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static(FORM))];
    let time = asking.time.time();
    if let Some(credentials) = signer {
        let signed = [("host", endpoint.host()), ("content-type", FORM)];
        let request =
            Signable { method: "POST", path: endpoint.path(), headers: &signed, body: form.as_bytes() };
        let signature = sign(&request, credentials, Scope { region: region.name(), service: "sts" }, time);
        let token =
            credentials.session_token().map(|token| ("x-amz-security-token", token.expose().to_owned()));
        let added = [("x-amz-date", signature.date), (AUTHORIZATION.as_str(), signature.authorization)];
        for (name, value) in added.into_iter().chain(token) {
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                SourceError::new(
                    source,
                    SourceErrorKind::Settings,
                    format!("the credentials of {} are no text for a header", credentials.source()),
                )
            })?;
            value.set_sensitive(true);
            headers.push((HeaderName::from_bytes(name.as_bytes()).expect("a name of ours"), value));
        }
    }
    let request = Request {
        method: Method::POST,
        uri: endpoint.uri().clone(),
        headers,
        body: Bytes::copy_from_slice(form.as_bytes()),
        timeout: limits::STS_TIMEOUT,
        answer_bytes_max: limits::CREDENTIALS_BYTES_MAX,
    };
    let answer = asking.http.send(request).await.map_err(|error| unreachable(source, &error))?;
    Ok((answer, time))
}

fn place(source: &str, asking: &Asking) -> Result<(Region, Endpoint), SourceError> {
    let profiles = asking.profiles()?;
    let (environment, profile) = (&asking.environment, asking.profile());
    let chosen = asking.region.as_ref().map(Region::name);
    let found = Region::resolve(chosen, environment, &profiles, profile).and_then(|region| {
        let endpoint = Endpoint::resolve("sts", None, &region, environment, &profiles, profile)?;
        Ok((region, endpoint))
    });
    found.map_err(|error| SourceError::new(source, SourceErrorKind::Settings, format!("STS: {error}")))
}

fn read(answer: &Answer, source: &str) -> Result<Fetched, SourceError> {
    let text = String::from_utf8_lossy(&answer.body);
    let error = |kind, reason| Err(SourceError::new(source, kind, reason));
    if answer.status != 200 {
        let status = answer.status;
        let (code, message) = (xml::element(&text, "Code"), xml::element(&text, "Message"));
        let words = match (code, message) {
            (Some(code), message) => format!(
                "STS said {}: {}",
                crate::text::bounded(&code),
                crate::text::bounded(&message.unwrap_or_default())
            ),
            _ => format!("STS answered with status {status}"),
        };
        let passes = status >= 500 || status == 429 || text.contains("Throttl");
        return error(if passes { SourceErrorKind::Unreachable } else { SourceErrorKind::Refused }, words);
    }
    let keys = ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"]
        .map(|name| xml::element(&text, name));
    let [Some(id), Some(secret), Some(token), Some(expires)] = keys else {
        return error(SourceErrorKind::Malformed, "STS answered without credentials".to_owned());
    };
    let Some(expires) = Timestamp::parse_iso(&expires) else {
        return error(SourceErrorKind::Malformed, "STS gave credentials that end at no time".to_owned());
    };
    let credentials = Credentials::new(id, Secret::new(secret), Some(Secret::new(token)));
    let credentials = credentials.expiring(Some(expires)).from_source(source);
    Ok(Fetched { credentials, time: answer.date() })
}
