//! The load on a gateway: MQTT publishers and PutRecords producers that remember what was acknowledged.

use std::net::SocketAddr;

use system_tests::flood::Flood;

/// MQTT publishers of QoS 1, each with a window of unacknowledged publishes.
const PUBLISHERS: usize = 4;

/// Producers that call PutRecords.
const PRODUCERS: usize = 2;

/// The stream that all of it goes to, by the route of MQTT or directly.
pub(crate) const STREAM: &str = "flood";

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
