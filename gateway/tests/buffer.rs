//! `headwater buffer` on a real journal: what it says is there, what it takes out, what it names when files are damaged.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

use headwater_engine::keys::KeySource;
use headwater_engine::storage::Position;
use headwater_engine::{Engine, EngineBatch, EngineConfig, ShardId, StreamName};
use headwater_journal as journal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One test at a time: a process that another test starts holds, until it runs its program, every lock that this one has.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Key and data, in the order they were put.
type Put = Vec<(String, Vec<u8>)>;

fn engine(state: &Path) -> (Engine, journal::Recovery) {
    let small = journal::Config { segment_bytes: 256 << 10, reserve_bytes: 0, ..journal::Config::small() };
    let master_keys = KeySource::File { path: state.join("master-keys"), create: true };
    let compression = journal::Compression::None;
    let journal = journal::Config { group_bytes_max: 16 << 10, compression, ..small };
    Engine::open(EngineConfig { journal, master_keys, ..EngineConfig::new(state.join("journal")) }).unwrap()
}

async fn put(engine: &Engine, stream: &str, count: u32, data: impl Fn(u32) -> Vec<u8>, to: &mut Put) {
    let handle = engine.stream(&StreamName::parse(stream).unwrap()).unwrap();
    for n in 0..count {
        let record = (format!("device-{}", n % 7), data(n));
        let mut batch = engine.batch();
        batch.put(&handle, &record.0, None, &record.1).unwrap();
        commit(engine, &batch).await;
        to.push(record);
    }
}

async fn commit(engine: &Engine, batch: &EngineBatch) {
    engine.append_within(batch, Duration::from_secs(60)).await.unwrap().await.unwrap();
}

async fn call(engine: &Engine, operation: &str, body: &str) {
    let answer = engine.call(operation, body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{operation}: {}", String::from_utf8_lossy(&answer.body));
}

/// A sink's cursor, as `forward::cursor` draws it: the first 20 records are done, 31 to 40 too, record 50 is set aside.
fn cursor() -> Vec<u8> {
    let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let ranges = [&1_u16.to_le_bytes()[..], &words(&[31, 41])].concat();
    let aside = [&1_u32.to_le_bytes()[..], &words(&[50])].concat();
    [&[1][..], &words(&[21, 1]), &[0], &ranges, &aside].concat()
}

/// A stream that was resharded, and one that is encrypted; the engine is closed.
fn filled(state: &Path) -> BTreeMap<&'static str, Put> {
    std::fs::create_dir_all(state).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (engine, _) = engine(state);
        let mut all = BTreeMap::from([("plain", Put::new()), ("secret", Put::new())]);
        for (stream, shards) in [("plain", 2), ("secret", 1)] {
            engine.ensure_stream(&StreamName::parse(stream).unwrap(), shards).await.unwrap();
        }
        let json = |n| format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(700)).into_bytes();
        put(&engine, "plain", 250, json, all.get_mut("plain").unwrap()).await;
        let count = r#"{"StreamName":"plain","TargetShardCount":4,"ScalingType":"UNIFORM_SCALING"}"#;
        call(&engine, "UpdateShardCount", count).await;
        put(&engine, "plain", 250, |n| json(n + 1_000), all.get_mut("plain").unwrap()).await;
        let key = r#"{"StreamName":"secret","EncryptionType":"KMS","KeyId":"alias/aws/kinesis"}"#;
        call(&engine, "StartStreamEncryption", key).await;
        let bytes = |n: u32| [&n.to_le_bytes()[..], b"\xff hidden"].concat();
        put(&engine, "secret", 60, bytes, all.get_mut("secret").unwrap()).await;
        let secret = engine.stream(&StreamName::parse("secret").unwrap()).unwrap();
        let mut batch = engine.batch();
        batch.mark(format!("g/sink/cloud/{}/0", secret.number().0).as_bytes(), &cursor());
        commit(&engine, &batch).await;
        engine.hold(&secret, ShardId(0), Position { position: 21, index: 0 });
        engine.barrier().await.unwrap();
        engine.close().await;
        all
    })
}

fn buffer(state: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.arg("buffer").arg("--dir").arg(state).args(arguments).env("HOME", state);
    for variable in ["HEADWATER_CONFIG", "STATE_DIRECTORY", "XDG_STATE_HOME", "CREDENTIALS_DIRECTORY"] {
        command.env_remove(variable);
    }
    // Where it has no configuration, the master keys are looked for in the state directory.
    command.arg("--master-keys").arg(state.join("master-keys")).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn done(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{} {}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every file below a directory, with its bytes and the time it was written.
fn image(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(image(&path));
        } else {
            let modified = path.metadata().unwrap().modified().unwrap();
            files.insert(path.clone(), (std::fs::read(path).unwrap(), modified));
        }
    }
    files
}

/// Data by key, in order.
fn by_key(put: &Put) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut keys: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    put.iter().for_each(|(key, data)| keys.entry(key.clone()).or_default().push(data.clone()));
    keys
}

fn exported(text: &str) -> Put {
    let record = |line: Value| {
        let data = match line.get("data") {
            // A number of the tests' JSON has one way to be written, and so has the order of its members.
            Some(data) => format!("{{\"n\":{},\"pad\":{}}}", data["n"], data["pad"]).into_bytes(),
            None => base64_simd::STANDARD.decode_to_vec(line["data_base64"].as_str().unwrap()).unwrap(),
        };
        (line["key"].as_str().unwrap().to_owned(), data)
    };
    lines(text).into_iter().map(record).collect()
}

#[test]
fn everything_that_was_put_comes_out_in_order_and_nothing_changes_on_the_disk() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let put = filled(&state);
    let before = image(&state);
    for (stream, put) in &put {
        let out = done(&buffer(&state, &["export", stream]), 0);
        assert_eq!(by_key(&exported(&out)), by_key(put), "{stream}");
        let numbers =
            lines(&out).into_iter().map(|line| (line["shard"].to_string(), line["sequence"].to_string()));
        let numbers: Vec<_> = numbers.collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "in order of shards and numbers");
    }
    let listed = lines(&done(&buffer(&state, &["ls", "--json"]), 0)).remove(0);
    let counts: Vec<_> = listed["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stream| (&stream["name"], &stream["records"], &stream["encrypted"]))
        .collect();
    assert_eq!(serde_json::json!(counts), serde_json::json!([["plain", 500, false], ["secret", 60, true]]));
    let shard = &listed["streams"][1]["shards"][0];
    let (sink, hold) = (&shard["sinks"][0], &shard["hold"]);
    assert_eq!(
        (&sink["sink"], &sink["waiting"]),
        (&Value::from("cloud"), &Value::from(60 - 20 - 10 - 1)),
        "{shard}"
    );
    assert_eq!(
        (&sink["checkpoint"]["position"], &hold["position"]),
        (&Value::from(21), &Value::from(21)),
        "{shard}"
    );
    assert!(done(&buffer(&state, &["ls"]), 0).contains("plain (4 open shards, 24 h): 500 records"));
    let verified = lines(&done(&buffer(&state, &["verify", "--json"]), 0)).remove(0);
    assert_eq!((&verified["damaged"], &verified["findings"]), (&Value::Bool(false), &serde_json::json!([])));
    assert_eq!(done(&buffer(&state, &["repair"]), 0).lines().last(), Some("nothing to repair"));
    assert_eq!(image(&state), before, "looking changed the directory");
}

#[test]
fn a_range_a_shard_and_files_are_taken_as_asked_for() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    filled(&state);
    let all = lines(&done(&buffer(&state, &["export", "plain"]), 0));
    let shard = all[0]["shard"].as_str().unwrap();
    let of_shard: Vec<_> = all.iter().filter(|line| line["shard"] == shard).cloned().collect();
    let (from, to) = (of_shard[10]["sequence"].as_str().unwrap(), of_shard[20]["sequence"].as_str().unwrap());
    let part = done(&buffer(&state, &["export", "plain", "--from", from, "--to", to]), 0);
    assert_eq!(lines(&part), of_shard[10..=20]);
    assert_eq!(lines(&done(&buffer(&state, &["export", "plain", "--shard", shard]), 0)), of_shard);
    let time = of_shard[30]["time_ms"].as_u64().unwrap();
    let at = format!("@{}.{:03}", time / 1_000, time % 1_000);
    let late = lines(&done(&buffer(&state, &["export", "plain", "--shard", shard, "--from", &at]), 0));
    let expected = of_shard.iter().filter(|line| line["time_ms"].as_u64().unwrap() >= time).count();
    assert_eq!(late.len(), expected);
    let early = lines(&done(&buffer(&state, &["export", "plain", "--shard", shard, "--to", &at]), 0));
    assert_eq!(early.len() + late.len(), of_shard.len());
    let other = all.last().unwrap()["shard"].as_str().unwrap();
    done(&buffer(&state, &["export", "plain", "--shard", other, "--from", from]), 64);
    done(&buffer(&state, &["export", "nothing"]), 64);
    let out = home.path().join("out");
    let made =
        done(&buffer(&state, &["export", "plain", "--format", "raw", "--out", out.to_str().unwrap()]), 0);
    let raw = std::fs::read(out.join(format!("plain.{shard}.raw"))).unwrap();
    assert_eq!(raw.iter().filter(|&&byte| byte == b'\n').count(), of_shard.len());
    assert!(made.contains(&format!("plain.{shard}.raw: {} records", of_shard.len())), "{made}");
    done(&buffer(&state, &["export", "plain", "--format", "raw", "--out", out.to_str().unwrap()]), 74);
}

#[test]
fn without_its_master_key_an_encrypted_stream_is_refused_with_a_remedy_and_the_rest_is_not() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    filled(&state);
    std::fs::rename(state.join("master-keys"), home.path().join("elsewhere")).unwrap();
    let refused = buffer(&state, &["export", "secret"]);
    assert_eq!(done(&refused, 78), "");
    let said = text(&refused.stderr);
    assert!(
        said.starts_with("stream `secret` is encrypted, and its key 1 does not open: Key 'arn:aws:kms:"),
        "{said}"
    );
    assert!(said.contains("--master-keys FILE"), "{said}");
    done(&buffer(&state, &["export", "plain"]), 0);
    done(&buffer(&state, &["verify"]), 0);
    assert!(!state.join("master-keys").exists(), "no key was made");
}

#[test]
fn while_a_gateway_runs_nothing_is_done_and_it_is_said_why() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    filled(&state);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let running = runtime.block_on(async { engine(&state) });
    for command in [&["ls"][..], &["verify"], &["repair", "--yes"], &["export", "plain"]] {
        let refused = buffer(&state, command);
        done(&refused, 75);
        assert!(text(&refused.stderr).contains(&format!("in use by process {}", std::process::id())));
        assert!(text(&refused.stderr).contains("stop it first"));
    }
    runtime.block_on(running.0.close());
    let nothing = buffer(&home.path().join("nothing"), &["ls"]);
    done(&nothing, 69);
    assert!(text(&nothing.stderr).contains("there is no journal"));
}

/// The first segment with records of a stream, and where in it the data begins.
fn place_of(state: &Path, needle: &[u8]) -> (PathBuf, usize) {
    let segments = image(&state.join("journal/lane-0"));
    let found = segments.iter().find_map(|(path, (bytes, _))| {
        Some((path.clone(), bytes.windows(needle.len()).position(|window| window == needle)?))
    });
    found.unwrap()
}

#[test]
fn damage_is_named_and_repair_notes_it_keeps_the_file_and_loses_nothing_else() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let put = filled(&state);
    let (path, at) = place_of(&state, b"{\"n\":17,");
    let mut damaged = std::fs::read(&path).unwrap();
    damaged[at + 300] ^= 0x08;
    std::fs::write(&path, &damaged).unwrap();
    let file = path.file_name().unwrap().to_str().unwrap();
    let before = image(&state);

    let verified = lines(&done(&buffer(&state, &["verify", "--json"]), 65)).remove(0);
    let finding = &verified["findings"][0];
    assert_eq!(
        (&finding["file"], &finding["standing"]),
        (&Value::from(file), &Value::from("lost")),
        "{verified}"
    );
    let lost = &finding["lost"][0];
    assert_eq!((&lost["stream"], &lost["records"]), (&Value::from("plain"), &Value::from(1)), "{verified}");
    let sequence = lost["first"]["sequence"].as_str().unwrap();
    assert!(
        done(&buffer(&state, &["verify"]), 65)
            .contains(&format!("at most 1 records, {sequence} to {sequence}"))
    );
    let partly = buffer(&state, &["export", "plain"]);
    let rest = exported(&done(&partly, 65));
    assert!(text(&partly.stderr).starts_with("lost: plain shardId-"), "{}", text(&partly.stderr));
    let mut expected = put["plain"].clone();
    expected.remove(17);
    assert_eq!(by_key(&rest), by_key(&expected));
    done(&buffer(&state, &["repair", "--dry-run"]), 0);
    assert!(done(&buffer(&state, &["repair"]), 64).contains("--yes would note"));
    assert_eq!(image(&state), before, "nothing was asked for");

    let aside = home.path().join("aside");
    let repaired = done(&buffer(&state, &["repair", "--yes", "--aside", aside.to_str().unwrap()]), 0);
    assert!(repaired.contains("at most 1 records are lost"), "{repaired}");
    assert_eq!(std::fs::read(aside.join(file)).unwrap(), damaged, "the damaged file is kept");
    let after = lines(&done(&buffer(&state, &["verify", "--json"]), 0)).remove(0);
    assert_eq!(after["findings"][0]["standing"], "known", "{after}");
    assert_eq!(done(&buffer(&state, &["repair"]), 0).lines().last(), Some("nothing to repair"));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (engine, recovery) = engine(&state);
        assert!(recovery.is_clean(), "{recovery:?}");
        engine.close().await;
    });
    assert_eq!(by_key(&exported(&done(&buffer(&state, &["export", "plain"]), 65))), by_key(&expected));
    assert_eq!(by_key(&exported(&done(&buffer(&state, &["export", "secret"]), 0))), by_key(&put["secret"]));
}
