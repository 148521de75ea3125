//! Streams that are encrypted: what is on the disk, what a restart, a rotation, a crash or a missing key does.

mod house;

use headwater_engine::keys::{DEFAULT_ALIAS, KeyState};
use headwater_engine::{Engine, EngineConfig};
use house::{House, ask, call, close, copy, encrypt, kind, make, on_disk, open, put, read, records, stop};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[tokio::test]
async fn nothing_that_is_put_into_an_encrypted_stream_is_on_the_disk_in_the_open() {
    let house = House::new();
    let engine = house.open();
    for stream in ["plain", "secret"] {
        make(&engine, stream).await;
    }
    assert_eq!(encrypt(&engine, "secret", DEFAULT_ALIAS).await, json!({}));
    assert!(put(&engine, "plain", "boiler at 73.5 degrees").await.get("EncryptionType").is_none());
    assert_eq!(put(&engine, "secret", "pump at 12.0 bar").await["EncryptionType"], "KMS");
    let one = json!({ "Data": base64_simd::STANDARD.encode_to_string("valve is shut"), "PartitionKey": "k" });
    let many = call(&engine, "PutRecords", &json!({ "StreamName": "secret", "Records": [one] })).await;
    assert_eq!((&many["EncryptionType"], &many["FailedRecordCount"]), (&json!("KMS"), &json!(0)));
    let looked_for = ["pump at 12", "key of pump", "valve is shut"];
    let look = || {
        // The search finds what is in the open, so that finding nothing says something.
        assert!(on_disk(&house.data(), b"boiler at 73.5") && on_disk(&house.data(), b"key of boiler"));
        assert!(!looked_for.iter().any(|text| on_disk(house.dir.path(), text.as_bytes())));
    };
    look();
    close(engine).await;
    look();
    let engine = house.open();
    let expected = [("pump at 12.0 bar".to_owned(), true), ("valve is shut".to_owned(), true)];
    assert_eq!(records(&engine, "secret").await, expected);
    assert!(!looked_for.iter().any(|text| on_disk(house.dir.path(), text.as_bytes())));
    close(engine).await;
}

#[tokio::test]
async fn encryption_begins_and_ends_with_the_calls_and_is_described() {
    let house = House::new();
    let engine = house.open();
    make(&engine, "s").await;
    put(&engine, "s", "before it").await;
    assert_eq!(encrypt(&engine, "s", DEFAULT_ALIAS).await, json!({}));
    put(&engine, "s", "within it").await;
    let described = call(&engine, "DescribeStreamSummary", &json!({ "StreamName": "s" })).await;
    let described = &described["StreamDescriptionSummary"];
    assert_eq!((&described["EncryptionType"], &described["KeyId"]), (&json!("KMS"), &json!(DEFAULT_ALIAS)));
    assert_eq!(stop(&engine, "s").await, json!({}));
    assert_eq!(stop(&engine, "s").await, json!({}), "stopped already");
    assert!(put(&engine, "s", "after it").await.get("EncryptionType").is_none());
    let described = call(&engine, "DescribeStream", &json!({ "StreamName": "s" })).await;
    assert_eq!(described["StreamDescription"]["EncryptionType"], "NONE");
    assert!(described["StreamDescription"].get("KeyId").is_none());
    let expected = [("before it", false), ("within it", true), ("after it", false)];
    let expected = expected.map(|(text, encrypted)| (text.to_owned(), encrypted));
    assert_eq!(records(&engine, "s").await, expected);
    close(engine).await;
    let found = ["before it", "within it", "after it"].map(|text| on_disk(&house.data(), text.as_bytes()));
    assert_eq!(found, [true, false, true]);
    let engine = house.open();
    assert_eq!(records(&engine, "s").await, expected);
    assert!(put(&engine, "s", "x").await.get("EncryptionType").is_none());
    close(engine).await;
}

#[tokio::test]
async fn keys_are_rotated_and_what_older_ones_sealed_stays_readable() {
    let house = House::new();
    let engine = house.open();
    make(&engine, "s").await;
    encrypt(&engine, "s", DEFAULT_ALIAS).await;
    put(&engine, "s", "first").await;
    house.change_keys(|keys| drop(keys.create(&["alias/plant"], 1).unwrap()));
    // Known at once: no restart between making a key and using it.
    assert_eq!(encrypt(&engine, "s", "alias/plant").await, json!({}));
    put(&engine, "s", "second").await;
    assert_eq!(house.wrapped().len(), 2);
    // The master key gets a new secret, everything is wrapped anew, and the old secret goes.
    house.change_keys(|keys| {
        ["alias/plant", DEFAULT_ALIAS].into_iter().for_each(|key| keys.rotate(key).unwrap())
    });
    assert_eq!(put(&engine, "s", "third").await["EncryptionType"], "KMS");
    assert!(house.wrapped().iter().all(|(_, stored)| stored["version"] == 2), "{:?}", house.wrapped());
    close(engine).await;
    let text = fs::read_to_string(house.key_file()).unwrap();
    let without_first = |line: &str| {
        let mut key: Value = serde_json::from_str(line).unwrap();
        assert!(key["secrets"].as_object_mut().unwrap().remove("1").is_some());
        format!("{key}\n")
    };
    fs::write(house.key_file(), text.lines().map(without_first).collect::<String>()).unwrap();
    let engine = house.open();
    let texts: Vec<_> = records(&engine, "s").await.into_iter().map(|(text, _)| text).collect();
    assert_eq!(texts, ["first", "second", "third"]);
    close(engine).await;
}

#[tokio::test]
async fn without_its_master_key_a_stream_is_there_and_refused_and_others_go_on() {
    let house = House::new();
    let engine = house.open();
    for stream in ["plain", "secret"] {
        make(&engine, stream).await;
    }
    put(&engine, "secret", "in the open").await;
    encrypt(&engine, "secret", DEFAULT_ALIAS).await;
    put(&engine, "secret", "sealed one").await;
    close(engine).await;
    let away = house.dir.path().join("away");
    fs::rename(house.key_file(), &away).unwrap();
    fs::write(house.key_file().with_extension("gone"), "").unwrap();
    let engine = house.open();
    assert_eq!(kind(&put(&engine, "secret", "must not be kept").await), "KMSNotFoundException");
    let many = json!({ "StreamName": "secret", "Records": [{ "Data": "", "PartitionKey": "k" }] });
    assert_eq!(kind(&ask(&engine, "PutRecords", &many).await), "KMSNotFoundException");
    assert_eq!(
        records(&engine, "secret").await,
        [("in the open".to_owned(), false)],
        "what needs no key is read"
    );
    let at = json!({ "StreamName": "secret", "ShardId": "0", "ShardIteratorType": "LATEST" });
    assert_eq!(kind(&ask(&engine, "GetShardIterator", &at).await), "none");
    assert_eq!(kind(&encrypt(&engine, "plain", DEFAULT_ALIAS).await), "KMSNotFoundException");
    assert_eq!(kind(&put(&engine, "plain", "fine").await), "none");
    assert_eq!(records(&engine, "plain").await.len(), 1);
    // It comes back without a restart.
    fs::rename(&away, house.key_file()).unwrap();
    house.clock.advance(2_000);
    assert_eq!(put(&engine, "secret", "sealed two").await["EncryptionType"], "KMS");
    let texts: Vec<_> = records(&engine, "secret").await.into_iter().map(|(text, _)| text).collect();
    assert_eq!(texts, ["in the open", "sealed one", "sealed two"]);
    close(engine).await;
    assert!(!on_disk(house.dir.path(), b"must not be kept"));
}

#[tokio::test]
async fn keys_are_refused_in_the_words_of_kms() {
    let house = House::new();
    let engine = house.open();
    make(&engine, "s").await;
    let refused = encrypt(&engine, "s", "alias/none").await;
    assert_eq!(kind(&refused), "KMSNotFoundException");
    assert_eq!(refused["message"], "Alias arn:aws:kms:us-east-1:000000000000:alias/none is not found.");
    let none = json!({ "StreamName": "s", "EncryptionType": "NONE", "KeyId": DEFAULT_ALIAS });
    for operation in ["StartStreamEncryption", "StopStreamEncryption"] {
        assert_eq!(kind(&ask(&engine, operation, &none).await), "InvalidArgumentException");
    }
    encrypt(&engine, "s", DEFAULT_ALIAS).await;
    put(&engine, "s", "one").await;
    for (state, expected) in [
        (KeyState::Disabled, "KMSDisabledException"),
        (KeyState::PendingDeletion, "KMSInvalidStateException"),
        (KeyState::Enabled, "none"),
    ] {
        house.change_keys(|keys| keys.set_state(DEFAULT_ALIAS, state).unwrap());
        assert_eq!(kind(&put(&engine, "s", "two").await), expected);
        assert_eq!(kind(&read(&engine, "s").await), expected);
        assert_eq!(kind(&encrypt(&engine, "s", DEFAULT_ALIAS).await), expected);
    }
    assert_eq!(records(&engine, "s").await.len(), 2);
    close(engine).await;
}

#[tokio::test]
async fn a_key_file_that_others_can_read_is_refused_before_anything_is_opened() {
    let house = House::new();
    close(house.open()).await;
    fs::set_permissions(house.key_file(), fs::Permissions::from_mode(0o640)).unwrap();
    let error = Engine::open(house.config()).unwrap_err().to_string();
    assert!(error.contains("mode 0640") && error.contains("chmod 0600"), "{error}");
    fs::write(house.key_file(), "not a key\n").unwrap();
    fs::set_permissions(house.key_file(), fs::Permissions::from_mode(0o600)).unwrap();
    let error = Engine::open(house.config()).unwrap_err().to_string();
    assert!(error.contains("line 1 is not a key"), "{error}");
}

/// Each durable step of a start, a stop and a delete, with the power cut behind it: directories as they are then.
#[tokio::test]
async fn a_crash_between_two_steps_leaves_a_stream_before_or_after() {
    let house = House::new();
    let engine = house.open();
    make(&engine, "s").await;
    put(&engine, "s", "one").await;
    let before = house.dir.path().join("before");
    copy(&house.data(), &before);
    encrypt(&engine, "s", DEFAULT_ALIAS).await;
    let after = house.dir.path().join("after");
    copy(&house.data(), &after);
    put(&engine, "s", "two").await;
    stop(&engine, "s").await;
    let stopped = house.dir.path().join("stopped");
    copy(&house.data(), &stopped);
    close(engine).await;
    let key = house.wrapped()[0].0.clone();
    let key = Path::new("keys").join(key.file_name().unwrap());
    // The key is durable and nothing names it; and half of it is.
    let (with_key, with_half) = (house.dir.path().join("with-key"), house.dir.path().join("with-half"));
    for dir in [&with_key, &with_half] {
        copy(&before, dir);
        fs::create_dir_all(dir.join("keys")).unwrap();
        fs::copy(after.join(&key), dir.join(&key)).unwrap();
    }
    let half = fs::read(after.join(&key)).unwrap();
    fs::write(with_half.join(&key), &half[..half.len() / 2]).unwrap();
    for (dir, encrypted, records_before) in
        [(&with_key, false, 1), (&with_half, false, 1), (&after, true, 1), (&stopped, false, 2)]
    {
        let config = EngineConfig { dir: dir.clone(), ..house.config() };
        let engine = open(config.clone());
        assert_eq!(records(&engine, "s").await.len(), records_before, "{}", dir.display());
        put(&engine, "s", "after the crash").await;
        assert_eq!(records(&engine, "s").await[records_before].1, encrypted, "{}", dir.display());
        assert_eq!(encrypt(&engine, "s", DEFAULT_ALIAS).await, json!({}));
        put(&engine, "s", "sealed").await;
        close(engine).await;
        let engine = open(config);
        assert_eq!(records(&engine, "s").await.last().unwrap(), &("sealed".to_owned(), true));
        close(engine).await;
        assert_eq!(on_disk(dir, b"after the crash"), !encrypted);
    }
}

#[tokio::test]
async fn after_a_delete_nothing_on_the_disk_leads_to_the_keys_of_the_stream() {
    let house = House::new();
    let engine = house.open();
    make(&engine, "s").await;
    encrypt(&engine, "s", DEFAULT_ALIAS).await;
    encrypt(&engine, "s", DEFAULT_ALIAS).await;
    put(&engine, "s", "sealed for ever").await;
    let wrapped = house.wrapped();
    assert_eq!(wrapped.len(), 2);
    let traces = |(_, stored): &(PathBuf, Value)| {
        let text = stored["wrapped"].as_str().unwrap().to_owned();
        let bytes = base64_simd::STANDARD.decode_to_vec(&text).unwrap();
        // Either half of the text, and the wrapped key itself, which no file holds as bytes.
        [text.as_bytes()[..40].to_vec(), text.as_bytes()[40..].to_vec(), bytes[12..44].to_vec()]
    };
    let traces: Vec<_> = wrapped.iter().flat_map(traces).collect();
    let found = || traces.iter().filter(|bytes| on_disk(house.dir.path(), bytes)).count();
    assert_eq!(found(), 4, "the search finds the texts while they are there");
    call(&engine, "DeleteStream", &json!({ "StreamName": "s" })).await;
    assert_eq!(found(), 0, "gone with the answer");
    close(engine).await;
    assert_eq!(found(), 0);
    let engine = house.open();
    make(&engine, "s").await;
    assert_eq!(records(&engine, "s").await, []);
    close(engine).await;
}
