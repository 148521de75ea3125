//! The stream of the load is encrypted, and in the open again, by turns.
//!
//! Promise: what was answered about encryption holds after a cut, and what was written under it can be read: keys, wrapped keys and sealed
//! runs are all there. The master keys are made by the gateway itself, on the disk that is cut.

use serde_json::json;
use system_tests::chance::Chance;
use system_tests::kinesis::Kinesis;

use super::settable::Settable;
use super::worker::Worker;
use super::{Companion, ask, summary};
use crate::load::STREAM;
use crate::machine::Gateway;

/// Milliseconds between two changes.
const PAUSE_MS: (u64, u64) = (0, 150);

/// Starts and stops encryption.
pub(super) struct Sealed(Worker<State>);

struct State {
    chance: Chance,
    sealed: Settable<bool>,
}

impl Sealed {
    pub(super) fn new(chance: Chance) -> Self {
        Self(Worker::Idle(State { chance, sealed: Settable::new(false) }))
    }
}

impl Companion for Sealed {
    fn check(&mut self, gateway: &Gateway) -> Result<(), String> {
        let found = summary(&mut gateway.kinesis(), STREAM)?;
        self.0.state().sealed.found("encryption", found["EncryptionType"] == "KMS")
    }

    fn begin(&mut self, gateway: &Gateway) -> Result<(), String> {
        let mut kinesis = Kinesis::new(gateway.kinesis);
        self.0.begin(move |state| {
            std::thread::sleep(state.chance.millis(PAUSE_MS.0, PAUSE_MS.1));
            let wanted = !*state.sealed.settled();
            let operation = if wanted { "StartStreamEncryption" } else { "StopStreamEncryption" };
            let change =
                json!({ "StreamName": STREAM, "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis" });
            state.sealed.ask(wanted);
            let answer = ask(&mut kinesis, operation, &change)?;
            state.sealed.answered(answer.is_some());
            Ok(())
        });
        Ok(())
    }

    fn finish(&mut self) {
        self.0.finish();
    }

    fn end(&mut self, _gateway: &Gateway) -> Result<String, String> {
        Ok(format!("encrypted or not {} times", self.0.state().sealed.changes))
    }
}
