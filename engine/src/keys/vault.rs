//! The wrapped keys of streams, a file each, apart from everything else on the disk.
//!
//! ```text
//! keys/stream-0000000007-key-00002-00001.json     stream, key of the stream, how often it was wrapped anew
//! {"format":1,"stream":7,"key":2,"master":"<id of the master key>","version":1,"wrapped":"<base64>"}
//! ```
//! Why files and not metadata: a deleted stream's key must be gone, and metadata lives on in old segments and snapshots of
//! the journal until they are used again. A file of its own is overwritten in place, synced and removed, so that when a
//! delete is answered no file holds the key any more, wrapped or not. (What a flash controller or a copy-on-write file
//! system keeps of overwritten blocks is below files; it still needs the master key.)
//!
//! In and out: wrapped keys. Invariants: a key that was put is durable; one that was erased is in no file. Not here: who may
//! unwrap them (keys).

use super::secret::Wrapped;
use crate::names::StreamNumber;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Format of the files.
const FORMAT: u16 = 1;
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 4_096;

/// The key of a stream as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredKey {
    /// The stream.
    pub(crate) stream: StreamNumber,
    /// Which of its keys.
    pub(crate) key: u16,
    /// The master key that wrapped it,
    pub(crate) master: String,
    /// with the secret of this number.
    pub(crate) version: u32,
    /// The key.
    pub(crate) wrapped: Wrapped,
}

impl StoredKey {
    /// What the wrapped key is bound to: one that was moved to another stream, key or master does not open.
    pub(crate) fn purpose(stream: StreamNumber, key: u16, master: &str, version: u32) -> Vec<u8> {
        format!("headwater stream key 1: stream {} key {key} master {master} version {version}", stream.0)
            .into_bytes()
    }
}

#[derive(Serialize, Deserialize)]
struct Content {
    format: u16,
    stream: u32,
    key: u16,
    master: String,
    version: u32,
    wrapped: String,
}

/// Where a key is: stream, key, times wrapped.
type Place = (u32, u16, u32);

/// The directory of wrapped keys.
#[derive(Debug)]
pub(crate) struct Vault {
    dir: PathBuf,
}

impl Vault {
    /// The vault in `dir`, which is made when the first key is put.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Vault { dir }
    }

    /// The newest form of every key. Files that cannot be read are named in the log and left alone: a damaged file must not
    /// keep the other streams from starting.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn list(&self) -> io::Result<Vec<StoredKey>> {
        let mut newest: BTreeMap<(u32, u16), StoredKey> = BTreeMap::new();
        for place in self.places()? {
            let path = self.path(place);
            match read(&path, place) {
                // In order of `places`, so a later one is a newer wrapping.
                Some(stored) => drop(newest.insert((place.0, place.1), stored)),
                None => tracing::error!(path = %path.display(), "the key of a stream cannot be read"),
            }
        }
        Ok(newest.into_values().collect())
    }

    /// Makes a key durable, in place of older wrappings of it, which are erased.
    ///
    /// # Errors
    /// When it may not be durable, or an older wrapping not erased.
    pub(crate) fn put(&self, stored: &StoredKey) -> io::Result<()> {
        if !self.dir.exists() {
            fs::create_dir_all(&self.dir)?;
            sync(self.dir.parent().unwrap_or(Path::new("/")))?;
        }
        let same = |place: &&Place| (place.0, place.1) == (stored.stream.0, stored.key);
        let places = self.places()?;
        let older: Vec<_> = places.iter().filter(same).copied().collect();
        let number = older.last().map_or(1, |place| place.2.saturating_add(1));
        let path = self.path((stored.stream.0, stored.key, number));
        let content = Content {
            format: FORMAT,
            stream: stored.stream.0,
            key: stored.key,
            master: stored.master.clone(),
            version: stored.version,
            wrapped: stored.wrapped.text(),
        };
        let text = serde_json::to_vec(&content).map_err(io::Error::other)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&text)?;
        file.sync_all()?;
        sync(&self.dir)?;
        older.into_iter().try_for_each(|place| self.erase(place))?;
        Ok(())
    }

    /// Removes every key of a stream: none of them is in a file when this returns.
    ///
    /// # Errors
    /// When one may still be there.
    pub(crate) fn forget(&self, stream: StreamNumber) -> io::Result<()> {
        let of_stream = |place: &Place| place.0 == stream.0;
        self.places()?.into_iter().filter(of_stream).try_for_each(|place| self.erase(place))
    }

    /// Overwrites a file before its name goes: what a name no longer leads to is still on the disk.
    fn erase(&self, place: Place) -> io::Result<()> {
        let path = self.path(place);
        let mut file = OpenOptions::new().write(true).open(&path)?;
        let bytes = usize::try_from(file.metadata()?.len().min(FILE_BYTES_MAX)).unwrap_or(0);
        file.write_all(&vec![0; bytes])?;
        file.sync_all()?;
        fs::remove_file(&path)?;
        sync(&self.dir)
    }

    /// All keys there are, in order.
    fn places(&self) -> io::Result<Vec<Place>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut places = Vec::new();
        for entry in entries {
            if let Some(place) = entry?.file_name().to_str().and_then(place) {
                places.push(place);
            }
        }
        places.sort_unstable();
        Ok(places)
    }

    fn path(&self, (stream, key, number): Place) -> PathBuf {
        self.dir.join(format!("stream-{stream:010}-key-{key:05}-{number:05}.json"))
    }
}

fn place(name: &str) -> Option<Place> {
    let (stream, rest) = name.strip_prefix("stream-")?.strip_suffix(".json")?.split_once("-key-")?;
    let (key, number) = rest.split_once('-')?;
    Some((stream.parse().ok()?, key.parse().ok()?, number.parse().ok()?))
}

fn read(path: &Path, place: Place) -> Option<StoredKey> {
    let file = File::open(path).ok()?;
    let content: Content = serde_json::from_reader(io::Read::take(file, FILE_BYTES_MAX)).ok()?;
    let fits = content.format == FORMAT && (content.stream, content.key) == (place.0, place.1);
    let stored = StoredKey {
        stream: StreamNumber(content.stream),
        key: content.key,
        master: content.master,
        version: content.version,
        wrapped: Wrapped::parse(&content.wrapped)?,
    };
    fits.then_some(stored)
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::secret::Secret;
    use super::*;

    fn stored(stream: u32, key: u16, version: u32) -> StoredKey {
        let (master, inner) = (Secret::random().unwrap(), Secret::random().unwrap());
        let wrapped = master.wrap(&inner, b"x").unwrap();
        StoredKey { stream: StreamNumber(stream), key, master: "m".into(), version, wrapped }
    }

    #[test]
    fn keys_come_back_in_their_newest_form() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::new(dir.path().join("keys"));
        assert!(vault.list().unwrap().is_empty());
        let keys = [stored(1, 1, 1), stored(1, 2, 1), stored(10, 1, 1)];
        keys.iter().for_each(|key| vault.put(key).unwrap());
        assert_eq!(vault.list().unwrap(), keys);
        let again = stored(1, 2, 2);
        vault.put(&again).unwrap();
        assert_eq!(vault.list().unwrap()[1], again);
        assert_eq!(fs::read_dir(dir.path().join("keys")).unwrap().count(), 3, "the older wrapping is gone");
        vault.forget(StreamNumber(1)).unwrap();
        assert_eq!(vault.list().unwrap(), keys[2..]);
    }

    #[test]
    fn a_key_is_overwritten_before_its_name_goes() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::new(dir.path().join("keys"));
        vault.put(&stored(1, 1, 1)).unwrap();
        // A second name shows what becomes of the blocks.
        let (path, kept) = (vault.path((1, 1, 1)), dir.path().join("kept"));
        fs::hard_link(&path, &kept).unwrap();
        assert!(fs::read_to_string(&kept).unwrap().contains("wrapped"));
        vault.forget(StreamNumber(1)).unwrap();
        assert!(!path.exists());
        let left = fs::read(&kept).unwrap();
        assert!(left.len() > 100 && left.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_damaged_file_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::new(dir.path().join("keys"));
        let good = stored(2, 1, 1);
        vault.put(&stored(1, 1, 1)).unwrap();
        vault.put(&good).unwrap();
        fs::write(vault.path((1, 1, 1)), "{").unwrap();
        fs::write(dir.path().join("keys/other"), "").unwrap();
        assert_eq!(vault.list().unwrap(), [good]);
        // Written whole again under the next number.
        let again = stored(1, 1, 1);
        vault.put(&again).unwrap();
        assert_eq!(vault.list().unwrap()[0], again);
    }
}
