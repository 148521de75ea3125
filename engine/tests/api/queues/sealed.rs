//! Queues over encrypted streams: what a key that cannot be used does to receives.

use super::{make_queue, make_stream, number, put, receive};
use crate::support::{Ahead, Server, small};
use headwater_engine::keys::{DEFAULT_ALIAS, KeySource, KeyState, write_keys};
use headwater_engine::{Engine, EngineConfig};
use serde_json::json;

#[test]
fn a_key_that_is_disabled_holds_records_back_and_costs_them_no_receive() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Ahead::default();
    let source = KeySource::File { path: dir.path().join("master-keys"), create: true };
    let config = EngineConfig {
        journal: small(),
        clock: clock.clock(),
        master_keys: source.clone(),
        ..EngineConfig::new(dir.path().join("data"))
    };
    let set = |state| {
        let mut keys = source.read().unwrap();
        keys.set_state(DEFAULT_ALIAS, state).unwrap();
        write_keys(&dir.path().join("master-keys"), &keys).unwrap();
        // What is known of the file may be a second old.
        clock.advance(2_000);
    };
    let server = Server::start(Engine::open(config).unwrap().0);
    let mut client = server.client();
    let stream = make_stream(&mut client, "s");
    let letters = json!({ "TargetType": "BUILT_IN", "MaxReceiveCount": 3 });
    let attributes = json!({ "VisibilityTimeoutSeconds": 0, "DeadLetterConfiguration": letters });
    let queue = make_queue(&mut client, &stream, &attributes);
    let asked = json!({ "StreamARN": stream, "EncryptionType": "KMS", "KeyId": DEFAULT_ALIAS });
    client.call("StartStreamEncryption", &asked);
    put(&mut client, &stream, 0..1);
    assert_eq!(number(&receive(&mut client, &queue, 1, &json!({}))[0]), 0);
    set(KeyState::Disabled);
    let asked = json!({ "QueueARN": queue, "WaitTimeSeconds": 1 });
    for _ in 0..5 {
        let answer = client.ask("ReceiveQueueRecords", &asked);
        assert_eq!((answer.status, &answer.json()["__type"]), (400, &json!("KMSDisabledException")));
    }
    set(KeyState::Enabled);
    assert_eq!(receive(&mut client, &queue, 1, &json!({}))[0]["ReceiveCount"], 2);
    server.stop();
}
