//! Which master key a client means, in all the ways AWS KMS lets it be named, and why it cannot be used, in KMS's words.
//!
//! In: a `KeyId`, the list of keys. Out: a key that is enabled, or a refusal. Not here: the list itself (master).

use super::KeyRefusal;
use super::master::{KeyState, MasterKey, MasterKeys, is_id};

impl MasterKeys {
    /// The key of this id, if it can be used.
    pub(crate) fn usable(&self, id: &str, scope: &Scope<'_>) -> Result<&MasterKey, KeyRefusal> {
        let arn = scope.key_arn(id);
        match self.keys().iter().find(|key| key.id() == id) {
            None => Err(KeyRefusal::NotFound(format!("Key '{arn}' does not exist"))),
            Some(key) => match key.state() {
                KeyState::Enabled => Ok(key),
                KeyState::Disabled => Err(KeyRefusal::Disabled(format!("{arn} is disabled."))),
                KeyState::PendingDeletion => {
                    Err(KeyRefusal::InvalidState(format!("{arn} is pending deletion.")))
                }
            },
        }
    }

    /// The key that a client means, if it can be used: an id, an alias, or the ARN of either.
    pub(crate) fn find(&self, named: &str, scope: &Scope<'_>) -> Result<&MasterKey, KeyRefusal> {
        let foreign = || KeyRefusal::NotFound(format!("Invalid arn {named}"));
        let name = match named.strip_prefix("arn:") {
            None => named,
            Some(rest) => {
                let parts: Vec<_> = rest.splitn(5, ':').collect();
                let [partition, "kms", region, account, resource] = parts[..] else { return Err(foreign()) };
                if !partition.starts_with("aws") || (region, account) != (scope.region, scope.account) {
                    return Err(foreign());
                }
                match resource.strip_prefix("key/") {
                    Some(id) => id,
                    None if resource.starts_with("alias/") => resource,
                    None => return Err(foreign()),
                }
            }
        };
        if !name.starts_with("alias/") {
            let known = is_id(name) || self.keys().iter().any(|key| key.id() == name);
            return if known {
                self.usable(name, scope)
            } else {
                Err(KeyRefusal::NotFound(format!("Invalid keyId '{name}'")))
            };
        }
        match self.keys().iter().find(|key| key.aliases().any(|alias| alias == name)) {
            Some(key) => self.usable(key.id(), scope),
            None => {
                let arn = scope.arn(name);
                Err(KeyRefusal::NotFound(format!("Alias {arn} is not found.")))
            }
        }
    }
}

/// The account and region that keys are said to be in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) region: &'a str,
    pub(crate) account: &'a str,
}

impl Scope<'_> {
    fn key_arn(&self, id: &str) -> String {
        self.arn(&format!("key/{id}"))
    }

    fn arn(&self, resource: &str) -> String {
        format!("arn:aws:kms:{}:{}:{resource}", self.region, self.account)
    }
}

#[cfg(test)]
mod tests {
    use super::super::master::DEFAULT_ALIAS;
    use super::*;

    const SCOPE: Scope<'_> = Scope { region: "us-east-1", account: "000000000000" };

    fn keys() -> (MasterKeys, String, String) {
        let mut keys = MasterKeys::default();
        let default = keys.create(&[DEFAULT_ALIAS], 1).unwrap();
        let plant = keys.create(&["alias/plant", "alias/hall-7"], 2).unwrap();
        (keys, default, plant)
    }

    #[test]
    fn keys_are_found_by_every_name_aws_takes() {
        let (keys, default, plant) = keys();
        let named = |name: &str| keys.find(name, &SCOPE).map(|key| key.id().to_owned());
        for name in [
            DEFAULT_ALIAS.to_owned(),
            default.clone(),
            format!("arn:aws:kms:us-east-1:000000000000:key/{default}"),
            "arn:aws:kms:us-east-1:000000000000:alias/aws/kinesis".into(),
        ] {
            assert_eq!(named(&name), Ok(default.clone()), "{name}");
        }
        assert_eq!(named("alias/hall-7"), Ok(plant));
        let none = "11111111-2222-4333-8444-555555555555";
        for (name, message) in [
            ("nope", "Invalid keyId 'nope'".to_owned()),
            ("alias/nope", "Alias arn:aws:kms:us-east-1:000000000000:alias/nope is not found.".into()),
            (none, format!("Key 'arn:aws:kms:us-east-1:000000000000:key/{none}' does not exist")),
            (
                "arn:aws:kms:eu-west-1:000000000000:alias/plant",
                "Invalid arn arn:aws:kms:eu-west-1:000000000000:alias/plant".into(),
            ),
            ("arn:aws:s3:::x", "Invalid arn arn:aws:s3:::x".into()),
        ] {
            assert_eq!(named(name), Err(KeyRefusal::NotFound(message)));
        }
    }

    #[test]
    fn keys_that_are_not_enabled_are_refused_as_kms_does() {
        let (mut keys, default, _) = keys();
        let arn = format!("arn:aws:kms:us-east-1:000000000000:key/{default}");
        keys.set_state(&default, KeyState::Disabled).unwrap();
        assert_eq!(
            keys.find(DEFAULT_ALIAS, &SCOPE).unwrap_err(),
            KeyRefusal::Disabled(format!("{arn} is disabled."))
        );
        keys.set_state(&default, KeyState::PendingDeletion).unwrap();
        let refused = keys.find(&default, &SCOPE).unwrap_err();
        assert_eq!(refused, KeyRefusal::InvalidState(format!("{arn} is pending deletion.")));
    }
}
