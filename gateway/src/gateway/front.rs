//! What the MQTT front is told: limits, who may come in, what is retained from the start.

use crate::config;
use crate::ingest::Said;
use crate::mqtt::{self, AllowAll, AllowLoopback, Authorize, Downlink, Limits, Users};
use std::sync::Arc;

pub(super) fn limits(config: &config::Mqtt) -> Limits {
    Limits {
        connections: config.connections,
        connections_per_ip: config.connections_per_ip,
        connects_per_second_per_ip: config.connects_per_second_per_ip,
        connects_per_second: config.connects_per_second,
        subscribers: config.subscribers,
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
pub(super) fn retain(births: Vec<Said>, downlink: &Downlink) {
    for said in births {
        if let Err(error) = downlink.publish(&said.topic, said.payload, true, said.qos) {
            tracing::warn!(topic = said.topic, %error, "birth not retained");
        }
    }
}

pub(super) fn authorize(config: &config::Mqtt) -> Arc<dyn Authorize> {
    let others = authorize_others(config);
    match agents(config) {
        Some(agents) => Arc::new(mqtt::Devices { others, agents: agents.to_vec() }),
        None => others,
    }
}

/// Who brings what others hand them, where devices are known by their certificates.
fn agents(config: &config::Mqtt) -> Option<&[String]> {
    config.tls.as_ref().filter(|tls| tls.settings.clients.is_some()).map(|tls| &*tls.agents)
}

/// Whether a client that was let in by `now` would not be by `next`, or may have subscribed to what it may not any more. Nobody keeps
/// the password it came with, so one that could be an old one counts as old.
pub(super) fn is_gone(now: &config::Mqtt, next: &config::Mqtt, client: &mqtt::Client) -> bool {
    let is_device = client.certificate != mqtt::Certificate::None && client.username.is_none();
    if is_device && let Some(after) = agents(next) {
        let is_agent = |agents: &[String]| agents.iter().any(|agent| *agent == *client.id);
        return agents(now).is_some_and(is_agent) && !is_agent(after);
    }
    if next.users.is_empty() {
        return !next.anonymous && !client.peer.ip().to_canonical().is_loopback();
    }
    let name = client.username.as_deref().unwrap_or_default();
    let named = |config: &config::Mqtt| -> Vec<config::User> {
        config.users.iter().filter(|user| user.name == name).cloned().collect()
    };
    let (before, after) = (named(now), named(next));
    let (Some(first_before), Some(first_after)) = (before.first(), after.first()) else { return true };
    let has_password = |user: &config::User| after.iter().any(|after| after.password == user.password);
    let may_still =
        |filter: &String| first_after.subscribe.iter().any(|allowed| mqtt::covers(allowed, filter));
    !before.iter().all(has_password) || !first_before.subscribe.iter().all(may_still)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mqtt(text: &str) -> config::Mqtt {
        config::parse("h.toml", text).unwrap().config.mqtt
    }

    fn user(name: &str, password: &str, subscribe: &str) -> String {
        format!(
            "[[mqtt.users]]\nname = \"{name}\"\npassword = \"{password}\"\nsubscribe = [\"{subscribe}\"]\n"
        )
    }

    fn client(username: Option<&str>, peer: &str) -> mqtt::Client {
        let peer = format!("{peer}:1").parse().unwrap();
        let username = username.map(Arc::from);
        mqtt::Client { id: "c".into(), username, certificate: mqtt::Certificate::None, peer }
    }

    #[test]
    fn who_is_not_let_in_any_more_has_to_leave_and_nobody_else() {
        let (anna, berta) = (user("anna", "x", "a/#"), user("berta", "y", "#"));
        let now = mqtt(&format!("{anna}{berta}"));
        for (next, leaves) in [
            (format!("{anna}{berta}"), false),
            (anna.clone(), false),
            (berta.clone(), true),
            (user("anna", "z", "a/#"), true),
            // The new password beside the old one; later the old one goes.
            (format!("{anna}{}", user("anna", "z", "a/#")), false),
            (user("anna", "x", "#"), false),
            (user("anna", "x", "a/b"), true),
            (String::new(), false),
        ] {
            let next = mqtt(&next);
            assert_eq!(is_gone(&now, &next, &client(Some("anna"), "127.0.0.1")), leaves, "{next:?}");
        }
        let open = mqtt("[mqtt]\nallow_anonymous = true");
        assert!(!is_gone(&now, &open, &client(Some("anna"), "192.0.2.1")));
        assert!(is_gone(&now, &mqtt(""), &client(Some("anna"), "192.0.2.1")), "from this machine only");
        assert!(is_gone(&open, &now, &client(None, "127.0.0.1")), "users alone are let in");
        assert!(is_gone(&open, &now, &client(Some("anna"), "127.0.0.1")), "nobody asked for its password");
    }

    #[test]
    fn a_device_with_a_certificate_stays_while_certificates_count() {
        let tls = "[mqtt.tls]\nlisten = \"127.0.0.1:1\"\ncertificate = \"c\"\nkey = \"k\"\nclients = \"a\"\n";
        let (now, next) = (mqtt(tls), mqtt(&format!("{}{tls}", user("anna", "x", "#"))));
        let device = mqtt::Client { certificate: mqtt::Certificate::Names, ..client(None, "192.0.2.1") };
        assert!(!is_gone(&now, &next, &device));
        assert!(is_gone(&now, &mqtt(&user("anna", "x", "#")), &device));
        // One that spoke for others, and may not any more.
        let with_agent = mqtt(&format!("{tls}agents = [\"{}\"]\n", device.id));
        assert!(is_gone(&with_agent, &now, &device) && !is_gone(&now, &with_agent, &device));
    }
}
