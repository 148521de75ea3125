//! What the MQTT front is told: limits, who may come in, what is retained from the start.

use crate::config;
use crate::mqtt::{self, AllowAll, AllowLoopback, Authorize, Downlink, Limits, Users};
use crate::route::Router;
use std::sync::Arc;

pub(super) fn limits(config: &config::Mqtt) -> Limits {
    Limits {
        connections: config.connections,
        connections_per_ip: config.connections_per_ip,
        connects_per_second_per_ip: config.connects_per_second_per_ip,
        packet_bytes: config.packet_bytes,
        inflight: config.inflight,
        keep_alive: config.keep_alive,
        session_expiry: config.session_expiry,
        buffered_bytes: config.buffered_bytes,
        retained: config.retained,
        drain_timeout: config.drain_timeout,
        ..Limits::default()
    }
}

/// Retained messages are in memory; who the devices are is on disk, and said again at every start.
pub(super) fn retain_births(router: &Router, downlink: &Downlink) {
    for said in router.births() {
        if let Err(error) = downlink.publish(&said.topic, said.payload, true, said.qos) {
            tracing::warn!(topic = said.topic, %error, "birth not retained");
        }
    }
}

pub(super) fn authorize(config: &config::Mqtt) -> Arc<dyn Authorize> {
    let others = authorize_others(config);
    let has_devices = config.tls.as_ref().is_some_and(|tls| tls.settings.clients.is_some());
    if has_devices { Arc::new(mqtt::Devices(others)) } else { others }
}

fn authorize_others(config: &config::Mqtt) -> Arc<dyn Authorize> {
    if config.users.is_empty() {
        return if config.anonymous { Arc::new(AllowAll) } else { Arc::new(AllowLoopback) };
    }
    // The configuration was checked with the routes' filters, which take all that MQTT filters are.
    let filters =
        |texts: &[String]| texts.iter().filter_map(|text| mqtt::TopicFilter::parse(text).ok()).collect();
    let user = |user: &config::User| mqtt::User {
        name: user.name.clone(),
        password: user.password.reveal().as_bytes().to_owned(),
        publish: filters(&user.publish),
        subscribe: filters(&user.subscribe),
    };
    Arc::new(Users::new(config.users.iter().map(user).collect()))
}
