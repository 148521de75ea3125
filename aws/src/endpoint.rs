//! Where a service is: region, partition and address.
//!
//! In: what was configured, the environment, the profile. Out: a [`Region`] and an [`Endpoint`].
//! Order for the region: override, `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile. For the endpoint: override,
//! `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_ENDPOINT_URL`, the profile, the region. Not here: connections (http).

use crate::environment::Environment;
use crate::profile::Profiles;
use hyper::Uri;
use std::fmt;

/// Why it is not known where to send to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Nothing named one.
    #[error("no region: not configured, AWS_REGION is not set, and profile {profile} names none")]
    NoRegion {
        /// The profile that was asked.
        profile: String,
    },
    /// What was named is none.
    #[error("region is {0:?}, must be letters, digits and hyphens like eu-west-1")]
    Region(String),
    /// What was named is no address.
    #[error("endpoint is {0:?}, must be http://host[:port][/path] or https://host[:port][/path]")]
    Url(String),
}

/// A region's name: letters, digits and hyphens, at most 63 of them, so that it can stand in a host name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region(String);

impl Region {
    /// Checks a name.
    ///
    /// # Errors
    /// [`EndpointError::Region`].
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let fits = (1..=63).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if fits { Ok(Region(text.to_owned())) } else { Err(EndpointError::Region(text.to_owned())) }
    }

    /// Finds it in the order above.
    ///
    /// # Errors
    /// [`EndpointError::NoRegion`], [`EndpointError::Region`].
    pub fn resolve(
        chosen: Option<&str>,
        environment: &Environment,
        profiles: &Profiles,
        profile: &str,
    ) -> Result<Self, EndpointError> {
        let named = chosen
            .or_else(|| environment.get("AWS_REGION"))
            .or_else(|| environment.get("AWS_DEFAULT_REGION"))
            .or_else(|| profiles.get(profile, "region"));
        named.map_or_else(|| Err(EndpointError::NoRegion { profile: profile.to_owned() }), Region::parse)
    }

    /// `eu-west-1`
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    fn partition(&self) -> &'static Partition {
        let found = PARTITIONS.iter().find(|partition| self.0.starts_with(partition.prefix));
        found.expect("the last partition takes every name")
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which of its addresses a service is asked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Variant {
    /// The one with validated cryptography.
    pub fips: bool,
    /// The one that has IPv6 addresses too.
    pub dual_stack: bool,
}

impl Variant {
    /// As `AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT` and the profile say.
    #[must_use]
    pub fn resolve(environment: &Environment, profiles: &Profiles, profile: &str) -> Self {
        let said = |variable: &str, key: &str| match environment.get(variable) {
            Some(value) => value.eq_ignore_ascii_case("true"),
            None => profiles.get(profile, key).is_some_and(|value| value.eq_ignore_ascii_case("true")),
        };
        Variant {
            fips: said("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint"),
            dual_stack: said("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint"),
        }
    }
}

/// A URL as it may be shown: a user's name and password are none of a reader's business.
fn without_user(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://..@{host}")
        }
        None => url.to_owned(),
    }
}

/// A part of AWS with names of its own.
struct Partition {
    prefix: &'static str,
    suffix: &'static str,
    dual_stack: &'static str,
}

const PARTITIONS: [Partition; 4] = [
    Partition { prefix: "cn-", suffix: "amazonaws.com.cn", dual_stack: "api.amazonwebservices.com.cn" },
    Partition { prefix: "us-gov-", suffix: "amazonaws.com", dual_stack: "api.aws" },
    Partition { prefix: "eusc-", suffix: "amazonaws.eu", dual_stack: "api.amazonwebservices.eu" },
    Partition { prefix: "", suffix: "amazonaws.com", dual_stack: "api.aws" },
];

/// An address that requests go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    uri: Uri,
    host: String,
}

impl Endpoint {
    /// Reads a URL; a path is kept, a query refused.
    ///
    /// # Errors
    /// [`EndpointError::Url`].
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError::Url(without_user(url));
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let scheme = uri.scheme_str().ok_or_else(wrong)?;
        // A user name would be signed as a part of the host, and would show in messages.
        if !matches!(scheme, "http" | "https") || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let usual = if scheme == "https" { 443 } else { 80 };
        let host = match authority.port_u16() {
            Some(port) if port != usual => authority.as_str(),
            _ => authority.host(),
        };
        if authority.host().is_empty() {
            return Err(wrong());
        }
        Ok(Endpoint { host: host.to_owned(), uri })
    }

    /// A service's own address in a region.
    #[must_use]
    pub fn of_region(service: &str, region: &Region, variant: Variant) -> Self {
        let Partition { suffix, dual_stack, prefix } = region.partition();
        // In GovCloud the ordinary addresses of these services are the validated ones.
        let fips = variant.fips && (*prefix != "us-gov-" || variant.dual_stack);
        let service = if fips { format!("{service}-fips") } else { service.to_owned() };
        let suffix = if variant.dual_stack { dual_stack } else { suffix };
        Endpoint::parse(&format!("https://{service}.{region}.{suffix}")).expect("made of checked parts")
    }

    /// Finds it in the order above.
    ///
    /// # Errors
    /// [`EndpointError::Url`].
    pub fn resolve(
        service: &str,
        chosen: Option<&str>,
        region: &Region,
        environment: &Environment,
        profiles: &Profiles,
        profile: &str,
    ) -> Result<Self, EndpointError> {
        if let Some(url) = chosen {
            return Endpoint::parse(url);
        }
        let ignored = environment.is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
            || profiles
                .get(profile, "ignore_configured_endpoint_urls")
                .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let named = environment
            .get(&format!("AWS_ENDPOINT_URL_{}", service.to_ascii_uppercase()))
            .or_else(|| environment.get("AWS_ENDPOINT_URL"))
            .or_else(|| profiles.endpoint(profile, service))
            .filter(|_| !ignored);
        match named {
            Some(url) => Endpoint::parse(url),
            None => {
                Ok(Endpoint::of_region(service, region, Variant::resolve(environment, profiles, profile)))
            }
        }
    }

    /// The whole URL.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The Host header: with the port when it is not the usual one.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path of the request line; at least `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// Whether it is AWS itself, by its name.
    #[must_use]
    pub fn is_aws(&self) -> bool {
        let host = self.uri.host().unwrap_or_default();
        PARTITIONS.iter().any(|partition| {
            [partition.suffix, partition.dual_stack]
                .iter()
                .any(|suffix| host.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.')))
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}{}", self.host, self.path().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_and_endpoints_are_taken_in_their_order() {
        let environment: Environment =
            [("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "us-west-2")].into_iter().collect();
        let profiles = Profiles::default();
        let region = |chosen, environment: &Environment| {
            Region::resolve(chosen, environment, &profiles, "p").map(|region| region.0)
        };
        assert_eq!(region(None, &environment).unwrap(), "eu-west-1");
        assert_eq!(region(Some("cn-north-1"), &environment).unwrap(), "cn-north-1");
        let none = Environment::default();
        assert_eq!(region(None, &none).unwrap_err(), EndpointError::NoRegion { profile: "p".to_owned() });
        assert!(region(Some("eu.evil.test/"), &none).is_err());

        let here = Region::parse("eu-west-1").unwrap();
        let url = |environment: &Environment, chosen| {
            Endpoint::resolve("kinesis", chosen, &here, environment, &profiles, "p")
                .map(|endpoint| endpoint.to_string())
        };
        assert_eq!(url(&none, None).unwrap(), "https://kinesis.eu-west-1.amazonaws.com");
        let all = none.with("AWS_ENDPOINT_URL", "http://10.0.0.1:4567/");
        assert_eq!(url(&all, None).unwrap(), "http://10.0.0.1:4567");
        let own = all.with("AWS_ENDPOINT_URL_KINESIS", "http://10.0.0.2:80/base/");
        assert_eq!(url(&own, None).unwrap(), "http://10.0.0.2/base");
        assert_eq!(url(&own, Some("https://pi:443")).unwrap(), "https://pi");
        let ignored = own.with("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True");
        assert_eq!(url(&ignored, None).unwrap(), "https://kinesis.eu-west-1.amazonaws.com");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for url in ["", "pi:4567", "/x", "ftp://pi", "http://", "http://pi?x=1", "http://user:pw@pi"] {
            let error = Endpoint::parse(url).unwrap_err().to_string();
            assert!(!error.contains("user") && !error.contains("pw"), "{error}");
        }
        assert!(Endpoint::parse("https://kinesis.eu-west-1.amazonaws.com").unwrap().is_aws());
        assert!(!Endpoint::parse("https://kinesis.eu-west-1.amazonaws.com.evil.test").unwrap().is_aws());
    }
}
