//! The metadata service of an instance.

use super::{provider, written};
use crate::support::{Act, Fixture, Seen};
use headwater_aws::{Source, SourceErrorKind};

const TOKEN: &str = "x-aws-ec2-metadata-token";
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// As strict as the service: a token by PUT with a time to live, and no answer without it.
fn answer(seen: &Seen, token: &str) -> Act {
    match (seen.method.as_str(), seen.target.as_str()) {
        ("PUT", "/latest/api/token") => match seen.header(TTL).parse() {
            Ok(1..=21_600) if seen.header("x-forwarded-for").is_empty() => {
                Act::with(200, &[(TTL, "21600")], token)
            }
            _ => Act::with(400, &[], ""),
        },
        ("GET", _) if seen.header(TOKEN) != token => Act::with(401, &[], ""),
        ("GET", path) if path == ROLES => Act::with(200, &[], "edge-role"),
        ("GET", path) if path == format!("{ROLES}edge-role") => Act::with(200, &[], &written("ASIAINSTANCE")),
        _ => Act::with(404, &[], ""),
    }
}

fn asked(url: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_EC2_METADATA_DISABLED", "false".to_owned()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.to_owned()),
    ]
}

fn of(url: &str) -> headwater_aws::Provider {
    let pairs = asked(url);
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    provider(Source::Instance, &pairs)
}

#[tokio::test]
async fn a_session_token_is_fetched_once_and_shown_with_every_question() {
    let fixture = Fixture::start(|seen, _| answer(seen, "session-1")).await;
    let provider = of(&fixture.url());
    let first = provider.credentials().await.unwrap();
    assert_eq!((first.access_key_id(), first.source()), ("ASIAINSTANCE", "instance role edge-role"));
    assert_eq!(first.session_token().unwrap().expose(), "token-ASIAINSTANCE");
    provider.handle_refused(&first);
    provider.credentials().await.unwrap();
    let methods: Vec<String> = fixture.seen().iter().map(|seen| seen.method.clone()).collect();
    assert_eq!(methods, ["PUT", "GET", "GET", "GET", "GET"]);
    assert_eq!(fixture.seen()[0].header(TTL), "21600");
}

#[tokio::test]
async fn a_forgotten_session_token_is_fetched_again() {
    let fixture =
        Fixture::start(|seen, number| answer(seen, if number < 3 { "session-1" } else { "session-2" })).await;
    let provider = of(&fixture.url());
    let first = provider.credentials().await.unwrap();
    provider.handle_refused(&first);
    provider.credentials().await.unwrap();
    let methods: Vec<String> = fixture.seen().iter().map(|seen| seen.method.clone()).collect();
    assert_eq!(methods, ["PUT", "GET", "GET", "GET", "PUT", "GET", "GET"]);
}

#[tokio::test]
async fn the_old_version_without_a_token_is_not_spoken() {
    let fixture = Fixture::start(|seen, _| match seen.method.as_str() {
        "PUT" => Act::with(403, &[], ""),
        _ => Act::with(200, &[], "edge-role"),
    })
    .await;
    let error = of(&fixture.url()).credentials().await.unwrap_err();
    assert_eq!(error.asked[0].kind, SourceErrorKind::Refused, "{error}");
    assert!(fixture.seen().iter().all(|seen| seen.method == "PUT"));
}

#[tokio::test]
async fn no_role_no_service_and_switched_off_let_the_chain_go_on() {
    let fixture = Fixture::start(|seen, _| match seen.method.as_str() {
        "PUT" => Act::with(200, &[], "t"),
        _ => Act::with(404, &[], ""),
    })
    .await;
    let no_role = of(&fixture.url()).credentials().await.unwrap_err();
    // Nobody listens there any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = of(&format!("http://{gone}")).credentials().await.unwrap_err();
    let off = provider(Source::Instance, &[]).credentials().await.unwrap_err();
    for (error, words) in
        [(no_role, "no role"), (nobody, "no connection"), (off, "AWS_EC2_METADATA_DISABLED")]
    {
        assert_eq!(error.asked[0].kind, SourceErrorKind::Absent, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn what_the_service_says_inside_an_answer_of_success_is_a_refusal() {
    let fixture = Fixture::start(|seen, _| match (seen.method.as_str(), seen.target.as_str()) {
        ("PUT", _) => Act::with(200, &[], "t"),
        (_, path) if path == ROLES => Act::with(200, &[], "edge-role"),
        _ => Act::with(
            200,
            &[],
            r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume the role"}"#,
        ),
    })
    .await;
    let error = of(&fixture.url()).credentials().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no credentials: instance role edge-role: AssumeRoleUnauthorizedAccess: EC2 cannot assume the role"
    );
}
