//! Master keys: what stream keys are wrapped with, as AWS KMS would hold them for its customers.
//!
//! ```text
//! {"id":"0b1d…","aliases":["alias/aws/kinesis"],"state":"enabled","created_ms":1790000000000,"secrets":{"1":"base64 of 32 bytes"}}
//! {"id":"77c0…","aliases":["alias/plant"],"state":"disabled","created_ms":1790000000000,"secrets":{"1":"…","2":"…"}}
//! ```
//! One key a line, JSON; empty lines and lines that begin with `#` are kept for people. A key that was rotated has several
//! secrets: the one with the highest number wraps, all unwrap.
//!
//! In: that text, and keys as clients name them. Out: keys, or why AWS would refuse them. Invariants: ids and aliases name one
//! key; secrets are wiped when the list is dropped. Not here: reading and writing the file (file).

use super::secret::{Secret, random_id};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroizing;

/// Alias of the key for streams that name no key of their own, AWS's name for the key it owns itself.
pub const DEFAULT_ALIAS: &str = "alias/aws/kinesis";
/// Most keys and most secrets of one: far more than a box has, few enough to read at every change.
const KEYS_MAX: usize = 1_000;

/// Whether a master key can be used. A key in another state than enabled can neither wrap nor unwrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It can.
    Enabled,
    /// Not until it is enabled again.
    Disabled,
    /// It is going to be removed.
    PendingDeletion,
}

impl KeyState {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            KeyState::Enabled => "enabled",
            KeyState::Disabled => "disabled",
            KeyState::PendingDeletion => "pending_deletion",
        }
    }
}

/// One master key.
#[derive(Debug, Clone)]
pub struct MasterKey {
    id: String,
    aliases: BTreeSet<String>,
    state: KeyState,
    created_ms: u64,
    secrets: BTreeMap<u32, Secret>,
}

impl MasterKey {
    /// Its identifier, a UUID.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its aliases, each beginning with `alias/`.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.aliases.iter().map(String::as_str)
    }

    /// Whether it can be used.
    #[must_use]
    pub fn state(&self) -> KeyState {
        self.state
    }

    /// When it was made, UTC ms since 1970.
    #[must_use]
    pub fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// How often it was rotated, plus one.
    #[must_use]
    pub fn versions(&self) -> usize {
        self.secrets.len()
    }

    /// The secret that wraps, with its number.
    pub(crate) fn newest(&self) -> Option<(u32, &Secret)> {
        self.secrets.last_key_value().map(|(&version, secret)| (version, secret))
    }

    /// The secret of this number.
    pub(crate) fn secret(&self, version: u32) -> Option<&Secret> {
        self.secrets.get(&version)
    }
}

/// The master keys of a box.
#[derive(Debug, Clone, Default)]
pub struct MasterKeys {
    keys: Vec<MasterKey>,
}

/// A line of the file. Texts are borrowed from it, so that no copy of a secret is left behind.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    id: &'a str,
    #[serde(borrow)]
    aliases: BTreeSet<&'a str>,
    state: KeyState,
    created_ms: u64,
    secrets: BTreeMap<u32, &'a str>,
}

impl MasterKeys {
    /// Reads the text of a key file.
    ///
    /// # Errors
    /// [`KeyListError`] with the line; secrets are never part of it.
    pub fn parse(text: &str) -> Result<Self, KeyListError> {
        let mut list = MasterKeys::default();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what| KeyListError::Line { number, what };
            let line: Line<'_> = serde_json::from_str(line).map_err(|_| wrong("is not a key in JSON"))?;
            let secrets = line.secrets.iter().map(|(&version, text)| Some((version, Secret::parse(text)?)));
            let key = MasterKey {
                id: line.id.into(),
                aliases: line.aliases.iter().map(|&alias| alias.into()).collect(),
                state: line.state,
                created_ms: line.created_ms,
                secrets: secrets
                    .collect::<Option<_>>()
                    .ok_or(wrong("has a secret that is not base64 of 32 bytes"))?,
            };
            if key.secrets.is_empty() || key.secrets.len() > KEYS_MAX {
                return Err(wrong("must have 1 to 1000 secrets"));
            }
            if !is_id(&key.id) {
                return Err(wrong("has an id that is not a UUID"));
            }
            if !key.aliases.iter().all(|alias| is_alias(alias)) {
                return Err(wrong("has an alias that does not read alias/<name>"));
            }
            list.add(key).map_err(|_| wrong("has the id or an alias of a key before it"))?;
        }
        Ok(list)
    }

    /// The text of a key file.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        // Room for all of it, so that growing leaves no copy behind.
        let bytes = self.keys.iter().map(|key| 512 + key.aliases.len() * 512 + key.secrets.len() * 64).sum();
        let mut text = Vec::with_capacity(bytes);
        for key in &self.keys {
            let secrets: Vec<_> =
                key.secrets.iter().map(|(&version, secret)| (version, secret.text())).collect();
            let line = Line {
                id: &key.id,
                aliases: key.aliases().collect(),
                state: key.state,
                created_ms: key.created_ms,
                secrets: secrets.iter().map(|(version, text)| (*version, text.as_str())).collect(),
            };
            serde_json::to_writer(&mut text, &line).expect("texts and numbers are always written to memory");
            text.push(b'\n');
        }
        Zeroizing::new(String::from_utf8(text).expect("JSON is UTF-8"))
    }

    /// All keys, in the order of the file.
    #[must_use]
    pub fn keys(&self) -> &[MasterKey] {
        &self.keys
    }

    /// Adds a new enabled key with these aliases and gives its id.
    ///
    /// # Errors
    /// [`KeyListError`] when an alias is taken or not one, or the machine gives no randomness.
    pub fn create(&mut self, aliases: &[&str], now_ms: u64) -> Result<String, KeyListError> {
        if let Some(alias) = aliases.iter().find(|alias| !is_alias(alias)) {
            return Err(KeyListError::Alias((*alias).into()));
        }
        let (id, secret) = (random_id(), Secret::random());
        let (Some(id), Some(secret)) = (id, secret) else { return Err(KeyListError::Random) };
        self.add(MasterKey {
            id: id.clone(),
            aliases: aliases.iter().map(|&alias| alias.into()).collect(),
            state: KeyState::Enabled,
            created_ms: now_ms,
            secrets: BTreeMap::from([(1, secret)]),
        })?;
        Ok(id)
    }

    /// Sets the state of the key with this id or alias.
    ///
    /// # Errors
    /// [`KeyListError::Unknown`].
    pub fn set_state(&mut self, name: &str, state: KeyState) -> Result<(), KeyListError> {
        self.named_mut(name)?.state = state;
        Ok(())
    }

    /// Gives the key with this id or alias a new secret. What the old ones wrapped still opens, and is wrapped anew by the
    /// next engine that starts or notices.
    ///
    /// # Errors
    /// [`KeyListError::Unknown`], or no randomness.
    pub fn rotate(&mut self, name: &str) -> Result<(), KeyListError> {
        let secret = Secret::random().ok_or(KeyListError::Random)?;
        let key = self.named_mut(name)?;
        let next = key.newest().map_or(1, |(version, _)| version.saturating_add(1));
        key.secrets.insert(next, secret);
        Ok(())
    }

    fn named_mut(&mut self, name: &str) -> Result<&mut MasterKey, KeyListError> {
        let named = |key: &&mut MasterKey| key.id == name || key.aliases.contains(name);
        self.keys.iter_mut().find(named).ok_or_else(|| KeyListError::Unknown(name.into()))
    }

    fn add(&mut self, key: MasterKey) -> Result<(), KeyListError> {
        let taken =
            self.keys.iter().find(|other| other.id == key.id || !other.aliases.is_disjoint(&key.aliases));
        if let Some(other) = taken {
            return Err(KeyListError::Taken(other.id.clone()));
        }
        if self.keys.len() == KEYS_MAX {
            return Err(KeyListError::Many);
        }
        self.keys.push(key);
        Ok(())
    }
}

/// Whether `text` has the form of a UUID.
pub(crate) fn is_id(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// Whether `text` is an alias as KMS allows them.
fn is_alias(text: &str) -> bool {
    let name = text.strip_prefix("alias/").unwrap_or_default();
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-');
    (1..=250).contains(&name.len()) && name.bytes().all(fits)
}

/// A list of master keys is not one, or cannot be changed as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyListError {
    /// A line of the file cannot be used.
    #[error("line {number} {what}")]
    Line {
        /// The line, from 1.
        number: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Not an alias.
    #[error("alias `{0}` must read alias/<name> with 1 to 250 letters, digits, /, _ and -")]
    Alias(String),
    /// There is no key of this name.
    #[error("there is no master key `{0}`")]
    Unknown(String),
    /// Another key has the id or alias.
    #[error("master key {0} has this name already")]
    Taken(String),
    /// More keys than there may be.
    #[error("there are {KEYS_MAX} master keys already")]
    Many,
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (MasterKeys, String, String) {
        let mut keys = MasterKeys::default();
        let default = keys.create(&[DEFAULT_ALIAS], 1).unwrap();
        let plant = keys.create(&["alias/plant", "alias/hall-7"], 2).unwrap();
        (keys, default, plant)
    }

    #[test]
    fn a_list_comes_back_from_its_text() {
        let (mut keys, default, _) = keys();
        keys.rotate(DEFAULT_ALIAS).unwrap();
        keys.set_state("alias/plant", KeyState::PendingDeletion).unwrap();
        let text = keys.text();
        let read = MasterKeys::parse(&format!("# for people\n\n{}", *text)).unwrap();
        assert_eq!(read.text(), text);
        assert_eq!((read.keys()[0].id(), read.keys()[0].versions()), (&*default, 2));
        assert_eq!(read.keys()[1].state(), KeyState::PendingDeletion);
        assert!(!format!("{read:?}").contains(&*keys.keys()[0].newest().unwrap().1.text()));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_secrets() {
        let (keys, ..) = keys();
        let text = keys.text();
        let line = text.lines().next().unwrap();
        for (wrong, what) in [
            ("{".to_owned(), "not a key"),
            (line.replace("\"enabled\"", "\"on\""), "not a key"),
            (line.replace("{\"id\"", "{\"more\":1,\"id\""), "not a key"),
            (line.replace("\"1\":\"", "\"1\":\"A"), "secret"),
            (line.replace("alias/aws/kinesis", "aws/kinesis"), "alias"),
            (line.replacen('-', "_", 1), "UUID"),
            (format!("{line}\n{line}"), "key before it"),
        ] {
            let error = MasterKeys::parse(&wrong).unwrap_err().to_string();
            assert!(error.contains(what) && error.starts_with("line "), "{error}");
        }
        assert!(matches!(MasterKeys::default().create(&["plant"], 0), Err(KeyListError::Alias(_))));
        let mut twice = keys.clone();
        assert!(matches!(twice.create(&["alias/plant"], 0), Err(KeyListError::Taken(_))));
        assert!(matches!(twice.rotate("alias/none"), Err(KeyListError::Unknown(_))));
    }
}
