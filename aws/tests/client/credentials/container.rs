//! The agent beside a container.

use super::{provider, written};
use crate::support::{Act, Fixture, file};
use headwater_aws::Source;

#[tokio::test]
async fn the_agent_is_asked_with_the_token_of_its_file_which_is_read_each_time() {
    let fixture = Fixture::start(|seen, _| match seen.header("authorization") {
        "first" => Act::with(200, &[], &written("ASIAFIRST")),
        "second" => Act::with(200, &[], &written("ASIASECOND")),
        other => Act::with(400, &[], &format!(r#"{{"message":"bad token {}"}}"#, other.len())),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let token = file(dir.path(), "token", "first\n");
    let url = format!("{}/v1/credentials", fixture.url());
    let pairs = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token),
    ];
    let provider = provider(Source::Container, &pairs);
    let first = provider.credentials().await.unwrap();
    assert_eq!((first.access_key_id(), first.source()), ("ASIAFIRST", "container"));
    file(dir.path(), "token", "second");
    provider.handle_refused(&first);
    assert_eq!(provider.credentials().await.unwrap().access_key_id(), "ASIASECOND");
    file(dir.path(), "token", "third");
    provider.handle_refused(&provider.credentials().await.unwrap());
    let error = provider.credentials().await.unwrap_err();
    assert_eq!(error.to_string(), "no credentials: container: answered with status 400: bad token 5");
    assert_eq!(fixture.seen()[0].target, "/v1/credentials");
}

#[tokio::test]
async fn a_variable_cannot_send_us_elsewhere_without_tls() {
    let pairs = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://agent.test/steal")];
    let error = provider(Source::Container, &pairs).credentials().await.unwrap_err();
    assert!(error.is_final() && error.to_string().contains("must be loopback"), "{error}");
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_not_read_to_its_end() {
    let fixture = Fixture::start(|_, _| {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        Act::Endless(head, [b"1000\r\n".to_vec(), vec![b' '; 4_096], b"\r\n".to_vec()].concat())
    })
    .await;
    let url = fixture.url();
    let error = provider(Source::Container, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)])
        .credentials()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("more than 65536 bytes"), "{error}");
}
