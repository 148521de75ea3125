//! Asking one source, whichever it is.

use super::cache::Fetched;
use super::plan::plan;
use super::{Credentials, CredentialsError, Source, SourceError, SourceErrorKind};
use super::{command, container, instance, iot, sts};
use crate::clock::Clock;
use crate::endpoint::Region;
use crate::environment::Environment;
use crate::http::Http;
use crate::profile::Profiles;
use crate::secret::Secret;
use crate::timekeeper::Timekeeper;
use std::pin::Pin;

/// What sources need to be asked.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) environment: Environment,
    pub(super) http: Http,
    /// For STS; where there is none the profile's is taken.
    pub(super) region: Option<Region>,
    /// Of STS: its clock is AWS's.
    pub(super) time: Timekeeper,
    pub(super) instance: instance::Session,
}

impl Asking {
    pub(super) fn new(environment: Environment, http: Http, region: Option<Region>, clock: Clock) -> Self {
        Asking {
            environment,
            http,
            region,
            time: Timekeeper::new(clock),
            instance: instance::Session::default(),
        }
    }

    /// The profile that is meant where none is named.
    pub(super) fn profile(&self) -> &str {
        let environment = &self.environment;
        environment.get("AWS_PROFILE").or_else(|| environment.get("AWS_DEFAULT_PROFILE")).unwrap_or("default")
    }

    pub(super) fn profiles(&self) -> Result<Profiles, SourceError> {
        Profiles::load(&self.environment).map_err(|error| {
            SourceError::new("profile", SourceErrorKind::Settings, crate::text::with_causes(&error))
        })
    }
}

type Asked<'a> = Pin<Box<dyn Future<Output = Result<Fetched, CredentialsError>> + Send + 'a>>;

/// Asks a source. Boxed, since a role asks the source it is assumed by.
pub(super) fn fetch<'a>(source: &'a Source, asking: &'a Asking) -> Asked<'a> {
    Box::pin(async move {
        let fetched = match source {
            Source::Fixed(credentials) => Ok(Fetched { credentials: credentials.clone(), time: None }),
            Source::Environment => of_environment(&asking.environment),
            Source::Profile(name) => {
                let name = name.as_deref().unwrap_or_else(|| asking.profile());
                let planned = plan(&asking.profiles()?, name, &asking.environment)?;
                let fetched = fetch(&planned, asking).await?;
                // What a role or program calls itself says nothing about the profile that led there.
                let by = match fetched.credentials.source() {
                    own if own == format!("profile {name}") => own.to_owned(),
                    other => format!("profile {name}: {other}"),
                };
                Ok(Fetched { credentials: fetched.credentials.from_source(by), ..fetched })
            }
            Source::WebIdentity(settings) => {
                sts::by_web_identity(settings.as_ref(), &source.name(), asking).await
            }
            Source::Container => container::fetch(asking).await,
            Source::Instance => instance::fetch(asking).await,
            Source::Iot(settings) => iot::fetch(settings, &source.name(), asking).await,
            Source::Command(line) => command::run(line.expose(), &source.name()).await,
            Source::Role(role, from) => {
                let base = fetch(from, asking).await.map_err(meant)?;
                sts::assume(role, &base.credentials, &source.name(), asking).await
            }
            Source::First(sources) => return first(sources, asking).await,
        };
        Ok(fetched?)
    })
}

/// A role names whom it is assumed with: where that source is not there, others are not asked instead.
fn meant(mut error: CredentialsError) -> CredentialsError {
    for error in error.asked.iter_mut().filter(|error| error.kind == SourceErrorKind::Absent) {
        error.kind = SourceErrorKind::Settings;
    }
    error
}

async fn first(sources: &[Source], asking: &Asking) -> Result<Fetched, CredentialsError> {
    let mut asked = Vec::new();
    for source in sources {
        match fetch(source, asking).await {
            Ok(fetched) => return Ok(fetched),
            Err(error) => {
                let is_absent = error.asked.iter().all(|error| error.kind == SourceErrorKind::Absent);
                asked.extend(error.asked);
                if !is_absent {
                    break;
                }
            }
        }
    }
    Err(CredentialsError { asked })
}

fn of_environment(environment: &Environment) -> Result<Fetched, SourceError> {
    let source = "environment";
    let (id, secret) = (environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY"));
    let (id, secret) = match (id, secret) {
        (Some(id), Some(secret)) => (id, secret),
        (None, None) => {
            return Err(SourceError::new(source, SourceErrorKind::Absent, "AWS_ACCESS_KEY_ID is not set"));
        }
        (Some(_), None) => return Err(missing(source, "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")),
        (None, Some(_)) => return Err(missing(source, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
    };
    let token = environment.get("AWS_SESSION_TOKEN").map(Secret::new);
    let credentials = Credentials::new(id, Secret::new(secret), token).from_source(source);
    Ok(Fetched { credentials, time: None })
}

/// One half of a pair is there.
pub(super) fn missing(source: &str, missing: &str, present: &str) -> SourceError {
    SourceError::new(source, SourceErrorKind::Settings, format!("{present} is set and {missing} is not"))
}
