//! What goes on in a life beside the plain load, each with promises of its own.
//!
//! In: a gateway that has started, the word that load begins, and that power has gone. Out: what promise was broken, if any; in the end
//! what was done. Always: which companions a life has follows from its seed alone; each is checked after every start, before any load.
//! Not here: the plain load (`load`) and its ledger, which hold in every life.

mod agent;
mod freed;
mod keyed;
mod queue;
mod reshard;
mod sealed;
mod settable;
mod sink;
mod worker;

use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use system_tests::chance::Chance;
use system_tests::kinesis::{Answer, Kinesis};
use system_tests::wait_until;

use crate::machine::{Agent, Gateway};

/// How long a change may take that a cut interrupted and a start carries out again.
const CHANGE_PATIENCE: Duration = Duration::from_secs(30);

/// Something that goes on beside the load.
pub(crate) trait Companion {
    /// After a start, before any load: what was promised before must hold. Prepares what it needs, the first time.
    fn check(&mut self, gateway: &Gateway) -> Result<(), String>;

    /// Load begins. [`check`](Self::check) was asked since the last start.
    fn begin(&mut self, gateway: &Gateway) -> Result<(), String>;

    /// Power has gone, or the gateway: connections are broken.
    fn finish(&mut self);

    /// After the last start and its check: everything that is still owed. What was done, in words.
    fn end(&mut self, gateway: &Gateway) -> Result<String, String>;
}

/// Which companions a life has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Company {
    /// The stream of the load is resharded.
    pub(crate) reshard: bool,
    /// It is encrypted and decrypted.
    pub(crate) sealed: bool,
    /// A queue is received from and acknowledged.
    pub(crate) queue: bool,
    /// Streams are made, filled and deleted, so that segments are freed.
    pub(crate) freed: bool,
    /// A sink forwards to another gateway, whose power stays on.
    pub(crate) sink: bool,
    /// Devices send through an agent whose spool is on the same disk.
    pub(crate) agent: bool,
}

impl Company {
    /// The company of a life: two of six, so that a short series meets most of them, and each with each in a long one.
    pub(crate) fn seeded(chance: &mut Chance) -> Self {
        let first = chance.between(0, 5);
        let second = (first + chance.between(1, 5)) % 6;
        let has = |number| first == number || second == number;
        Self { reshard: has(0), sealed: has(1), queue: has(2), freed: has(3), sink: has(4), agent: has(5) }
    }

    /// Its names, for the line about a life.
    pub(crate) fn names(self) -> String {
        let all = [
            (self.reshard, "reshard"),
            (self.sealed, "sealed"),
            (self.queue, "queue"),
            (self.freed, "freed"),
            (self.sink, "sink"),
            (self.agent, "agent"),
        ];
        let here: Vec<&str> = all.into_iter().filter(|(here, _)| *here).map(|(_, name)| name).collect();
        if here.is_empty() { "nobody".to_owned() } else { here.join(" and ") }
    }

    /// The companions; `home` is a directory of the life outside of the disk.
    pub(crate) fn gather(
        self,
        mut chance: Chance,
        home: &Path,
        name: &str,
        agent: Option<&Agent>,
        target: Option<sink::Target>,
    ) -> Vec<Box<dyn Companion>> {
        let mut next = || Chance::new(chance.next_u64());
        let mut all: Vec<Box<dyn Companion>> = Vec::new();
        if self.reshard {
            all.push(Box::new(reshard::Reshard::new(next())));
        }
        if self.sealed {
            all.push(Box::new(sealed::Sealed::new(next())));
        }
        if self.queue {
            all.push(Box::new(queue::Queue::new(name)));
        }
        if self.freed {
            all.push(Box::new(freed::Freed::new(next())));
        }
        if let Some(target) = target {
            all.push(Box::new(sink::Sink::new(target, name)));
        }
        if let Some(agent) = agent {
            all.push(Box::new(agent::Devices::new(agent.link, home, next().next_u64())));
        }
        all
    }
}

pub(crate) use sink::Target;

/// One call: its answer when it is 200, nothing when it was refused.
///
/// # Errors
/// When the connection breaks: the call may or may not have had its effect.
fn ask(kinesis: &mut Kinesis, operation: &str, arguments: &Value) -> io::Result<Option<Value>> {
    let Answer { status, body } = kinesis.call(operation, arguments)?;
    Ok((status == 200).then_some(body))
}

/// One call that must succeed, on a machine whose power stays on.
fn must(kinesis: &mut Kinesis, operation: &str, arguments: &Value) -> Result<Value, String> {
    match kinesis.call(operation, arguments) {
        Ok(Answer { status: 200, body }) => Ok(body),
        other => Err(format!("{operation} {arguments}: {other:?}")),
    }
}

/// DescribeStreamSummary of a stream that must be there, once a change that a start carries out again is done.
fn summary(kinesis: &mut Kinesis, stream: &str) -> Result<Value, String> {
    let mut found = Ok(Value::Null);
    let active = wait_until(CHANGE_PATIENCE, || {
        found = must(kinesis, "DescribeStreamSummary", &json!({ "StreamName": stream }))
            .map(|mut found| found["StreamDescriptionSummary"].take());
        found.as_ref().map_or(true, |found| found["StreamStatus"] == "ACTIVE")
    });
    if active { found } else { Err(format!("{stream} is not ACTIVE after {CHANGE_PATIENCE:?}: {found:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_companions_comes_in_a_long_series() {
        let mut chance = Chance::new(3);
        let all: std::collections::BTreeSet<String> =
            (0..500).map(|_| Company::seeded(&mut chance).names()).collect();
        assert_eq!(all.len(), 15, "{all:?}");
        assert!(all.iter().all(|names| names.contains(" and ")), "{all:?}");
    }
}
