//! A directory with master keys and an engine's data, and what tests of encryption ask of it.

use crate::support::{Ahead, small};
use headwater_engine::keys::{DEFAULT_ALIAS, KeySource, MasterKeys, write_keys};
use headwater_engine::{Engine, EngineConfig};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory with master keys and an engine's data, and a clock.
pub(super) struct House {
    pub(super) dir: TempDir,
    pub(super) clock: Ahead,
}

impl House {
    pub(super) fn new() -> Self {
        House { dir: tempfile::tempdir().unwrap(), clock: Ahead::default() }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(super) fn key_file(&self) -> PathBuf {
        self.dir.path().join("master-keys")
    }

    pub(super) fn source(&self) -> KeySource {
        KeySource::File { path: self.key_file(), create: !self.key_file().with_extension("gone").exists() }
    }

    pub(super) fn config(&self) -> EngineConfig {
        let (clock, master_keys) = (self.clock.clock(), self.source());
        EngineConfig { journal: small(), clock, master_keys, ..EngineConfig::new(self.data()) }
    }

    pub(super) fn open(&self) -> Engine {
        open(self.config())
    }

    pub(super) fn change_keys(&self, change: impl FnOnce(&mut MasterKeys)) {
        let mut keys = self.source().read().unwrap();
        change(&mut keys);
        write_keys(&self.key_file(), &keys).unwrap();
        // What is known of the file may be a second old.
        self.clock.advance(2_000);
    }

    pub(super) fn wrapped(&self) -> Vec<(PathBuf, Value)> {
        let Ok(files) = fs::read_dir(self.data().join("keys")) else { return Vec::new() };
        let read = |path: PathBuf| {
            let text = fs::read_to_string(&path).unwrap();
            (path, serde_json::from_str(&text).unwrap())
        };
        let mut wrapped: Vec<_> = files.map(|file| read(file.unwrap().path())).collect();
        wrapped.sort_by(|a, b| a.0.cmp(&b.0));
        wrapped
    }
}

pub(super) fn open(config: EngineConfig) -> Engine {
    let (engine, recovery) = Engine::open(config).unwrap();
    assert!(recovery.is_clean(), "{recovery:?}");
    engine
}

/// Closes an engine and lets go of its files.
pub(super) async fn close(engine: Engine) {
    engine.close().await;
}

pub(super) async fn ask(engine: &Engine, operation: &str, body: &Value) -> Value {
    let answer = engine.call(operation, body.to_string().as_bytes()).await;
    if answer.body.is_empty() { json!({}) } else { serde_json::from_slice(&answer.body).unwrap() }
}

/// What must succeed.
pub(super) async fn call(engine: &Engine, operation: &str, body: &Value) -> Value {
    let answer = ask(engine, operation, body).await;
    assert!(answer.get("__type").is_none(), "{operation}: {answer}");
    answer
}

pub(super) async fn put(engine: &Engine, stream: &str, text: &str) -> Value {
    let data = base64_simd::STANDARD.encode_to_string(text);
    let key = format!("key of {text}");
    ask(engine, "PutRecord", &json!({ "StreamName": stream, "Data": data, "PartitionKey": key })).await
}

pub(super) async fn encrypt(engine: &Engine, stream: &str, key: &str) -> Value {
    let body = json!({ "StreamName": stream, "EncryptionType": "KMS", "KeyId": key });
    ask(engine, "StartStreamEncryption", &body).await
}

pub(super) async fn stop(engine: &Engine, stream: &str) -> Value {
    let body = json!({ "StreamName": stream, "EncryptionType": "KMS", "KeyId": DEFAULT_ALIAS });
    ask(engine, "StopStreamEncryption", &body).await
}

pub(super) async fn read(engine: &Engine, stream: &str) -> Value {
    let at = json!({ "StreamName": stream, "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let at = call(engine, "GetShardIterator", &at).await["ShardIterator"].clone();
    ask(engine, "GetRecords", &json!({ "ShardIterator": at })).await
}

/// Text and encryption of every record.
pub(super) async fn records(engine: &Engine, stream: &str) -> Vec<(String, bool)> {
    let page = read(engine, stream).await;
    let record = |record: &Value| {
        let data = base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
        (String::from_utf8(data).unwrap(), record.get("EncryptionType") == Some(&json!("KMS")))
    };
    page["Records"].as_array().unwrap_or_else(|| panic!("{page}")).iter().map(record).collect()
}

pub(super) async fn make(engine: &Engine, stream: &str) {
    call(engine, "CreateStream", &json!({ "StreamName": stream, "ShardCount": 1 })).await;
}

pub(super) fn kind(answer: &Value) -> &str {
    answer["__type"].as_str().unwrap_or("none")
}

/// All files below `dir`, with what they hold. The journal renames files while one looks; then it is looked again.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    pub(super) fn add(dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) -> std::io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                add(&path, found)?;
            } else {
                let bytes = fs::read(&path)?;
                found.push((path, bytes));
            }
        }
        Ok(())
    }
    loop {
        let mut found = Vec::new();
        if add(dir, &mut found).is_ok() {
            return found;
        }
    }
}

/// Whether any file below `dir` holds these bytes.
pub(super) fn on_disk(dir: &Path, bytes: &[u8]) -> bool {
    files(dir).iter().any(|(_, held)| memchr::memmem::find(held, bytes).is_some())
}

pub(super) fn copy(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, bytes).unwrap();
    }
}
