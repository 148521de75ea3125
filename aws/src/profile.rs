//! The files `~/.aws/config` and `~/.aws/credentials`: profiles with their keys.
//!
//! In: two texts. Out: what each profile says. Where both files speak of a profile the credentials file wins, key by key.
//! Invariant: a file that cannot be read in a place is refused with its line, never half used; no message has a value in it.
//!
//! ```text
//! [default]                       in either file
//! [profile site]                  in config; [site] in credentials
//! role_arn = arn:aws:iam::1:role/r    # a comment after a blank
//! services = local
//! [services local]
//! kinesis =
//!   endpoint_url = http://127.0.0.1:4567
//! ```
//! Not here: what the keys mean (credentials, endpoint), profiles of single sign-on, which need a person at a browser.

use crate::environment::Environment;
use crate::limits;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Why a file of profiles cannot be used. Never shows a value.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is there and cannot be read.
    #[error("{file} cannot be read", file = .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// It is not a file of profiles in some line.
    #[error("{file}:{line}: {what}", file = .file.display())]
    Line {
        /// Which file.
        file: PathBuf,
        /// Counted from one.
        line: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

/// What all profiles say. `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Profiles {
    profiles: BTreeMap<String, Keys>,
    services: BTreeMap<String, Keys>,
    files: Vec<PathBuf>,
}

/// Keys of one section; those of a nested block are `outer.inner`.
type Keys = BTreeMap<String, Zeroizing<String>>;

impl Profiles {
    /// Reads the files that `AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE` name, or the usual ones. A file that is not there is empty.
    ///
    /// # Errors
    /// [`ProfileError`], with file and line.
    pub fn load(environment: &Environment) -> Result<Self, ProfileError> {
        let mut profiles = Profiles::default();
        let files = [
            ("AWS_CONFIG_FILE", ".aws/config", Kind::Config),
            ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", Kind::Credentials),
        ];
        for (variable, usual, kind) in files {
            let Some(path) = environment.file(variable, usual) else { continue };
            if let Some(text) = read(&path)? {
                profiles.add(&path, &text, kind)?;
                profiles.files.push(path);
            }
        }
        Ok(profiles)
    }

    /// The files that were there.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether any file has this profile.
    #[must_use]
    pub fn has(&self, profile: &str) -> bool {
        self.profiles.contains_key(profile)
    }

    /// What a profile says for a key; an empty value counts as absent.
    #[must_use]
    pub fn get(&self, profile: &str, key: &str) -> Option<&str> {
        let value = self.profiles.get(profile)?.get(key)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// The endpoint that a profile names for a service: in its `services` section, else for all services.
    #[must_use]
    pub fn endpoint(&self, profile: &str, service: &str) -> Option<&str> {
        let section = self.get(profile, "services").and_then(|name| self.services.get(name));
        let own = section.and_then(|keys| keys.get(&format!("{service}.endpoint_url")));
        own.map(|value| value.as_str()).or_else(|| self.get(profile, "endpoint_url"))
    }

    fn add(&mut self, file: &Path, text: &str, kind: Kind) -> Result<(), ProfileError> {
        let wrong = |line: usize, what| ProfileError::Line { file: file.to_owned(), line: line + 1, what };
        // The section of the lines that follow; nothing for those of sections that are not ours.
        let mut section: Option<&mut Keys> = None;
        let (mut in_section, mut outer) = (false, None::<String>);
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let is_nested = line.starts_with([' ', '\t']);
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[').filter(|_| !is_nested) {
                let (title, _) =
                    rest.split_once(']').ok_or_else(|| wrong(number, "a section without its `]`"))?;
                section = self.section(title, kind);
                (in_section, outer) = (true, None);
                continue;
            }
            if !in_section {
                return Err(wrong(number, "a key before the first section"));
            }
            let Some((key, value)) = line.split_once('=') else {
                // A value that goes on in the next line: AWS's tools write none for the keys that are read here.
                if is_nested {
                    continue;
                }
                return Err(wrong(number, "neither a section nor `key = value`"));
            };
            let key = key.trim().to_ascii_lowercase();
            if key.is_empty() {
                return Err(wrong(number, "a value without a key"));
            }
            let value = Zeroizing::new(without_comment(value).to_owned());
            let name = match (&outer, is_nested) {
                (Some(outer), true) => format!("{outer}.{key}"),
                _ => key.clone(),
            };
            if !is_nested {
                outer = value.is_empty().then_some(key);
            }
            if let Some(keys) = section.as_deref_mut() {
                keys.insert(name, value);
            }
        }
        Ok(())
    }

    fn section(&mut self, title: &str, kind: Kind) -> Option<&mut Keys> {
        let title = title.trim();
        let (word, name) = title.split_once(char::is_whitespace).unwrap_or((title, ""));
        let name = name.trim().trim_matches(['"', '\'']).to_owned();
        match (kind, word) {
            (Kind::Config, "profile") if !name.is_empty() => Some(self.profiles.entry(name).or_default()),
            (Kind::Config, "services") if !name.is_empty() => Some(self.services.entry(name).or_default()),
            (Kind::Config, "default") if name.is_empty() => {
                Some(self.profiles.entry(title.to_owned()).or_default())
            }
            (Kind::Credentials, _) => Some(self.profiles.entry(title.to_owned()).or_default()),
            (Kind::Config, _) => None,
        }
    }
}

impl fmt::Debug for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profiles").field("names", &self.profiles.keys()).field("files", &self.files).finish()
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Config,
    Credentials,
}

/// A `#` or `;` begins a comment only after a blank: secrets may contain both.
fn without_comment(value: &str) -> &str {
    let ends = value.match_indices(['#', ';']).find(|(at, _)| value[..*at].ends_with([' ', '\t']));
    ends.map_or(value, |(at, _)| &value[..at]).trim()
}

/// Nothing when there is no such file. At most [`limits::FILE_BYTES_MAX`].
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, ProfileError> {
    let failed = |error| ProfileError::Read(path.to_owned(), error);
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = Zeroizing::new(String::new());
    file.take(limits::FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > limits::FILE_BYTES_MAX {
        let what = format!("more than {} bytes", limits::FILE_BYTES_MAX);
        return Err(failed(std::io::Error::new(std::io::ErrorKind::FileTooLarge, what)));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(config: &str, credentials: &str) -> Result<Profiles, ProfileError> {
        let mut profiles = Profiles::default();
        profiles.add(Path::new("config"), config, Kind::Config)?;
        profiles.add(Path::new("credentials"), credentials, Kind::Credentials)?;
        Ok(profiles)
    }

    #[test]
    fn profiles_of_both_files_are_one_and_the_credentials_file_wins() {
        let config = "# ours\n[default]\nregion=eu-west-1 ; here\n[profile \"a b\"]\nRegion = x\n[profile site]\n\
                      role_arn = r#1\naws_access_key_id = old\n[preview]\nregion = none\n[sso-session s]\nregion = none\n";
        let profiles =
            parsed(config, "[site]\naws_access_key_id = new\n[default]\naws_secret_access_key = a#b;c=d==\n")
                .unwrap();
        assert_eq!(profiles.get("default", "region"), Some("eu-west-1"));
        assert_eq!(profiles.get("a b", "region"), Some("x"));
        assert_eq!(profiles.get("site", "role_arn"), Some("r#1"));
        assert_eq!(profiles.get("site", "aws_access_key_id"), Some("new"));
        assert_eq!(profiles.get("default", "aws_secret_access_key"), Some("a#b;c=d=="));
        assert!(!profiles.has("preview") && !profiles.has("s"));
        assert!(!format!("{profiles:?}").contains("a#b"));
    }

    #[test]
    fn a_service_has_an_endpoint_of_its_own() {
        let config = "[profile edge]\nservices = local\nendpoint_url = http://all.test\ns3 =\n  max = 3\n\
                      [services local]\nkinesis = \n  endpoint_url = http://kinesis.test\nsts =\n  other = 1\n";
        let profiles = parsed(config, "").unwrap();
        assert_eq!(profiles.endpoint("edge", "kinesis"), Some("http://kinesis.test"));
        assert_eq!(profiles.endpoint("edge", "sts"), Some("http://all.test"));
        assert_eq!(profiles.endpoint("default", "sts"), None);
    }

    #[test]
    fn no_text_panics() {
        let text = "[profile a]\nb = c # d\ne =\n  f = g\n[services \"h\"]\nkinesis =\n  endpoint_url = i\n[default]\nj=k\n";
        for at in 0..text.len() {
            let _ = parsed(&text[..at], &text[at..]);
            for letter in ["[", "]", "=", "\n", " ", "é", "\u{feff}", "#"] {
                let _ = parsed(&format!("{}{letter}{}", &text[..at], &text[at + 1..]), text);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_its_value() {
        for (text, line) in
            [("secret = x", 1), ("[default]\nsecret", 2), ("[default", 1), ("[default]\n= secret", 2)]
        {
            let error = parsed(text, "").unwrap_err().to_string();
            assert!(error.starts_with(&format!("config:{line}: ")) && !error.contains("secret"), "{error}");
        }
    }
}
