//! What a start does about streams whose keys are about to end.

use super::*;
use crate::control::Effect;
use crate::engine::EngineConfig;
use crate::names::StreamName;
use std::time::Duration;

#[tokio::test]
async fn a_start_ends_the_keys_of_a_stream_that_is_being_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let config = EngineConfig {
        journal: headwater_journal::Config {
            segment_bytes: 1 << 20,
            reserve_bytes: 0,
            ..headwater_journal::Config::small()
        },
        master_keys: KeySource::File { path: dir.path().join("master"), create: true },
        transition: Duration::from_secs(600),
        ..EngineConfig::new(dir.path().join("data"))
    };
    let (engine, _) = Engine::open(config.clone()).unwrap();
    let name = StreamName::parse("s").unwrap();
    let stream = engine.create_stream(&name, 1).await.unwrap();
    start(&engine, &stream, DEFAULT_ALIAS).await.unwrap();
    let vault = Vault::new(dir.path().join("data/keys"));
    let stored = vault.list().unwrap();
    assert_eq!((stored.len(), engine.0.keys.is_sealing(stream.number())), (1, true));
    engine.delete_as(&name, Effect::Shown).await.unwrap();
    assert_eq!(engine.stream(&name).unwrap().state().definition.status, StreamStatus::Deleting);
    assert!(vault.list().unwrap().is_empty() && !engine.0.keys.is_sealing(stream.number()));
    engine.close().await;
    drop((engine, stream));
    // A crash between the state DELETING and the end of the key.
    vault.put(&stored[0]).unwrap();
    let (engine, _) = Engine::open(config).unwrap();
    assert_eq!(engine.stream(&name).unwrap().state().definition.status, StreamStatus::Deleting);
    assert!(vault.list().unwrap().is_empty());
    engine.close().await;
}
