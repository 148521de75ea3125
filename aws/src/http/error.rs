//! Why there is no answer.

use rustls::AlertDescription;
use std::error::Error;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpErrorKind {
    /// No connection: no address, refused, no route, the tunnel of a proxy.
    Connect,
    /// The server's certificate, or ours: no attempt will be better before something is changed or the clock is right.
    Certificate,
    /// Not over in time.
    Timeout,
    /// The connection ended before the answer did.
    Broken,
    /// The answer is larger than may be.
    TooLarge,
}

/// No answer from a server.
#[derive(Debug, thiserror::Error)]
#[error("{host}: {words}")]
pub struct HttpError {
    /// Host and port of the server.
    pub host: String,
    /// What kind.
    pub kind: HttpErrorKind,
    /// Whether the server may have seen the request, and done what it asks.
    pub may_be_done: bool,
    words: String,
    #[source]
    cause: Option<Box<dyn Error + Send + Sync>>,
}

pub(super) enum Failed {
    Timeout,
    Exchange(hyper_util::client::legacy::Error),
    Answer(hyper::Error),
    TooLarge(usize),
}

impl HttpError {
    pub(super) fn new(host: String, failed: Failed, taken: bool) -> Self {
        let error = |kind, words: &str, cause| HttpError {
            host,
            kind,
            may_be_done: taken,
            words: words.to_owned(),
            cause,
        };
        match failed {
            Failed::Timeout if taken => error(HttpErrorKind::Timeout, "no answer in time", None),
            Failed::Timeout => error(HttpErrorKind::Timeout, "no connection in time", None),
            Failed::TooLarge(most) => {
                error(HttpErrorKind::TooLarge, &format!("its answer has more than {most} bytes"), None)
            }
            Failed::Answer(cause) => error(HttpErrorKind::Broken, "the answer broke off", Some(cause.into())),
            Failed::Exchange(cause) if is_about_certificates(&cause) => {
                let cause: Box<dyn Error + Send + Sync> = cause.into();
                HttpError {
                    may_be_done: false,
                    ..error(HttpErrorKind::Certificate, "no trusted connection", Some(cause))
                }
            }
            Failed::Exchange(cause) if cause.is_connect() => HttpError {
                may_be_done: false,
                ..error(HttpErrorKind::Connect, "no connection", Some(cause.into()))
            },
            Failed::Exchange(cause) => {
                error(HttpErrorKind::Broken, "the connection broke before an answer", Some(cause.into()))
            }
        }
    }
}

/// What a server says that does not take our certificate, or wants one.
const DISTRUST: [AlertDescription; 9] = [
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
    AlertDescription::DecryptError,
    AlertDescription::CertificateRequired,
];

/// Whether somewhere below is TLS that does not believe the other side, or is not believed.
fn is_about_certificates(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // What an `io::Error` wraps is not among its sources.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        let found =
            wrapped.and_then(|error| error.downcast_ref()).or_else(|| error.downcast_ref::<rustls::Error>());
        if let Some(error) = found {
            return match error {
                rustls::Error::InvalidCertificate(_) => true,
                rustls::Error::AlertReceived(alert) => DISTRUST.contains(alert),
                _ => false,
            };
        }
        cause = error.source();
    }
    false
}
