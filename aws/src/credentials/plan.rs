//! What a profile means: the source that its keys describe.
//!
//! In: the profiles of both files, a name. Out: a [`Source`] that names no profile any more, or why there is none.
//! Order in one profile, as AWS's tools have it: a role by web identity, a role by another source, keys, a program.
//! Not here: asking it (fetch).

use super::fetch::missing;
use super::sts::{RoleSettings, WebIdentity};
use super::{Credentials, Source, SourceError, SourceErrorKind};
use crate::environment::Environment;
use crate::limits;
use crate::profile::Profiles;
use crate::secret::Secret;

/// Reads a profile and those it names.
///
/// # Errors
/// [`SourceErrorKind::Absent`] for a profile that is not there or has nothing to do with credentials, else
/// [`SourceErrorKind::Settings`].
pub(super) fn plan(
    profiles: &Profiles,
    name: &str,
    environment: &Environment,
) -> Result<Source, SourceError> {
    Planning { profiles, environment, visited: Vec::new() }.profile(name)
}

struct Planning<'a> {
    profiles: &'a Profiles,
    environment: &'a Environment,
    visited: Vec<String>,
}

impl Planning<'_> {
    fn profile(&mut self, name: &str) -> Result<Source, SourceError> {
        let get = |key| self.profiles.get(name, key);
        if !self.profiles.has(name) {
            return Err(self.absent(name));
        }
        if self.visited.iter().any(|visited| visited == name) || self.visited.len() == limits::ROLES_MAX {
            let way = self.visited.join(", ");
            return Err(settings(
                name,
                format!("source_profile leads in a circle or too far: {way}, {name}"),
            ));
        }
        // A profile that others take their credentials from gives its keys before its role.
        let is_source = !self.visited.is_empty();
        self.visited.push(name.to_owned());
        if let Some(arn) = get("role_arn").filter(|_| !(is_source && get("aws_access_key_id").is_some())) {
            return self.role(name, arn);
        }
        if let Some(keys) = keys(self.profiles, name)? {
            return Ok(Source::Fixed(keys));
        }
        if let Some(line) = get("credential_process") {
            return Ok(Source::Command(line.into()));
        }
        if get("sso_session").or_else(|| get("sso_start_url")).is_some() {
            let reason =
                "it signs on with a browser (sso_session), which needs a person; use a role, keys or AWS IoT";
            return Err(settings(name, reason.to_owned()));
        }
        Err(SourceError::new(title(name), SourceErrorKind::Absent, "it names no credentials"))
    }

    fn role(&mut self, name: &str, arn: &str) -> Result<Source, SourceError> {
        let get = |key| self.profiles.get(name, key);
        if get("mfa_serial").is_some() {
            return Err(settings(
                name,
                "its role wants the code of a token (mfa_serial), which needs a person".to_owned(),
            ));
        }
        let duration = get("duration_seconds").map(|text| {
            text.parse()
                .map_err(|_| settings(name, format!("duration_seconds is {text:?}, must be a number")))
        });
        let role = RoleSettings {
            arn: arn.to_owned(),
            session_name: get("role_session_name").map(str::to_owned),
            external_id: get("external_id").map(str::to_owned),
            duration_seconds: duration.transpose()?,
        };
        if let Some(file) = get("web_identity_token_file") {
            let token_file = self.environment.path(file);
            return Ok(Source::WebIdentity(Some(WebIdentity { role, token_file })));
        }
        let from = match (get("source_profile"), get("credential_source")) {
            (Some(_), Some(_)) => {
                return Err(settings(name, "it has both source_profile and credential_source".to_owned()));
            }
            (None, None) => {
                return Err(settings(name, "role_arn needs source_profile or credential_source".to_owned()));
            }
            // A profile may assume its role with its own keys.
            (Some(own), None) if own == name => match keys(self.profiles, name)? {
                Some(keys) => Source::Fixed(keys),
                None => {
                    return Err(settings(
                        name,
                        "source_profile is the profile itself, which has no keys".to_owned(),
                    ));
                }
            },
            (Some(other), None) => match self.profile(other) {
                // Whoever is named has to be there.
                Err(error) if error.kind == SourceErrorKind::Absent || !self.profiles.has(other) => {
                    return Err(settings(name, format!("source_profile {other}: {}", error.reason)));
                }
                planned => planned?,
            },
            (None, Some("Environment")) => Source::Environment,
            (None, Some("Ec2InstanceMetadata")) => Source::Instance,
            (None, Some("EcsContainer")) => Source::Container,
            (None, Some(other)) => {
                let reason = format!(
                    "credential_source is {other}, must be Environment, Ec2InstanceMetadata or EcsContainer"
                );
                return Err(settings(name, reason));
            }
        };
        Ok(Source::Role(role, Box::new(from)))
    }

    fn absent(&self, name: &str) -> SourceError {
        let files: Vec<_> = self.profiles.files().iter().map(|file| file.display().to_string()).collect();
        let reason = match files.as_slice() {
            [] => "there is no configuration and no credentials file".to_owned(),
            files => format!("not in {}", files.join(" and ")),
        };
        // A name that somebody chose has to be there; the default need not.
        let kind = if name == "default" { SourceErrorKind::Absent } else { SourceErrorKind::Settings };
        SourceError::new(title(name), kind, reason)
    }
}

fn keys(profiles: &Profiles, name: &str) -> Result<Option<Credentials>, SourceError> {
    let (id, secret) = ("aws_access_key_id", "aws_secret_access_key");
    match (profiles.get(name, id), profiles.get(name, secret)) {
        (Some(id), Some(secret)) => {
            let token = profiles.get(name, "aws_session_token").map(Secret::new);
            Ok(Some(Credentials::new(id, Secret::new(secret), token).from_source(title(name))))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err(missing(&title(name), secret, id)),
        (None, Some(_)) => Err(missing(&title(name), id, secret)),
    }
}

fn title(name: &str) -> String {
    format!("profile {name}")
}

fn settings(name: &str, reason: String) -> SourceError {
    SourceError::new(title(name), SourceErrorKind::Settings, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(config: &str, name: &str) -> Result<Source, SourceError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::fs::write(&file, config).unwrap();
        let environment: Environment = [("AWS_CONFIG_FILE", file.to_str().unwrap())].into_iter().collect();
        plan(&Profiles::load(&environment).unwrap(), name, &environment)
    }

    #[test]
    fn roles_lead_to_the_keys_they_are_assumed_with() {
        let config = "[profile a]\nrole_arn = arn:a\nsource_profile = b\nduration_seconds = 900\nexternal_id = e\n\
                      [profile b]\nrole_arn = arn:b\nsource_profile = c\n\
                      [profile c]\naws_access_key_id = C\naws_secret_access_key = hidden\nrole_arn = arn:c\nsource_profile = c\n";
        let Source::Role(first, from) = planned(config, "a").unwrap() else { panic!("a role") };
        assert_eq!((first.arn.as_str(), first.duration_seconds), ("arn:a", Some(900)));
        let Source::Role(second, from) = *from else { panic!("a role") };
        assert_eq!(second.arn, "arn:b");
        assert!(matches!(*from, Source::Fixed(keys) if keys.access_key_id() == "C"));
        // Asked by name, the last profile assumes its role with its own keys.
        let Source::Role(own, from) = planned(config, "c").unwrap() else { panic!("a role") };
        assert!(own.arn == "arn:c" && matches!(*from, Source::Fixed(_)));
        assert!(!format!("{:?}", planned(config, "a")).contains("hidden"));
    }

    #[test]
    fn every_other_source_can_be_named() {
        let config = "[profile w]\nrole_arn = arn:w\nweb_identity_token_file = /t\nsource_profile = x\n\
                      [profile i]\nrole_arn = arn:i\ncredential_source = Ec2InstanceMetadata\n\
                      [profile p]\ncredential_process = tool --key hidden\n[default]\nregion = eu-west-1\n";
        assert!(matches!(planned(config, "w").unwrap(), Source::WebIdentity(Some(_))));
        assert!(
            matches!(planned(config, "i").unwrap(), Source::Role(_, from) if matches!(*from, Source::Instance))
        );
        let command = planned(config, "p").unwrap();
        assert_eq!(command.name(), "command tool");
        assert_eq!(planned(config, "default").unwrap_err().kind, SourceErrorKind::Absent);
    }

    #[test]
    fn what_cannot_work_is_said_and_ends_the_search() {
        let cases = [
            (
                "[profile a]\nrole_arn=r\nsource_profile=b\n[profile b]\nrole_arn=r\nsource_profile=a",
                "circle",
            ),
            ("[profile a]\nrole_arn=r\nsource_profile=b", "source_profile b: not in"),
            (
                "[profile a]\nrole_arn=r\nsource_profile=b\n[profile b]\nregion=x",
                "source_profile b: it names no credentials",
            ),
            ("[profile a]\nrole_arn=r\nsource_profile=a", "itself"),
            ("[profile a]\nrole_arn=r", "needs source_profile"),
            ("[profile a]\nrole_arn=r\nsource_profile=b\ncredential_source=Environment", "both"),
            ("[profile a]\nrole_arn=r\ncredential_source=Magic", "Magic"),
            ("[profile a]\nrole_arn=r\nmfa_serial=m\nsource_profile=b", "mfa_serial"),
            ("[profile a]\nrole_arn=r\nduration_seconds=long\nsource_profile=b", "duration_seconds"),
            ("[profile a]\naws_access_key_id=A", "aws_secret_access_key is not"),
            ("[profile a]\nsso_session=s", "browser"),
            ("[profile b]\nsso_session=s", "not in"),
        ];
        for (config, words) in cases {
            let error = planned(config, "a").unwrap_err();
            assert_eq!(error.kind, SourceErrorKind::Settings, "{config}: {error}");
            assert!(error.to_string().contains(words), "{config}: {error}");
        }
    }
}
