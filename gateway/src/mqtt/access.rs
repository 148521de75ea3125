//! Who may do what, as it is now: asked with every publish, and changed while clients are connected.
//!
//! In: the [`Authorize`] of a configuration, and the next one. Out: answers by the newest. Invariant: a client that comes while it is
//! changed is judged by the new one before it is let in for good ([`Access::number`]).
//! Not here: whose connections end with a change (`registry`, and whoever makes the change).

use super::authorize::{Authorize, Client, Denied, Login};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by all connections of a server.
pub(crate) struct Access {
    /// Counts changes, so that who has looked needs no lock to see that nothing changed.
    number: AtomicU64,
    authorize: Mutex<Arc<dyn Authorize>>,
}

impl Access {
    pub(crate) fn new(authorize: Arc<dyn Authorize>) -> Arc<Access> {
        Arc::new(Access { number: AtomicU64::new(0), authorize: Mutex::new(authorize) })
    }

    /// From now on `authorize` is asked.
    pub(crate) fn set(&self, authorize: Arc<dyn Authorize>) {
        *self.lock() = authorize;
        self.number.fetch_add(1, SeqCst);
    }

    /// Which one is asked; grows with each change.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(SeqCst)
    }

    pub(crate) fn connect(&self, login: &Login<'_>) -> Result<(), Denied> {
        self.now().connect(login)
    }

    pub(crate) fn publish(&self, client: &Client, topic: &str) -> bool {
        self.now().publish(client, topic)
    }

    pub(crate) fn subscribe(&self, client: &Client, filter: &str) -> bool {
        self.now().subscribe(client, filter)
    }

    fn now(&self) -> Arc<dyn Authorize> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<dyn Authorize>> {
        self.authorize.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rules as one connection saw them last: it publishes often, and takes the lock only when they have changed.
pub(crate) struct Seen {
    access: Arc<Access>,
    number: u64,
    authorize: Arc<dyn Authorize>,
}

impl Seen {
    pub(crate) fn of(access: &Arc<Access>) -> Seen {
        // The number first: a change in between is seen at the first publish.
        let number = access.number();
        Seen { access: Arc::clone(access), number, authorize: access.now() }
    }

    /// Whether `client` may publish to `topic`, as it is now.
    pub(crate) fn publish(&mut self, client: &Client, topic: &str) -> bool {
        let number = self.access.number();
        if number != self.number {
            (self.number, self.authorize) = (number, self.access.now());
        }
        self.authorize.publish(client, topic)
    }

    /// Whether it may subscribe `filter`, as it is now.
    pub(crate) fn subscribe(&self, client: &Client, filter: &str) -> bool {
        self.access.subscribe(client, filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::authorize::{AllowAll, Certificate, Users};

    #[test]
    fn a_connection_publishes_by_the_rules_there_are_now() {
        let access = Access::new(Arc::new(AllowAll));
        let mut seen = Seen::of(&access);
        let peer = "127.0.0.1:1".parse().unwrap();
        let client = Client { id: "c".into(), username: None, certificate: Certificate::None, peer };
        assert!(seen.publish(&client, "a") && seen.subscribe(&client, "a"));
        access.set(Arc::new(Users::new(Vec::new())));
        assert!(!seen.publish(&client, "a") && !seen.subscribe(&client, "a"));
        access.set(Arc::new(AllowAll));
        assert!(seen.publish(&client, "a") && seen.subscribe(&client, "a"));
    }
}
