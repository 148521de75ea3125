//! A client from what was configured, the environment and the shared files.

use super::call::{FormatChoice, Kinesis};
use crate::credentials::{Provider, ProviderSettings, Source};
use crate::endpoint::{Endpoint, EndpointError, Region};
use crate::environment::Environment;
use crate::http::{Http, HttpSettings, Trust, TrustError};
use crate::limits;
use crate::profile::{ProfileError, Profiles};
use crate::timestamp::Timestamp;
use std::time::Duration;

/// What calls to other speakers of the API are signed for where nobody named a region.
const REGION_ELSEWHERE: &str = "us-east-1";

/// Everything about a target but its streams. What is not said comes from the environment and the shared files.
#[derive(Debug, Clone)]
pub struct KinesisSettings {
    /// Variables, usually [`Environment::of_process`].
    pub environment: Environment,
    /// The profile of the shared files; nothing: `AWS_PROFILE`, else `default`. When it is said, the usual chain is not
    /// asked but this profile.
    pub profile: Option<String>,
    /// The region; nothing: `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile. An endpoint that is not AWS needs none:
    /// signatures then name `us-east-1`.
    pub region: Option<String>,
    /// The endpoint's URL; nothing: `AWS_ENDPOINT_URL_KINESIS`, `AWS_ENDPOINT_URL`, the profile, the region's.
    pub endpoint: Option<String>,
    /// Where credentials come from; nothing: the usual chain, or the profile where one is said.
    pub source: Option<Source>,
    /// JSON or CBOR.
    pub format: FormatChoice,
    /// How long a call may take with all that it tries.
    pub timeout: Duration,
    /// How servers are reached; nothing: [`HttpSettings::of`] the environment, with the `ca_bundle` of the profile.
    pub http: Option<HttpSettings>,
    /// It is certainly not earlier than this, see [`HttpSettings::not_before`]. The later of the two counts.
    pub not_before: Timestamp,
}

impl KinesisSettings {
    /// Everything from the environment.
    #[must_use]
    pub fn of(environment: Environment) -> Self {
        KinesisSettings {
            environment,
            profile: None,
            region: None,
            endpoint: None,
            source: None,
            format: FormatChoice::Learn,
            timeout: limits::CALL_TIMEOUT,
            http: None,
            not_before: Timestamp::default(),
        }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The shared files.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Region or endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Certificates.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl Kinesis {
    /// Prepares a client; asks nobody yet. Reads the shared files and certificates.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(settings: KinesisSettings) -> Result<Self, SetupError> {
        let mut environment = settings.environment.clone();
        if let Some(profile) = &settings.profile {
            environment = environment.with("AWS_PROFILE", profile);
        }
        let profiles = Profiles::load(&environment)?;
        let profile = environment
            .get("AWS_PROFILE")
            .or_else(|| environment.get("AWS_DEFAULT_PROFILE"))
            .unwrap_or("default");
        let (region, endpoint) = place(&settings, &environment, &profiles, profile)?;
        let of_profile = || {
            let mut http = HttpSettings::of(&environment);
            if let (Trust::Public, Some(file)) = (&http.trust, profiles.get(profile, "ca_bundle")) {
                http.trust = Trust::PublicAnd(environment.path(file));
            }
            http
        };
        let mut http = settings.http.clone().unwrap_or_else(of_profile);
        http.not_before = http.not_before.max(settings.not_before);
        let http = Http::new(&http)?;
        let usual = || match &settings.profile {
            Some(profile) => Source::Profile(Some(profile.clone())),
            None => Source::chain(),
        };
        let source = settings.source.clone().unwrap_or_else(usual);
        let asked =
            ProviderSettings { source, environment: environment.clone(), region: Some(region.clone()) };
        let provider = Provider::new(asked, &http);
        Ok(Kinesis::assemble(&settings, region, endpoint, provider, http))
    }
}

fn place(
    settings: &KinesisSettings,
    environment: &Environment,
    profiles: &Profiles,
    profile: &str,
) -> Result<(Region, Endpoint), EndpointError> {
    let chosen = settings.endpoint.as_deref();
    let endpoint =
        |region: &Region| Endpoint::resolve("kinesis", chosen, region, environment, profiles, profile);
    match Region::resolve(settings.region.as_deref(), environment, profiles, profile) {
        Err(nowhere @ EndpointError::NoRegion { .. }) => {
            let region = Region::parse(REGION_ELSEWHERE)?;
            let endpoint = endpoint(&region)?;
            if endpoint.is_aws() { Err(nowhere) } else { Ok((region, endpoint)) }
        }
        region => {
            let region = region?;
            let endpoint = endpoint(&region)?;
            Ok((region, endpoint))
        }
    }
}
