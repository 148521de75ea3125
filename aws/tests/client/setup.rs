//! What a client is made of, by the environment and the shared files.

use crate::support::{environment, file};
use headwater_aws::{Environment, Kinesis, KinesisSettings, SetupError};

fn made(environment: Environment) -> Result<(String, String), SetupError> {
    let client = Kinesis::new(KinesisSettings::of(environment))?;
    Ok((client.region().to_string(), client.endpoint().to_owned()))
}

#[test]
fn region_and_endpoint_come_from_the_environment_then_from_the_profile() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(
        dir.path(),
        "config",
        "[default]\nregion = sa-east-1\n[profile gov]\nregion = us-gov-west-1\nuse_fips_endpoint = true\nuse_dualstack_endpoint = true\n\
         [profile local]\nregion = local\nservices = here\n[services here]\nkinesis =\n  endpoint_url = http://127.0.0.1:4567\n",
    );
    let of = |pairs: &[(&str, &str)]| {
        let all = [&[("AWS_CONFIG_FILE", config.as_str()), ("AWS_REGION", "")], pairs].concat();
        made(environment(&all)).unwrap()
    };
    let pair = |region: &str, url: &str| (region.to_owned(), url.to_owned());
    assert_eq!(of(&[]), pair("sa-east-1", "https://kinesis.sa-east-1.amazonaws.com"));
    assert_eq!(of(&[("AWS_REGION", "cn-north-1")]).0, "cn-north-1");
    let (_, validated) = of(&[("AWS_PROFILE", "gov")]);
    assert_eq!(validated.trim_start_matches("https:"), "//kinesis-fips.us-gov-west-1.api.aws");
    assert_eq!(of(&[("AWS_PROFILE", "local")]), pair("local", "http://127.0.0.1:4567"));
    let url = ("AWS_ENDPOINT_URL_KINESIS", "http://127.0.0.1:9999");
    assert_eq!(of(&[("AWS_PROFILE", "local"), url]).1, "http://127.0.0.1:9999");
}

#[test]
fn a_region_is_needed_for_aws_and_for_nobody_else() {
    let none = environment(&[("AWS_REGION", "")]);
    let error = made(none.clone()).unwrap_err().to_string();
    assert_eq!(error, "no region: not configured, AWS_REGION is not set, and profile default names none");
    let elsewhere = made(none.with("AWS_ENDPOINT_URL", "http://pi:4567")).unwrap();
    assert_eq!(elsewhere, ("us-east-1".to_owned(), "http://pi:4567".to_owned()));
}

#[test]
fn what_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let broken = file(dir.path(), "config", "[default]\nhidden\n");
    let error = made(environment(&[("AWS_CONFIG_FILE", &broken)])).unwrap_err().to_string();
    assert_eq!(error, format!("{broken}:2: neither a section nor `key = value`"));
    let empty = file(dir.path(), "authorities.pem", "nothing");
    let error = made(environment(&[("AWS_CA_BUNDLE", &empty)])).unwrap_err().to_string();
    assert_eq!(error, format!("{empty} holds no certificate"));
}
