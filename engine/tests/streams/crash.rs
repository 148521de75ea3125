//! A crash between any two durable steps of a change, and one more while the next start finishes it: the stream is wholly
//! before or wholly after, the shards cover the space, nothing acknowledged is lost, the order of each key is kept.

use crate::crashing::{CrashingLog, CrashingMeta, Power};
use crate::support::{Stores, ask, assert_cover, by_key, call, name, open_ranges, put, settled, shards};
use headwater_engine::{Clock, Engine, EngineConfig};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const KEYS: u32 = 9;
const RECORDS: u32 = 4;

/// A change, and what it starts from and leads to.
struct Case {
    /// Done before, without a crash.
    before: &'static [(&'static str, &'static str)],
    operation: &'static str,
    body: &'static str,
    /// Open shards of the stream after it; none when it is gone.
    open_after: Option<usize>,
}

const CREATE: (&str, &str) = ("CreateStream", r#"{"StreamName":"s","ShardCount":2}"#);
const SPLIT: (&str, &str) = (
    "SplitShard",
    r#"{"StreamName":"s","ShardToSplit":"shardId-000000000000","NewStartingHashKey":"85070591730234615865843651857942052864"}"#,
);

fn config(dir: &Path) -> EngineConfig {
    EngineConfig::new(dir)
}

/// An engine that loses its power after so many steps.
fn crashing(stores: &Stores, dir: &Path, steps: i64) -> (Engine, Power) {
    let power = Power::for_steps(steps);
    let log = CrashingLog(Arc::clone(&stores.log), power.clone());
    let meta = CrashingMeta(Arc::clone(&stores.meta), power.clone());
    (Engine::on(Arc::new(log), Arc::new(meta), &config(dir)), power)
}

async fn fill(engine: &Engine, from: u32) {
    for number in from..from + RECORDS {
        for key in 0..KEYS {
            put(engine, "s", &format!("k{key}"), number).await.unwrap();
        }
    }
}

fn filled(upto: u32) -> BTreeMap<String, Vec<u32>> {
    (0..KEYS).map(|key| (format!("k{key}"), (0..upto).collect())).collect()
}

/// Lets the change crash after `steps`, then the start after it after `steps_again`. Gives whether each came to an end first.
async fn crash(case: &Case, steps: i64, steps_again: i64) -> (bool, bool) {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let stores = Stores::open(dir.path(), &clock);
    let had_stream = !case.before.is_empty();
    let before = {
        let engine = stores.engine(&config(dir.path()));
        for (operation, body) in case.before {
            call(&engine, operation, &serde_json::from_str(body).unwrap()).await;
        }
        if had_stream {
            fill(&engine, 0).await;
            shards(&engine, "s").await
        } else {
            Vec::new()
        }
    };
    let (engine, power) = crashing(&stores, dir.path(), steps);
    settled(&engine).await;
    let body: Value = serde_json::from_str(case.body).unwrap();
    let outcome = ask(&engine, case.operation, &body).await;
    let whole = !power.is_gone();
    assert_eq!(whole, outcome.is_ok() && !power.is_gone());
    drop(engine);
    stores.close();
    let stores = Stores::open(dir.path(), &clock);
    let (engine, power) = crashing(&stores, dir.path(), steps_again);
    // Until it is done or the power is gone; both are soon.
    for _ in 0..50 {
        let over = engine.streams().iter().all(|s| s.state().definition.status.as_str() == "ACTIVE");
        if over || power.is_gone() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let whole_again = !power.is_gone();
    drop(engine);
    stores.close();
    let stores = Stores::open(dir.path(), &clock);
    let engine = stores.engine(&config(dir.path()));
    check(case, &engine, &stores, &before, outcome.is_ok()).await;
    engine.close().await;
    stores.close();
    (whole, whole_again)
}

async fn check(case: &Case, engine: &Engine, stores: &Stores, before: &[Value], done: bool) {
    let had_stream = !before.is_empty();
    let expected = if had_stream { RECORDS } else { 0 };
    // Records do not wait for what the crash interrupted, or as little as they must.
    let early = case.open_after.is_some() && engine.stream(&name("s")).is_some();
    if early {
        fill(engine, expected).await;
    }
    settled(engine).await;
    let there = engine.stream(&name("s")).is_some();
    if there {
        let now = shards(engine, "s").await;
        assert_cover(&now);
        let after =
            case.open_after == Some(open_ranges(&now).len()) && (!had_stream || now.len() > before.len());
        assert!(after || now == before, "neither before nor after: {now:?}");
        assert!(after || !done, "what was answered has happened");
        if !early {
            fill(engine, expected).await;
        }
        assert_eq!(by_key(engine, "s").await, filled(expected + RECORDS));
        // Layouts that no longer count are cleared away, by the start after a crash in its first round.
        for _ in 0..1_000 {
            if layouts(stores) <= 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(layouts(stores) <= 1);
    } else {
        assert!(case.open_after.is_none() || !had_stream, "the stream is lost");
        assert!(case.open_after.is_none() || !done, "what was answered has happened");
        let left: Vec<_> = stores.meta.list(b"s/").into_iter().map(|(key, _)| key).collect();
        assert!(left.iter().all(|key| key == b"s/next"), "{left:?}");
        call(engine, "CreateStream", &serde_json::from_str(CREATE.1).unwrap()).await;
        assert!(by_key(engine, "s").await.is_empty(), "nothing of a deleted stream comes back");
    }
}

/// Versions of layouts there are.
fn layouts(stores: &Stores) -> usize {
    let kept = stores.meta.list(b"s/l/");
    kept.iter().map(|(key, _)| key[..key.len() - 5].to_vec()).collect::<BTreeSet<_>>().len()
}

/// Crashes after every step there is, and for each after every step of the next start.
fn exhaust(case: &Case) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for steps in 0.. {
            assert!(steps < 60, "a change has an end");
            let mut whole = false;
            for steps_again in 0.. {
                assert!(steps_again < 60, "a start has an end");
                let (first, again) = crash(case, steps, steps_again).await;
                whole = first;
                if again {
                    break;
                }
            }
            if whole {
                assert!(steps > 1, "a change of several steps has several places to crash at");
                return;
            }
        }
    });
}

#[test]
fn a_stream_whose_creation_crashed_is_there_or_not() {
    exhaust(&Case { before: &[], operation: CREATE.0, body: CREATE.1, open_after: Some(2) });
}

#[test]
fn a_split_that_crashed_is_done_or_not() {
    exhaust(&Case { before: &[CREATE], operation: SPLIT.0, body: SPLIT.1, open_after: Some(3) });
}

#[test]
fn a_merge_that_crashed_is_done_or_not() {
    let body = r#"{"StreamName":"s","ShardToMerge":"shardId-000000000003","AdjacentShardToMerge":"shardId-000000000001"}"#;
    exhaust(&Case { before: &[CREATE, SPLIT], operation: "MergeShards", body, open_after: Some(2) });
}

#[test]
fn a_resize_that_crashed_is_done_or_not() {
    let body = r#"{"StreamName":"s","TargetShardCount":5,"ScalingType":"UNIFORM_SCALING"}"#;
    exhaust(&Case { before: &[CREATE, SPLIT], operation: "UpdateShardCount", body, open_after: Some(5) });
}

#[test]
fn a_delete_that_crashed_is_done_or_not() {
    let body = &json!({ "StreamName": "s" }).to_string();
    let body: &'static str = Box::leak(body.clone().into_boxed_str());
    exhaust(&Case { before: &[CREATE, SPLIT], operation: "DeleteStream", body, open_after: None });
}
