//! Devices and edge agents, known by their certificates.

use super::{Authorize, Certificate, Client, Denied, Login, covers};
use std::sync::Arc;

/// Devices by their certificates, everybody else as `others` says.
///
/// A client that shows a certificate and no user name is the device of that certificate: its identifier is one of the
/// certificate's names, and it may publish and subscribe below `headwater/{identifier}/`. One of `agents` brings what others hand it: it
/// may do so for every device, and below `headwater/` alone.
pub struct Devices {
    /// Decides about everybody else.
    pub others: Arc<dyn Authorize>,
    /// Identifiers of edge agents.
    pub agents: Vec<String>,
}

impl Devices {
    fn is_device(certificate: Certificate, username: Option<&str>) -> bool {
        certificate != Certificate::None && username.is_none()
    }

    fn is_own(&self, client: &Client, topic: &str) -> bool {
        if self.agents.iter().any(|agent| *agent == *client.id) {
            return covers("headwater/+/#", topic);
        }
        let rest = topic.strip_prefix("headwater/").and_then(|rest| rest.strip_prefix(&*client.id));
        rest.is_some_and(|rest| rest.starts_with('/'))
    }
}

impl Authorize for Devices {
    fn connect(&self, login: &Login<'_>) -> Result<(), Denied> {
        match login.certificate {
            Certificate::Names if login.username.is_none() => Ok(()),
            Certificate::Other if login.username.is_none() => Err(Denied::Certificate),
            _ => self.others.connect(login),
        }
    }

    fn publish(&self, client: &Client, topic: &str) -> bool {
        if Self::is_device(client.certificate, client.username.as_deref()) {
            return self.is_own(client, topic);
        }
        self.others.publish(client, topic)
    }

    fn subscribe(&self, client: &Client, filter: &str) -> bool {
        if Self::is_device(client.certificate, client.username.as_deref()) {
            return self.is_own(client, filter);
        }
        self.others.subscribe(client, filter)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{login, users};
    use super::*;

    #[test]
    fn a_device_with_a_certificate_is_itself_and_nobody_else() {
        let devices = Devices { others: Arc::new(users()), agents: vec!["barn-agent".to_owned()] };
        let peer = "192.0.2.1:9".parse().unwrap();
        let device =
            |certificate| Login { client_id: "pump-7", username: None, password: None, certificate, peer };
        assert_eq!(devices.connect(&device(Certificate::Names)), Ok(()));
        assert_eq!(devices.connect(&device(Certificate::Other)), Err(Denied::Certificate));
        assert_eq!(devices.connect(&device(Certificate::None)), Err(Denied::Credentials));
        // A user with a password is a user, whatever certificate it has.
        let user = Login { certificate: Certificate::Other, ..login("pump", b"secret") };
        assert_eq!(devices.connect(&user), Ok(()));
        assert_eq!(devices.connect(&Login { password: None, ..user }), Err(Denied::Credentials));

        let client = Client { id: "pump-7".into(), username: None, certificate: Certificate::Names, peer };
        for (topic, expected) in [
            ("headwater/pump-7/batch", true),
            ("headwater/pump-7/#", true),
            ("headwater/pump-7", false),
            ("headwater/pump-77/batch", false),
            ("headwater/+/command", false),
            ("headwater/fan/command", false),
            ("site/b/pump/rpm", false),
            ("#", false),
        ] {
            assert_eq!(devices.publish(&client, topic), expected, "{topic}");
            assert_eq!(devices.subscribe(&client, topic), expected, "{topic}");
        }
        let agent = Client { id: "barn-agent".into(), ..client };
        for (topic, expected) in [
            ("headwater/pump-7/batch", true),
            ("headwater/+/command", true),
            ("headwater/#", false),
            ("site/b/pump/rpm", false),
            ("#", false),
        ] {
            assert_eq!(devices.publish(&agent, topic), expected, "{topic}");
            assert_eq!(devices.subscribe(&agent, topic), expected, "{topic}");
        }
        // With a name and a password it is what that user is.
        let user = Client { username: Some("pump".into()), ..agent };
        assert!(
            !devices.publish(&user, "headwater/pump-7/batch") && devices.publish(&user, "site/b/pump/rpm")
        );
    }
}
