//! The load on a gateway: MQTT publishers and PutRecords producers that remember what was acknowledged.

use std::net::SocketAddr;

use system_tests::flood::Flood;

/// MQTT publishers of QoS 1, each with a window of unacknowledged publishes.
const PUBLISHERS: usize = 4;

/// Producers that call PutRecords.
const PRODUCERS: usize = 2;

/// The stream that all of it goes to, by the route of MQTT or directly.
pub(crate) const STREAM: &str = "flood";

/// Its shards, until somebody changes them.
pub(crate) const SHARDS: u64 = 4;

/// What a gateway is told of it, and of the topics of devices, for lives that have some.
pub(crate) fn config() -> String {
    let device = |topic: &str, to: &str| {
        format!("[[routes]]\nmatch = \"headwater/{{device}}/{topic}\"\ncodec = \"headwater\"\n{to}\n\n")
    };
    let stored = "stream = \"telemetry\"\npartition_key = \"{device}\"";
    let routes = ["batch", "log"].map(|topic| device(topic, stored));
    let answers = ["birth", "time"].map(|topic| device(topic, "to = [\"downlink\"]"));
    format!(
        "[streams.{STREAM}]\nshards = {SHARDS}\n\n[[routes]]\nmatch = \"flood/{{client}}\"\ncodec = \"raw\"\nstream = \"{STREAM}\"\n\
         partition_key = \"{{client}}\"\nto = [\"stream\"]\n\n{}{}",
        routes.concat(),
        answers.concat()
    )
}

/// What runs against one gateway until its connections break.
pub(crate) struct Load {
    mqtt: Flood,
    kinesis: Flood,
}

impl Load {
    /// Starts it; no other load has this name.
    pub(crate) fn new(mqtt: SocketAddr, kinesis: SocketAddr, name: &str) -> Self {
        Self {
            mqtt: Flood::publish(mqtt, PUBLISHERS, &format!("{name}-mqtt")),
            kinesis: Flood::put_records(kinesis, PRODUCERS, &format!("{name}-put"), STREAM),
        }
    }

    /// Acknowledged so far: by PUBACK, by PutRecords.
    pub(crate) fn acked(&self) -> (u64, u64) {
        (self.mqtt.acked(), self.kinesis.acked())
    }

    /// The ids that were acknowledged, once all clients have ended.
    pub(crate) fn finish(self) -> Vec<String> {
        let mut acked = self.mqtt.finish();
        acked.extend(self.kinesis.finish());
        acked
    }
}
