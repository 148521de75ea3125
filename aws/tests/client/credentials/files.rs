//! Environment, shared files and programs, and the order in which they are asked.

use super::{iso, provider};
use crate::support::file;
use headwater_aws::{Clock, Source, SourceErrorKind, Timestamp};

#[tokio::test]
async fn the_environment_is_asked_before_the_profile() {
    let dir = tempfile::tempdir().unwrap();
    let keys = file(
        dir.path(),
        "credentials",
        "[default]\naws_access_key_id = AKIAFILE\naws_secret_access_key = s\n",
    );
    let file_only = [("AWS_SHARED_CREDENTIALS_FILE", keys.as_str())];
    let found = provider(Source::chain(), &file_only).credentials().await.unwrap();
    assert_eq!((found.access_key_id(), found.source()), ("AKIAFILE", "profile default"));
    let both = [
        file_only[0],
        ("AWS_ACCESS_KEY_ID", "AKIAENV"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_SESSION_TOKEN", "t"),
    ];
    let found = provider(Source::chain(), &both).credentials().await.unwrap();
    assert_eq!((found.access_key_id(), found.source()), ("AKIAENV", "environment"));
    assert_eq!(found.session_token().unwrap().expose(), "t");
}

#[tokio::test]
async fn a_profile_that_somebody_chose_has_to_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(dir.path(), "config", "[profile other]\nregion = eu-west-1\n");
    let pairs = [("AWS_CONFIG_FILE", config.as_str()), ("AWS_PROFILE", "site")];
    let error = provider(Source::chain(), &pairs).credentials().await.unwrap_err();
    let last = error.asked.last().unwrap();
    assert_eq!((last.source.as_str(), last.kind), ("profile site", SourceErrorKind::Settings), "{error}");
    assert!(error.is_final());
}

#[tokio::test]
async fn when_nobody_has_any_every_source_is_named_with_its_reason() {
    let error = provider(Source::chain(), &[]).credentials().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no credentials: environment: AWS_ACCESS_KEY_ID is not set; profile default: there is no configuration and no \
         credentials file; web identity of the environment: AWS_WEB_IDENTITY_TOKEN_FILE is not set; container: neither \
         AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set; instance: switched off by \
         AWS_EC2_METADATA_DISABLED"
    );
}

#[tokio::test]
async fn half_a_pair_of_keys_ends_the_search() {
    let error = provider(Source::chain(), &[("AWS_ACCESS_KEY_ID", "AKIA")]).credentials().await.unwrap_err();
    assert_eq!(error.asked.len(), 1);
    assert_eq!(
        error.to_string(),
        "no credentials: environment: AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not"
    );
}

#[tokio::test]
async fn a_program_gives_credentials_and_its_failures_are_said_without_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let end = iso(Timestamp::from_ms(Clock::system().now().wall.ms() + 3_600_000));
    let json = format!(
        r#"{{"Version":1,"AccessKeyId":"AKIA$1","SecretAccessKey":"s","SessionToken":"t","Expiration":"{end}"}}"#
    );
    let script = file(dir.path(), "give.sh", &format!("cat <<X\n{json}\nX\n"));
    let line = format!("sh '{script}' \"PRO GRAM\"");
    let config = file(dir.path(), "config", &format!("[default]\ncredential_process = {line}\n"));
    let found = provider(Source::chain(), &[("AWS_CONFIG_FILE", &config)]).credentials().await.unwrap();
    assert_eq!((found.access_key_id(), found.source()), ("AKIAPRO GRAM", "profile default: command sh"));

    let failing = [
        ("sh -c 'echo hidden >&2; exit 3'", "ended with exit status: 3"),
        ("sh -c 'echo hidden'", "not credentials"),
        ("/nonexistent/program hidden", "cannot be started"),
        ("sh -c 'head -c 200000 /dev/zero'", "more than 65536 bytes"),
        ("sh 'hidden", "quotation"),
    ];
    for (line, words) in failing {
        let error = provider(Source::Command(line.into()), &[]).credentials().await.unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains("hidden"), "{line}: {error}");
    }
}

#[tokio::test]
async fn keys_that_were_changed_in_the_file_are_read_when_the_old_ones_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let keys = |id: &str| {
        file(
            dir.path(),
            "credentials",
            &format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = s\n"),
        )
    };
    let path = keys("AKIAOLD");
    let provider = provider(Source::chain(), &[("AWS_SHARED_CREDENTIALS_FILE", &path)]);
    let old = provider.credentials().await.unwrap();
    keys("AKIANEW");
    assert_eq!(provider.credentials().await.unwrap().access_key_id(), "AKIAOLD");
    provider.handle_refused(&old);
    assert_eq!(provider.credentials().await.unwrap().access_key_id(), "AKIANEW");
}

#[test]
fn no_secret_is_shown_by_anything() {
    let source =
        Source::Fixed(headwater_aws::Credentials::new("AKIA", "hidden-key", Some("hidden-token".into())));
    let settings = headwater_aws::KinesisSettings {
        source: Some(source),
        ..headwater_aws::KinesisSettings::of(crate::support::environment(&[(
            "AWS_SECRET_ACCESS_KEY",
            "hidden-env",
        )]))
    };
    let client = headwater_aws::Kinesis::new(settings.clone()).unwrap();
    let command = Source::Command("tool --key hidden".into());
    let shown = format!("{settings:?} {client:?} {settings:#?} {command:?} {}", command.name());
    assert!(shown.contains("AKIA") && !shown.contains("hidden"), "{shown}");
}
