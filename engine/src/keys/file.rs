//! The file that master keys are in.
//!
//! In: where it is. Out: its keys, and changes written so that a crash leaves the old file or the new one. Invariants: a key
//! file that somebody else could read is refused; one that is written can be read by its owner alone from its first byte on.
//! Not here: what is in the file (master).

use super::master::{DEFAULT_ALIAS, KeyListError, MasterKeys};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Largest key file that is read: far more than a thousand keys take.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Where the master keys are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeySource {
    /// Nowhere: streams cannot be encrypted.
    #[default]
    None,
    /// A file that only its owner may read (mode 0600).
    File {
        /// Where it is.
        path: PathBuf,
        /// Whether it is made, with a default key, when it does not exist.
        create: bool,
    },
    /// A credential that the service manager hands over (systemd: `$CREDENTIALS_DIRECTORY/headwater-master-key`). Never
    /// written; who may read it is the service manager's business.
    Credential {
        /// Where it is.
        path: PathBuf,
    },
}

/// Name of the credential that holds master keys.
pub const CREDENTIAL_NAME: &str = "headwater-master-key";

impl KeySource {
    /// The credential of this service, if its manager handed one over; `directory` is `$CREDENTIALS_DIRECTORY`.
    #[must_use]
    pub fn credential(directory: &Path) -> Option<KeySource> {
        let path = directory.join(CREDENTIAL_NAME);
        path.exists().then_some(KeySource::Credential { path })
    }

    /// The path, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            KeySource::None => None,
            KeySource::File { path, .. } | KeySource::Credential { path } => Some(path),
        }
    }

    /// Reads the keys. Without a source or without a file there are none.
    ///
    /// # Errors
    /// [`KeyFileError`] when there is a file and it cannot be used.
    pub fn read(&self) -> Result<MasterKeys, KeyFileError> {
        let Some(path) = self.path() else { return Ok(MasterKeys::default()) };
        let failed = |source| KeyFileError::Io { path: path.into(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(MasterKeys::default()),
            Err(error) => return Err(failed(error)),
        };
        // Of the open file, not of the path, which may be another one by now.
        let metadata = file.metadata().map_err(failed)?;
        if matches!(self, KeySource::File { .. }) && metadata.mode() & OTHERS != 0 {
            return Err(KeyFileError::Permissions { path: path.into(), found: metadata.mode() & 0o7777 });
        }
        let room = usize::try_from(metadata.len().min(FILE_BYTES_MAX)).unwrap_or(0);
        // Room for all of it, so that growing leaves no copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(room + 1));
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(KeyFileError::Large { path: path.into() });
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| KeyFileError::Text { path: path.into() })?;
        MasterKeys::parse(text).map_err(|source| KeyFileError::Keys { path: path.into(), source })
    }

    /// Makes the file with a default key when it is missing and may be made.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn ensure(&self, now_ms: u64) -> Result<(), KeyFileError> {
        match self {
            KeySource::File { path, create: true } if !path.exists() => {
                let mut keys = MasterKeys::default();
                let made = keys.create(&[DEFAULT_ALIAS], now_ms);
                made.map_err(|source| KeyFileError::Keys { path: path.clone(), source })?;
                write_keys(path, &keys)?;
                tracing::warn!(path = %path.display(), "master keys made: without this file encrypted records cannot be read");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What tells that the file has changed; `None` while there is none.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let metadata = fs::metadata(self.path()?).ok()?;
        Some(Stamp {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            mode: metadata.mode(),
        })
    }
}

/// See [`KeySource::stamp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    mode: u32,
}

/// Writes a key file in place of the one at `path`: durable when this returns, whole at every moment.
///
/// # Errors
/// [`KeyFileError::Io`]; the old file is as it was then.
pub fn write_keys(path: &Path, keys: &MasterKeys) -> Result<(), KeyFileError> {
    let written = || -> io::Result<()> {
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let fresh = path.with_extension("new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(keys.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(directory)?.sync_all()
    };
    written().map_err(|source| KeyFileError::Io { path: path.into(), source })
}

/// A key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Somebody else may read it.
    #[error("master key file {} has mode {found:04o}, must be readable by its owner alone (chmod 0600)", .path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        found: u32,
    },
    /// Its content is not a list of keys.
    #[error("master key file {}: {source}", .path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyListError,
    },
    /// It is not text.
    #[error("master key file {} is not UTF-8", .path.display())]
    Text {
        /// The file.
        path: PathBuf,
    },
    /// It is no key file.
    #[error("master key file {} has more than {FILE_BYTES_MAX} bytes", .path.display())]
    Large {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("master key file {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_made_for_its_owner_alone_and_refused_when_others_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/keys.jsonl");
        let source = KeySource::File { path: path.clone(), create: true };
        assert!(source.read().unwrap().keys().is_empty());
        source.ensure(7).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let made = source.read().unwrap();
        assert_eq!((made.keys().len(), made.keys()[0].created_ms()), (1, 7));
        // Made once: another start keeps it.
        source.ensure(8).unwrap();
        assert_eq!(source.read().unwrap().keys()[0].id(), made.keys()[0].id());
        for mode in [0o640, 0o604, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = source.read().unwrap_err().to_string();
            assert!(error.contains(&format!("mode {mode:04o}")) && error.contains("chmod 0600"), "{error}");
        }
        // A credential is the service manager's: with its access list the group's bits are set.
        assert_eq!(KeySource::Credential { path }.read().unwrap().keys().len(), 1);
    }

    #[test]
    fn without_permission_to_make_one_there_are_no_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.jsonl");
        let source = KeySource::File { path: path.clone(), create: false };
        source.ensure(7).unwrap();
        assert!(!path.exists() && source.read().unwrap().keys().is_empty());
        assert_eq!(KeySource::credential(dir.path()), None);
        fs::write(dir.path().join(CREDENTIAL_NAME), "").unwrap();
        assert!(matches!(KeySource::credential(dir.path()), Some(KeySource::Credential { .. })));
    }
}
