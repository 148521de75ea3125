//! Credentials as sources write them in JSON: ECS, EKS, EC2, AWS IoT and programs, which differ in words only.

use super::cache::Fetched;
use super::{Credentials, SourceError, SourceErrorKind};
use crate::http::{Answer, HttpError, HttpErrorKind};
use crate::secret::Secret;
use crate::timestamp::Timestamp;
use serde::Deserialize;

/// What they all say, under their names.
#[derive(Debug, Deserialize)]
struct Written {
    #[serde(alias = "AccessKeyId", rename = "accessKeyId")]
    access_key_id: String,
    #[serde(alias = "SecretAccessKey", rename = "secretAccessKey")]
    secret_access_key: Secret,
    #[serde(alias = "Token", alias = "SessionToken", rename = "sessionToken", default)]
    session_token: Option<Secret>,
    #[serde(alias = "Expiration", rename = "expiration", default)]
    expiration: Option<String>,
}

/// AWS IoT puts them one level down.
#[derive(Debug, Deserialize)]
struct Wrapped {
    credentials: Written,
}

/// What a refusal may look like inside an answer of success: EC2 does that.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    #[serde(rename = "Code", alias = "code")]
    code: Option<String>,
    #[serde(rename = "Message", alias = "message")]
    message: Option<String>,
}

/// Reads credentials from `text`; `source` is for the message.
pub(super) fn parse(source: &str, text: &[u8]) -> Result<Credentials, SourceError> {
    let refusal: Refusal = serde_json::from_slice(text).unwrap_or_default();
    if let Some(code) = refusal.code.filter(|code| code != "Success") {
        let message = crate::text::bounded(&refusal.message.unwrap_or_default());
        let reason = format!("{}: {message}", crate::text::bounded(&code));
        return Err(SourceError::new(source, SourceErrorKind::Refused, reason));
    }
    made(source, serde_json::from_slice(text))
}

fn made(source: &str, written: serde_json::Result<Written>) -> Result<Credentials, SourceError> {
    let malformed = |reason: String| SourceError::new(source, SourceErrorKind::Malformed, reason);
    // Serde's words name a missing member or a place, and could quote a value of a wrong type: only the place is said.
    let written = written.map_err(|error| {
        let what = error.to_string();
        let what = what.split(" at line").next().filter(|what| what.starts_with("missing field"));
        malformed(what.map_or_else(
            || {
                format!(
                    "its answer is not credentials in JSON (line {}, column {})",
                    error.line(),
                    error.column()
                )
            },
            |what| format!("its answer is not credentials: {what}"),
        ))
    })?;
    let expires = match &written.expiration {
        Some(text) => Some(Timestamp::parse_iso(text).ok_or_else(|| {
            malformed(format!("its credentials end at {:?}, which is no time", crate::text::bounded(text)))
        })?),
        None => None,
    };
    if written.access_key_id.is_empty() || written.secret_access_key.expose().is_empty() {
        return Err(malformed("its credentials are empty".to_owned()));
    }
    let credentials =
        Credentials::new(written.access_key_id, written.secret_access_key, written.session_token);
    Ok(credentials.expiring(expires).from_source(source))
}

/// An answer of success with credentials in its body.
pub(super) fn of_answer(source: &str, answer: &Answer) -> Result<Fetched, SourceError> {
    expect_ok(source, answer)?;
    Ok(Fetched { credentials: parse(source, &answer.body)?, time: answer.date() })
}

/// The same, one level down.
pub(super) fn of_wrapped_answer(source: &str, answer: &Answer) -> Result<Fetched, SourceError> {
    expect_ok(source, answer)?;
    let wrapped: serde_json::Result<Wrapped> = serde_json::from_slice(&answer.body);
    Ok(Fetched {
        credentials: made(source, wrapped.map(|wrapped| wrapped.credentials))?,
        time: answer.date(),
    })
}

/// Any answer of success.
pub(super) fn expect_ok(source: &str, answer: &Answer) -> Result<(), SourceError> {
    match answer.status {
        200 => Ok(()),
        status @ (429 | 500..) => Err(SourceError::new(
            source,
            SourceErrorKind::Unreachable,
            format!("answered with status {status}"),
        )),
        status => {
            let refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
            let message =
                refusal.message.map(|text| format!(": {}", crate::text::bounded(&text))).unwrap_or_default();
            Err(SourceError::new(
                source,
                SourceErrorKind::Refused,
                format!("answered with status {status}{message}"),
            ))
        }
    }
}

/// No answer.
pub(super) fn unreachable(source: &str, error: &HttpError) -> SourceError {
    let is_distrust = error.kind == HttpErrorKind::Certificate;
    let kind = if is_distrust { SourceErrorKind::Refused } else { SourceErrorKind::Unreachable };
    SourceError::new(source, kind, crate::text::with_causes(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_them_is_read() {
        let ways = [
            r#"{"Code":"Success","AccessKeyId":"A","SecretAccessKey":"s","Token":"t","Expiration":"2026-01-01T00:00:00Z"}"#,
            r#"{"Version":1,"AccessKeyId":"A","SecretAccessKey":"s","SessionToken":"t","Expiration":"2026-01-01T00:00:00+00:00"}"#,
            r#"{"accessKeyId":"A","secretAccessKey":"s","sessionToken":"t","expiration":"2026-01-01T00:00:00Z"}"#,
        ];
        for way in ways {
            let read = parse("x", way.as_bytes()).unwrap();
            assert_eq!((read.access_key_id(), read.session_token().unwrap().expose()), ("A", "t"));
            assert_eq!(read.expires().unwrap().basic(), "20260101T000000Z");
        }
        assert!(parse("x", br#"{"AccessKeyId":"A","SecretAccessKey":"s"}"#).unwrap().expires().is_none());
    }

    #[test]
    fn refusals_are_worded_and_secrets_are_not() {
        let refused = parse("instance", br#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot"}"#)
            .unwrap_err();
        assert_eq!(refused.to_string(), "instance: AssumeRoleUnauthorizedAccess: EC2 cannot");
        assert_eq!(refused.kind, SourceErrorKind::Refused);
        for text in [
            r#"{"AccessKeyId":"A","SecretAccessKey":["hidden"]}"#,
            r#"{"AccessKeyId":"A","SecretAccessKey":"hidden""#,
            r#"{"SecretAccessKey":"hidden"}"#,
            r#""hidden""#,
            r#"{"AccessKeyId":"A","SecretAccessKey":"hidden","Expiration":"soon"}"#,
        ] {
            let error = parse("x", text.as_bytes()).unwrap_err();
            assert_eq!(error.kind, SourceErrorKind::Malformed, "{error}");
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
    }
}
