//! What went wrong with a call, in classes that a caller can act on.

use crate::credentials::CredentialsError;
use crate::http::{HttpError, HttpErrorKind};
use crate::text::bounded;
use crate::wire::Format;
use crate::xml;
use serde::Deserialize;
use std::error::Error;
use std::fmt;

/// What a caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Too much at once: later, and slower.
    Throttled,
    /// It may work next time: no connection, no answer, a failure of the target's own.
    Retry,
    /// The credentials have ended and new ones did not help, or could not be had in time.
    Expired,
    /// Signed for a time that the target does not take, also after its clock was learned.
    Skew,
    /// The same call will fail the same way until somebody changes the thing.
    Final(Thing),
}

/// What has to be changed before a call can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thing {
    /// The request itself, or a record in it.
    Request,
    /// The stream does not exist.
    Stream,
    /// These credentials may not do this.
    Permission,
    /// There are no credentials, or wrong ones.
    Credentials,
    /// The key a stream is encrypted with.
    EncryptionKey,
    /// A certificate, the target's or ours, or the clock it is judged by.
    Certificate,
    /// What answers there is not this API, or says what this client does not know.
    Endpoint,
}

impl Class {
    /// By the code of an error; `status` where the code says nothing. Only codes that speak of what was sent are the request's fault.
    #[must_use]
    pub fn of(code: &str, status: u16) -> Self {
        match code {
            "ProvisionedThroughputExceededException"
            | "LimitExceededException"
            | "ThrottlingException"
            | "Throttling"
            | "RequestLimitExceeded"
            | "KMSThrottlingException"
            | "TooManyRequestsException"
            | "SlowDown" => Class::Throttled,
            "ExpiredNextTokenException"
            | "InternalServerError"
            | "RequestTimeout"
            | "RequestTimeoutException"
            | "ResourceInUseException" => Class::Retry,
            "ExpiredToken"
            | "ExpiredTokenException"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "TokenRefreshRequired" => Class::Expired,
            "RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture" => Class::Skew,
            "ResourceNotFoundException" => Class::Final(Thing::Stream),
            "AccessDeniedException" | "AccessDenied" | "NotAuthorized" | "OptInRequired" => {
                Class::Final(Thing::Permission)
            }
            "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "AuthFailure" => Class::Final(Thing::Credentials),
            "ValidationException" | "InvalidArgumentException" => Class::Final(Thing::Request),
            own if own.starts_with("InternalFailure") || own.starts_with("ServiceUnavail") => Class::Retry,
            key if key.starts_with("KMS") => Class::Final(Thing::EncryptionKey),
            // What nobody knows is no fault of a record: proxies and login pages of networks answer so for days.
            _ => match status {
                429 => Class::Throttled,
                408 | 500.. => Class::Retry,
                403 => Class::Final(Thing::Permission),
                // A body that something on the way finds too large: smaller ones may pass.
                413 => Class::Final(Thing::Request),
                _ => Class::Final(Thing::Endpoint),
            },
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    #[must_use]
    pub fn passes(self) -> bool {
        !matches!(self, Class::Final(_))
    }

    fn words(self) -> &'static str {
        match self {
            Class::Throttled => "too much at once",
            Class::Retry => "for now",
            Class::Expired => "credentials have ended",
            Class::Skew => "signed for another time",
            Class::Final(Thing::Request) => "the request",
            Class::Final(Thing::Stream) => "the stream",
            Class::Final(Thing::Permission) => "permission",
            Class::Final(Thing::Credentials) => "the credentials",
            Class::Final(Thing::EncryptionKey) => "the encryption key",
            Class::Final(Thing::Certificate) => "a certificate",
            Class::Final(Thing::Endpoint) => "the endpoint",
        }
    }
}

/// A call that failed.
#[derive(Debug)]
pub struct CallError {
    /// Which call: `PutRecords`.
    pub operation: &'static str,
    /// What it was about: a stream, or what stands for one.
    pub subject: Box<str>,
    /// Where it was sent to.
    pub endpoint: Box<str>,
    /// What to do about it.
    pub class: Class,
    /// The target's code (`ProvisionedThroughputExceededException`); empty when it gave none.
    pub code: Box<str>,
    /// The target's words; ours when it gave none.
    pub message: Box<str>,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// The target's name for this call, for its support.
    pub request_id: Option<Box<str>>,
    /// Whether the target may have done what was asked: a timeout after the request was sent, a connection that broke.
    pub may_be_done: bool,
    /// What is below, where it was no answer.
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} at {}: {}", self.operation, self.subject, self.endpoint, self.class.words())?;
        if !self.code.is_empty() {
            write!(f, ": {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        Ok(())
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

/// Which call an error is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) operation: &'static str,
    pub(super) subject: &'a str,
    pub(super) endpoint: &'a str,
}

impl About<'_> {
    fn error(self, class: Class, message: impl Into<Box<str>>) -> CallError {
        CallError {
            operation: self.operation,
            subject: self.subject.into(),
            endpoint: self.endpoint.into(),
            class,
            code: Box::default(),
            message: message.into(),
            status: None,
            request_id: None,
            may_be_done: false,
            cause: None,
        }
    }

    pub(super) fn refused(self, said: Said, status: u16) -> CallError {
        let class = Class::of(&said.code, status);
        // A failure of the target's own says nothing about how far it came.
        let may_be_done = status >= 500 || status == 408;
        let error = self.error(class, said.message);
        CallError {
            code: said.code.into(),
            status: Some(status),
            request_id: said.request_id.map(Into::into),
            may_be_done,
            ..error
        }
    }

    /// The answer was one of success and not what was asked for.
    pub(super) fn malformed(self, what: &str) -> CallError {
        CallError { may_be_done: true, status: Some(200), ..self.error(Class::Retry, what) }
    }

    pub(super) fn unanswered(self, error: HttpError) -> CallError {
        let class = match error.kind {
            HttpErrorKind::Certificate => Class::Final(Thing::Certificate),
            HttpErrorKind::TooLarge => Class::Final(Thing::Endpoint),
            HttpErrorKind::Connect | HttpErrorKind::Timeout | HttpErrorKind::Broken => Class::Retry,
        };
        let message = crate::text::with_causes(&error);
        CallError {
            may_be_done: error.may_be_done,
            cause: Some(Box::new(error)),
            ..self.error(class, message)
        }
    }

    pub(super) fn unsigned(self, error: CredentialsError) -> CallError {
        let class = if error.is_final() { Class::Final(Thing::Credentials) } else { Class::Retry };
        let message = error.to_string();
        CallError { cause: Some(Box::new(error)), ..self.error(class, message) }
    }

    pub(super) fn local(self, thing: Thing, message: &str) -> CallError {
        self.error(Class::Final(thing), message)
    }
}

/// What an answer that is no success says.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) request_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    #[serde(rename = "__type", alias = "code", alias = "Code")]
    code: Option<String>,
    #[serde(alias = "Message", alias = "errorMessage")]
    message: Option<String>,
}

impl Written {
    /// What a server says that did not come as far as to see which API was meant.
    fn of_xml(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        Written { code: xml::element(&text, "Code"), message: xml::element(&text, "Message") }
    }
}

impl Said {
    /// Reads a body in either format, or in XML; `kind` is the header some servers name the error in.
    pub(super) fn read(
        body: &[u8],
        format: Option<Format>,
        kind: Option<&str>,
        request_id: Option<&str>,
    ) -> Self {
        let formats = [format.unwrap_or(Format::Json), Format::Json, Format::Cbor];
        let written: Option<Written> = formats.into_iter().find_map(|format| format.decode(body));
        let written = written.unwrap_or_else(|| Written::of_xml(body));
        // `com.amazonaws.kinesis#Name` and `Name:http:..` are both `Name`.
        let code = written.code.as_deref().or(kind).unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default();
        let request_id = request_id.map(bounded);
        Said {
            code: bounded(code.trim()),
            message: bounded(&written.message.unwrap_or_default()),
            request_id,
        }
    }

    /// Whether a clock may be the reason: the signature is not good, or not any more.
    pub(super) fn is_about_time(&self) -> bool {
        let codes = [
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "RequestExpired",
            "RequestTimeTooSkewed",
            "RequestInTheFuture",
            "AuthFailure",
            "AccessDeniedException",
        ];
        codes.contains(&self.code.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_wherever_servers_write_them() {
        let read = |body: &[u8], format, kind| {
            let said = Said::read(body, format, kind, Some("r-1"));
            (said.code, said.message)
        };
        let pair = |code: &str, message: &str| (code.to_owned(), message.to_owned());
        let namespaced =
            br#"{"__type":"com.amazonaws.kinesis.v20131202#ResourceNotFoundException","message":"gone"}"#;
        assert_eq!(read(namespaced, Some(Format::Json), None), pair("ResourceNotFoundException", "gone"));
        let cbor = b"\xa2\x66__type\x6bSomethingEx\x67message\x62no";
        assert_eq!(read(cbor, Some(Format::Cbor), None), pair("SomethingEx", "no"));
        // Named CBOR and written in JSON, and the other way round.
        assert_eq!(read(namespaced, Some(Format::Cbor), None).0, "ResourceNotFoundException");
        assert_eq!(read(cbor, None, None).0, "SomethingEx");
        assert_eq!(
            read(b"<html>", None, Some("AccessDeniedException:http://x/")),
            pair("AccessDeniedException", "")
        );
        assert_eq!(read(b"<html>", None, None), pair("", ""));
        let xml = b"<E><Error><Code>SignatureDoesNotMatch</Code><Message>a &amp; b</Message></Error></E>";
        assert_eq!(read(xml, None, None), pair("SignatureDoesNotMatch", "a & b"));
        let hostile = format!(r#"{{"__type":"X","message":"{}\u001b[2J"}}"#, "a".repeat(600_000));
        let (_, message) = read(hostile.as_bytes(), None, None);
        assert!(message.len() < 600 && !message.contains('\u{1b}'));
    }

    #[test]
    fn classes_say_what_a_caller_can_do() {
        assert_eq!(Class::of("ProvisionedThroughputExceededException", 400), Class::Throttled);
        assert_eq!((Class::of("InternalFailure", 200), Class::of("", 503)), (Class::Retry, Class::Retry));
        assert_eq!(Class::of("ExpiredTokenException", 400), Class::Expired);
        assert_eq!(Class::of("RequestExpired", 400), Class::Skew);
        assert_eq!(Class::of("KMSDisabledException", 400), Class::Final(Thing::EncryptionKey));
        assert_eq!(Class::of("KMSThrottlingException", 400), Class::Throttled);
        assert_eq!(Class::of("ValidationException", 400), Class::Final(Thing::Request));
        assert_eq!(
            (Class::of("", 404), Class::of("", 429)),
            (Class::Final(Thing::Endpoint), Class::Throttled)
        );
        for status in [400, 401, 402, 407, 418, 451, 302] {
            assert_eq!(Class::of("", status), Class::Final(Thing::Endpoint), "{status}");
        }
        for code in ["SubscriptionRequiredException", "SerializationException"] {
            assert_eq!(Class::of(code, 400), Class::Final(Thing::Endpoint), "{code}");
        }
        assert_eq!(Class::of("", 413), Class::Final(Thing::Request));
        assert!(Class::Throttled.passes() && !Class::Final(Thing::Stream).passes());
    }
}
