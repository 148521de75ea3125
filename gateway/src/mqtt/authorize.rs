//! Who may connect, and what a client may publish and subscribe.

mod devices;

use super::topic::TopicFilter;
pub use devices::Devices;
use std::net::SocketAddr;
use std::sync::Arc;

/// A client as it introduces itself.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// Identifier, given or assigned.
    pub client_id: &'a str,
    /// User name, if given.
    pub username: Option<&'a str>,
    /// Password, if given; binary.
    pub password: Option<&'a [u8]>,
    /// What its TLS certificate says.
    pub certificate: Certificate,
    /// Where it connects from.
    pub peer: SocketAddr,
}

/// What a client's TLS certificate, signed by the authority of devices, says about its identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// It showed none, or came without TLS.
    None,
    /// The identifier is among the names of the certificate.
    Names,
    /// The certificate is for somebody else.
    Other,
}

/// A client that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Identifier, given or assigned.
    pub id: Arc<str>,
    /// User name, if given.
    pub username: Option<Arc<str>>,
    /// What its TLS certificate says.
    pub certificate: Certificate,
    /// Where it connects from.
    pub peer: SocketAddr,
}

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Unknown user or wrong password.
    #[error("unknown user or wrong password")]
    Credentials,
    /// Known, or not asked for credentials, but not allowed.
    #[error("not allowed to connect")]
    NotAllowed,
    /// Its certificate is for another device.
    #[error("certificate is for another device")]
    Certificate,
}

/// Decides about clients. Called on the connection's task: it must not block.
pub trait Authorize: Send + Sync + 'static {
    /// Whether a client may connect.
    ///
    /// # Errors
    /// Why not; the client is told so in CONNACK.
    fn connect(&self, login: &Login<'_>) -> Result<(), Denied>;

    /// Whether it may publish to `topic`. Called for every PUBLISH.
    fn publish(&self, client: &Client, topic: &str) -> bool {
        let _ = (client, topic);
        true
    }

    /// Whether it may subscribe `filter`, which may have wildcards.
    fn subscribe(&self, client: &Client, filter: &str) -> bool {
        let _ = (client, filter);
        true
    }
}

/// Lets everybody in.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl Authorize for AllowAll {
    fn connect(&self, _: &Login<'_>) -> Result<(), Denied> {
        Ok(())
    }
}

/// Lets everybody in who connects from this machine, and nobody else: the default without configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowLoopback;

impl Authorize for AllowLoopback {
    fn connect(&self, login: &Login<'_>) -> Result<(), Denied> {
        if login.peer.ip().to_canonical().is_loopback() { Ok(()) } else { Err(Denied::NotAllowed) }
    }
}

/// A user of [`Users`].
#[derive(Clone)]
pub struct User {
    /// Name, compared exactly.
    pub name: String,
    /// Password; binary.
    pub password: Vec<u8>,
    /// Topics it may publish to.
    pub publish: Vec<TopicFilter>,
    /// Filters it may subscribe, or anything narrower.
    pub subscribe: Vec<TopicFilter>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A fixed list of users. Clients without a name in it are refused.
#[derive(Debug, Clone)]
pub struct Users(Vec<User>);

impl Users {
    /// Lets in exactly `users`.
    #[must_use]
    pub fn new(users: Vec<User>) -> Users {
        Users(users)
    }

    fn find(&self, client: &Client) -> Option<&User> {
        let name = client.username.as_deref()?;
        self.0.iter().find(|user| user.name == name)
    }
}

impl Authorize for Users {
    fn connect(&self, login: &Login<'_>) -> Result<(), Denied> {
        let (name, password) = (login.username.unwrap_or(""), login.password.unwrap_or(b""));
        // Every user is compared, so the time says neither which names exist nor how far a password was right.
        let mut found = false;
        for user in &self.0 {
            let same_name = equal(user.name.as_bytes(), name.as_bytes());
            let same_password = equal(&user.password, password);
            found |= same_name & same_password;
        }
        if found { Ok(()) } else { Err(Denied::Credentials) }
    }

    fn publish(&self, client: &Client, topic: &str) -> bool {
        self.find(client).is_some_and(|user| user.publish.iter().any(|allowed| allowed.matches(topic)))
    }

    fn subscribe(&self, client: &Client, filter: &str) -> bool {
        self.find(client)
            .is_some_and(|user| user.subscribe.iter().any(|allowed| covers(allowed.filter(), filter)))
    }
}

/// Compares in a time that depends on `given` alone.
fn equal(secret: &[u8], given: &[u8]) -> bool {
    let mut differs = u8::from(secret.len() != given.len());
    for (at, byte) in given.iter().enumerate() {
        let other = secret.get(at % secret.len().max(1)).copied().unwrap_or(0);
        differs |= std::hint::black_box(byte ^ other);
    }
    std::hint::black_box(differs) == 0
}

/// Whether everything `asked` matches is matched by `allowed` too.
pub(crate) fn covers(allowed: &str, asked: &str) -> bool {
    if asked.starts_with('$') && allowed.starts_with(['#', '+']) {
        return false;
    }
    let mut asked = asked.split('/');
    for level in allowed.split('/') {
        if level == "#" {
            return true;
        }
        match asked.next() {
            Some("#") | None => return false,
            Some(name) if level == name || level == "+" => {}
            Some(_) => return false,
        }
    }
    asked.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn users() -> Users {
        let filter = |text| TopicFilter::parse(text).unwrap();
        Users::new(vec![User {
            name: "pump".into(),
            password: b"secret".to_vec(),
            publish: vec![filter("site/+/pump/#")],
            subscribe: vec![filter("site/a/#")],
        }])
    }

    pub(super) fn login<'a>(username: &'a str, password: &'a [u8]) -> Login<'a> {
        let peer = "192.0.2.1:9".parse().unwrap();
        Login {
            client_id: "c",
            username: Some(username),
            password: Some(password),
            certificate: Certificate::None,
            peer,
        }
    }

    #[test]
    fn only_the_right_password_lets_in() {
        let users = users();
        assert_eq!(users.connect(&login("pump", b"secret")), Ok(()));
        for (name, password) in [
            ("pump", &b"secre"[..]),
            ("pump", b"secrett"),
            ("pump", b"secretsecret"),
            ("pump", b""),
            ("", b""),
            ("fan", b"secret"),
        ] {
            assert_eq!(
                users.connect(&login(name, password)),
                Err(Denied::Credentials),
                "{name} {password:?}"
            );
        }
    }

    #[test]
    fn filters_limit_topics_and_subscriptions() {
        let users = users();
        let client = Client {
            id: "c".into(),
            username: Some("pump".into()),
            certificate: Certificate::None,
            peer: "192.0.2.1:9".parse().unwrap(),
        };
        assert!(users.publish(&client, "site/b/pump/rpm"));
        assert!(!users.publish(&client, "site/b/fan/rpm"));
        for (filter, expected) in [
            ("site/a/#", true),
            ("site/a/x/+", true),
            ("site/+/x", false),
            ("#", false),
            ("site/#", false),
            ("site/a", true),
        ] {
            assert_eq!(users.subscribe(&client, filter), expected, "{filter}");
        }
    }

    #[test]
    fn loopback_is_the_only_way_in_by_default() {
        let mut login = login("x", b"");
        assert_eq!(AllowLoopback.connect(&login), Err(Denied::NotAllowed));
        for peer in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            login.peer = peer.parse().unwrap();
            assert_eq!(AllowLoopback.connect(&login), Ok(()), "{peer}");
        }
    }
}
