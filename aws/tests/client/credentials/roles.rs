//! Roles by STS.

use super::{iso, provider, provider_at};
use crate::support::{Act, Fixture, Seen, file};
use headwater_aws::{Clock, Credentials, Now, Scope, Signable, Source, Timestamp, sign};

fn answer(id: &str) -> Act {
    answer_at(id, Clock::system().now().wall.ms())
}

fn answer_at(id: &str, now_ms: u64) -> Act {
    let end = iso(Timestamp::from_ms(now_ms + 3_600_000));
    Act::with(
        200,
        &[("content-type", "text/xml")],
        &format!(
            "<AssumeRoleResponse xmlns=\"x\"><AssumeRoleResult><AssumedRoleUser><Arn>a</Arn></AssumedRoleUser><Credentials>\
             <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>a/b+c&amp;d</SecretAccessKey><SessionToken>tok&lt;en</SessionToken>\
             <Expiration>{end}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
        ),
    )
}

/// Checks a signature as STS does: made again from what came and from the secret that both know.
fn is_signed(seen: &Seen, id: &str, secret: &str, token: Option<&str>) -> bool {
    let credentials = Credentials::new(id, secret, token.map(Into::into));
    let headers = [("host", seen.header("host")), ("content-type", seen.header("content-type"))];
    let request = Signable { method: &seen.method, path: &seen.target, headers: &headers, body: &seen.body };
    let time = Timestamp::parse_basic(seen.header("x-amz-date")).unwrap();
    let signature = sign(&request, &credentials, Scope { region: "eu-west-1", service: "sts" }, time);
    seen.header("authorization") == signature.authorization
        && seen.header("x-amz-security-token") == token.unwrap_or("")
}

#[tokio::test]
async fn a_chain_of_roles_is_assumed_each_signed_with_the_one_before() {
    let fixture = Fixture::start(|seen, number| {
        let is_right = match number {
            0 => {
                is_signed(seen, "AKIABASE", "base", None)
                    && seen.text().contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fmiddle&")
            }
            1 => {
                is_signed(seen, "ASIAMIDDLE", "a/b+c&d", Some("tok<en"))
                    && seen.text().contains("role%2Flast")
            }
            _ => false,
        };
        if is_right {
            answer(["ASIAMIDDLE", "ASIALAST"][number])
        } else {
            Act::with(403, &[], "<Code>SignatureDoesNotMatch</Code>")
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let config = "[profile last]\nrole_arn = arn:aws:iam::1:role/last\nsource_profile = middle\nexternal_id = e&x\nduration_seconds = 900\n\
                  [profile middle]\nrole_arn = arn:aws:iam::1:role/middle\nsource_profile = base\nrole_session_name = pi-7\n";
    let config = file(dir.path(), "config", config);
    let keys = file(
        dir.path(),
        "credentials",
        "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = base\n",
    );
    let url = fixture.url();
    let pairs = [
        ("AWS_CONFIG_FILE", config.as_str()),
        ("AWS_SHARED_CREDENTIALS_FILE", &keys),
        ("AWS_PROFILE", "last"),
        ("AWS_ENDPOINT_URL_STS", &url),
    ];
    let found = provider(Source::chain(), &pairs).credentials().await.unwrap();
    assert_eq!(found.access_key_id(), "ASIALAST");
    assert_eq!(
        found.source(),
        "profile last: role arn:aws:iam::1:role/last by role arn:aws:iam::1:role/middle by given credentials"
    );
    let seen = fixture.seen();
    assert_eq!(
        seen[0].text(),
        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fmiddle&RoleSessionName=pi-7"
    );
    assert!(
        seen[1].text().ends_with("&RoleSessionName=headwater&ExternalId=e%26x&DurationSeconds=900"),
        "{}",
        seen[1].text()
    );
}

#[tokio::test]
async fn a_web_identity_is_its_token_and_no_signature() {
    let fixture = Fixture::start(|_, _| answer("ASIAWEB")).await;
    let dir = tempfile::tempdir().unwrap();
    let token = file(dir.path(), "token", "eyJ.a+b/c=\n");
    let url = fixture.url();
    let pairs = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod"),
        ("AWS_ENDPOINT_URL", &url),
    ];
    let found = provider(Source::chain(), &pairs).credentials().await.unwrap();
    assert_eq!(found.access_key_id(), "ASIAWEB");
    let seen = &fixture.seen()[0];
    assert_eq!(seen.header("authorization"), "");
    assert!(seen.text().starts_with("Action=AssumeRoleWithWebIdentity&"));
    assert!(seen.text().ends_with("&WebIdentityToken=eyJ.a%2Bb%2Fc%3D"));
}

#[tokio::test]
async fn a_refusal_is_worded_and_names_the_role() {
    let fixture = Fixture::start(|_, _| {
        let body = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not &quot;you&quot;</Message></Error></ErrorResponse>";
        Act::with(403, &[], body)
    })
    .await;
    let url = fixture.url();
    let role = headwater_aws::RoleSettings::new("arn:r");
    let base = Source::Fixed(Credentials::new("AKIA", "hidden", None));
    let source = Source::Role(role, Box::new(base));
    let error = provider(source, &[("AWS_ENDPOINT_URL_STS", &url)]).credentials().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no credentials: role arn:r by given credentials: STS said AccessDenied: not \"you\""
    );
    assert!(error.is_final());
}

#[tokio::test]
async fn a_clock_of_1970_is_learned_from_the_refusal_of_sts() {
    const SERVER_MS: u64 = 1_800_000_000_000;
    let fixture = Fixture::start(|seen, _| {
        let signed = Timestamp::parse_basic(seen.header("x-amz-date")).unwrap().ms();
        if signed.abs_diff(SERVER_MS) < 60_000 {
            answer_at("ASIANOW", SERVER_MS).dated(SERVER_MS)
        } else {
            Act::with(403, &[], "<Code>SignatureDoesNotMatch</Code>").dated(SERVER_MS)
        }
    })
    .await;
    let clock = Clock::new(|| Now { wall: Timestamp::from_ms(60_000), uptime: Clock::system().now().uptime });
    let url = fixture.url();
    let base = Source::Fixed(Credentials::new("AKIA", "s", None));
    let source = Source::Role(headwater_aws::RoleSettings::new("arn:r"), Box::new(base));
    let provider = provider_at(source, &[("AWS_ENDPOINT_URL_STS", &url)], clock);
    assert_eq!(provider.credentials().await.unwrap().access_key_id(), "ASIANOW");
    assert_eq!(fixture.seen().len(), 2);
}

#[tokio::test]
async fn whom_a_role_is_assumed_with_is_not_replaced_by_others() {
    let container = Fixture::start(|_, _| {
        Act::with(200, &[], r#"{"AccessKeyId":"ASIAOTHER","SecretAccessKey":"s","Token":"t"}"#)
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let config = "[default]\nrole_arn = arn:aws:iam::1:role/r\ncredential_source = Environment\n";
    let config = file(dir.path(), "config", config);
    let pairs =
        [("AWS_CONFIG_FILE", config.as_str()), ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container.url())];
    let error = provider(Source::chain(), &pairs).credentials().await.unwrap_err();
    assert!(error.is_final() && error.to_string().contains("AWS_ACCESS_KEY_ID is not set"), "{error}");
    assert!(container.seen().is_empty(), "the container's credentials are not those that were meant");
}
