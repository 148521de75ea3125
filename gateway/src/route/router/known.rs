//! Devices that the metadata knows from before the start.

use super::{Plan, Router};
use crate::ingest::Said;
use crate::route::devices::Device;
use crate::route::face;
use crate::route::rule::first_match;
use headwater_engine::Engine;

/// Metadata keys of channel tables begin with this; see `devices`.
const SCHEMA_PREFIX: &[u8] = b"g/schema/";

impl Router {
    /// What is to be retained at a start: the newest birth of every device that the metadata knows, as the device said it and
    /// as JSON, where a route passes births on to subscribers.
    pub fn births(&self) -> Vec<Said> {
        self.births_by(&self.plan())
    }

    /// The same, by the routes of `plan`.
    pub(super) fn births_by(&self, plan: &Plan) -> Vec<Said> {
        let list = self.engine.meta_list(SCHEMA_PREFIX).into_iter();
        let hellos = list.filter_map(|(_, value)| Device::restore(None, Some(&value.value)).newest());
        let now_ms = self.clock.now_ms();
        let mut births = Vec::new();
        for hello in hellos {
            let topic = format!("headwater/{}/birth", hello.device);
            if first_match(&plan.rules.routes, &topic).is_some_and(|(_, route)| route.downlink) {
                births.push(face::birth(&topic, &hello, now_ms));
                births.push(face::own_birth(&topic, hello));
            }
        }
        births
    }
}

/// Devices that the metadata knows.
pub(super) fn saved_devices(engine: &Engine) -> usize {
    let ids = |prefix: &[u8]| {
        let list = engine.meta_list(prefix).into_iter();
        list.map(|(key, _)| key[prefix.len()..].to_vec()).collect::<Vec<_>>()
    };
    let known: std::collections::BTreeSet<_> =
        ids(b"g/seen/").into_iter().chain(ids(SCHEMA_PREFIX)).collect();
    known.len()
}
