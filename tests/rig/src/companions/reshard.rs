//! The stream of the load gets other numbers of shards, again and again.
//!
//! Promise: after a cut the layout is that of the last answered call, or of the one under way, whole. That no record is lost or overtakes
//! another of its key is the ledger's to see.

use serde_json::json;
use system_tests::chance::Chance;
use system_tests::kinesis::Kinesis;
use system_tests::resharding::open_shards;

use super::settable::Settable;
use super::worker::Worker;
use super::{Companion, ask, summary};
use crate::load::{SHARDS, STREAM};
use crate::machine::Gateway;

/// Most shards at once; all that ever were are read after each start.
const SHARDS_MAX: u64 = 8;

/// Milliseconds between two changes.
const PAUSE_MS: (u64, u64) = (0, 80);

/// Changes the number of shards.
pub(super) struct Reshard(Worker<State>);

struct State {
    chance: Chance,
    shards: Settable<u64>,
}

impl Reshard {
    pub(super) fn new(chance: Chance) -> Self {
        Self(Worker::Idle(State { chance, shards: Settable::new(SHARDS) }))
    }
}

impl Companion for Reshard {
    fn check(&mut self, gateway: &Gateway) -> Result<(), String> {
        let mut kinesis = gateway.kinesis();
        summary(&mut kinesis, STREAM)?;
        let open = open_shards(&mut kinesis, STREAM).len() as u64;
        self.0.state().shards.found("the number of open shards", open)
    }

    fn begin(&mut self, gateway: &Gateway) -> Result<(), String> {
        let mut kinesis = Kinesis::new(gateway.kinesis);
        self.0.begin(move |state| {
            std::thread::sleep(state.chance.millis(PAUSE_MS.0, PAUSE_MS.1));
            let count = state.chance.between(1, SHARDS_MAX);
            let change =
                json!({ "StreamName": STREAM, "TargetShardCount": count, "ScalingType": "UNIFORM_SCALING" });
            state.shards.ask(count);
            let answer = ask(&mut kinesis, "UpdateShardCount", &change)?;
            state.shards.answered(answer.is_some());
            Ok(())
        });
        Ok(())
    }

    fn finish(&mut self) {
        self.0.finish();
    }

    fn end(&mut self, _gateway: &Gateway) -> Result<String, String> {
        Ok(format!("resharded {} times", self.0.state().shards.changes))
    }
}
