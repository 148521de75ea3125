//! Credentials from the agent beside a container: ECS tasks, EKS Pod Identity, Greengrass.
//!
//! Invariant: over plain HTTP only loopback and the agents' own addresses are asked, whatever a variable says.

use super::answer::{of_answer, unreachable};
use super::cache::Fetched;
use super::fetch::Asking;
use super::{SourceError, SourceErrorKind};
use crate::environment::Environment;
use crate::http::Request;
use crate::limits;
use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use hyper::{Method, Uri};
use std::net::IpAddr;

const SOURCE: &str = "container";
const ECS: &str = "http://169.254.170.2";
const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

pub(super) async fn fetch(asking: &Asking) -> Result<Fetched, SourceError> {
    let environment = &asking.environment;
    let uri = address(environment)?;
    let mut headers = vec![(ACCEPT, HeaderValue::from_static("application/json"))];
    if let Some(token) = authorization(environment)? {
        headers.push((AUTHORIZATION, token));
    }
    let request = Request {
        method: Method::GET,
        uri,
        headers,
        body: Bytes::new(),
        timeout: limits::METADATA_TIMEOUT,
        answer_bytes_max: limits::CREDENTIALS_BYTES_MAX,
    };
    let answer = asking.http.send(request).await.map_err(|error| unreachable(SOURCE, &error))?;
    of_answer(SOURCE, &answer)
}

fn address(environment: &Environment) -> Result<Uri, SourceError> {
    let (variable, text) = match (environment.get(RELATIVE), environment.get(FULL)) {
        (Some(path), _) => (RELATIVE, format!("{ECS}{path}")),
        (None, Some(url)) => (FULL, url.to_owned()),
        (None, None) => {
            return Err(SourceError::new(
                SOURCE,
                SourceErrorKind::Absent,
                format!("neither {RELATIVE} nor {FULL} is set"),
            ));
        }
    };
    let uri: Option<Uri> = text.parse().ok();
    let uri = uri.filter(|uri| uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https")));
    let uri = uri.ok_or_else(|| wrong(format!("{variable} is no URL")))?;
    if uri.scheme_str() == Some("http") && !is_agent(uri.host().unwrap_or_default()) {
        let host = uri.host().unwrap_or_default();
        return Err(wrong(format!(
            "{variable} is http:// to {host}, must be loopback, 169.254.170.2, 169.254.170.23, fd00:ec2::23 or https://"
        )));
    }
    Ok(uri)
}

fn is_agent(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    let agents = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || agents.iter().any(|agent| agent.parse() == Ok(address)),
        Err(_) => host == "localhost",
    }
}

fn authorization(environment: &Environment) -> Result<Option<HeaderValue>, SourceError> {
    let file = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(|path| environment.path(path));
    let of_file = match &file {
        Some(path) => {
            let text = crate::profile::read(path).map_err(|error| wrong(crate::text::with_causes(&error)))?;
            Some(text.ok_or_else(|| wrong(format!("the token file {} does not exist", path.display())))?)
        }
        None => None,
    };
    let token = of_file.as_ref().map(|text| text.trim_end_matches(['\r', '\n']));
    let Some(token) = token.or_else(|| environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")) else {
        return Ok(None);
    };
    let mut value =
        HeaderValue::try_from(token).map_err(|_| wrong("its token is no text for a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn wrong(reason: String) -> SourceError {
    SourceError::new(SOURCE, SourceErrorKind::Settings, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_agents_are_asked_without_tls() {
        let asked = |url: &str| address(&[(FULL, url)].into_iter().collect()).map(|uri| uri.to_string());
        for url in [
            "http://127.0.0.1:8080/c",
            "http://[::1]/c",
            "http://[fd00:ec2::23]/v1/credentials",
            "https://agent.test/c",
            "http://localhost/c",
        ] {
            assert_eq!(asked(url).as_deref(), Ok(url));
        }
        for url in [
            "http://agent.test/c",
            "http://169.254.169.254/",
            "http://127.0.0.1.evil.test/",
            "/c",
            "ftp://127.0.0.1/",
        ] {
            assert_eq!(asked(url).unwrap_err().kind, SourceErrorKind::Settings, "{url}");
        }
        let relative = address(&[(RELATIVE, "/v2/x?id=1")].into_iter().collect());
        assert_eq!(relative.unwrap().to_string(), "http://169.254.170.2/v2/x?id=1");
        assert_eq!(address(&Environment::default()).unwrap_err().kind, SourceErrorKind::Absent);
    }
}
