//! Keys that requests are signed with, and where they come from.
//!
//! In: a [`Source`], often the usual [`Source::chain`]. Out: [`Credentials`] that are still good, from a [`Provider`] that
//! keeps them, renews them ahead of their end, and keeps the old ones for as long as they last while a renewal fails.
//! Invariants: no secret in `Debug`, `Display` or a log; every refusal names the source that was asked and its reason.
//! Not here: signatures (sigv4), what the target thinks of the credentials (kinesis).

mod answer;
mod cache;
mod command;
mod container;
mod error;
mod fetch;
mod instance;
mod iot;
mod plan;
mod provider;
mod sts;

pub use error::{CredentialsError, SourceError, SourceErrorKind};
pub use iot::IotSettings;
pub use provider::{Provider, ProviderSettings};
pub use sts::{RoleSettings, WebIdentity};

use crate::secret::Secret;
use crate::timestamp::Timestamp;

/// An access key with its secret, a session token where it is a temporary one, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Option<Secret>,
    expires: Option<Timestamp>,
    source: String,
}

impl Credentials {
    /// Credentials that do not end.
    #[must_use]
    pub fn new(id: impl Into<String>, secret: impl Into<Secret>, session_token: Option<Secret>) -> Self {
        Credentials {
            access_key_id: id.into(),
            secret_access_key: secret.into(),
            session_token,
            expires: None,
            source: "given".to_owned(),
        }
    }

    /// The same, that end at a time of AWS's clock.
    #[must_use]
    pub fn expiring(self, expires: Option<Timestamp>) -> Self {
        Credentials { expires, ..self }
    }

    /// The same, with the name of where they came from.
    #[must_use]
    pub fn from_source(self, source: impl Into<String>) -> Self {
        Credentials { source: source.into(), ..self }
    }

    /// The public part: a name, not a secret.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The key that signs.
    #[must_use]
    pub fn secret_access_key(&self) -> &Secret {
        &self.secret_access_key
    }

    /// What goes along with temporary ones.
    #[must_use]
    pub fn session_token(&self) -> Option<&Secret> {
        self.session_token.as_ref()
    }

    /// When they end, by AWS's clock; nothing when they do not.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// Where they came from, for a person: `environment`, `profile site`, `role arn:.. by profile site`.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// Where credentials come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// These.
    Fixed(Credentials),
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    Environment,
    /// What the shared files say for a profile; `None` is the one of `AWS_PROFILE`, else `default`. Read anew at each renewal.
    Profile(Option<String>),
    /// A role by a token in a file: as a pod of EKS has it. `None` takes `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`.
    WebIdentity(Option<WebIdentity>),
    /// The agent beside a container (ECS, EKS Pod Identity), as `AWS_CONTAINER_CREDENTIALS_*` say.
    Container,
    /// The metadata service of an EC2 instance, version 2 only.
    Instance,
    /// AWS IoT Core's credentials endpoint, by a device's certificate.
    Iot(IotSettings),
    /// A program that prints them, with its arguments, as in `credential_process`. No shell reads the line; it is a secret
    /// since arguments may be.
    Command(Secret),
    /// A role that the credentials of another source may assume.
    Role(RoleSettings, Box<Source>),
    /// The first of these that is there. One that is there and fails ends the search: it was meant.
    First(Vec<Source>),
}

impl Source {
    /// What AWS's own tools ask, in their order: environment, profile, web identity, container, instance.
    #[must_use]
    pub fn chain() -> Self {
        Source::First(vec![
            Source::Environment,
            Source::Profile(None),
            Source::WebIdentity(None),
            Source::Container,
            Source::Instance,
        ])
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Source::Fixed(_) => "given credentials".to_owned(),
            Source::Environment => "environment".to_owned(),
            Source::Profile(None) => "profile".to_owned(),
            Source::Profile(Some(name)) => format!("profile {name}"),
            Source::WebIdentity(None) => "web identity of the environment".to_owned(),
            Source::WebIdentity(Some(settings)) => format!("role {} by web identity", settings.role.arn),
            Source::Container => "container".to_owned(),
            Source::Instance => "instance".to_owned(),
            Source::Iot(settings) => format!("AWS IoT role alias {}", settings.role_alias),
            // Arguments may hold secrets.
            Source::Command(line) => {
                format!("command {}", line.expose().split_whitespace().next().unwrap_or_default())
            }
            Source::Role(role, from) => format!("role {} by {}", role.arn, from.name()),
            Source::First(_) => "chain".to_owned(),
        }
    }
}
