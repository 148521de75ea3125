//! The gateway as publishers see it.
//!
//! In: publishes. Out: verdicts. Invariant: `Stored` is said only after the gateway's own code said that the commit is durable. What a
//! publish on its way to a gateway that is killed becomes, nobody is told.

use headwater::ingest::{self, Inbound, Ingest, IngestError};
use headwater::mqtt::simulation::Server;
use headwater::route::Router;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{DuplexStream, duplex};
use tokio::runtime::Handle;

/// A publish that finds the gateway busy is offered again after this, as the MQTT front does.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Bytes on their way in one direction of a connection before whoever writes waits.
const CONNECTION_BYTES: usize = 64 * 1024;

/// What a publisher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is durable: who sent it may forget it.
    Stored,
    /// No route takes the topic; nothing is stored (MQTT 5: 0x10).
    NoRoute,
    /// Never stored, whatever is tried.
    Rejected(&'static str),
    /// Not now: the disk is full, or storage has failed. The gateway is there and stored nothing.
    Refused,
    /// No answer: the gateway is away, or went away. It may be stored or not.
    Unknown,
}

/// The way to the gateway, whether it is up or not. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Front(Arc<Mutex<Option<Desk>>>);

#[derive(Debug, Clone)]
struct Desk {
    host: Handle,
    router: Arc<Router>,
    mqtt: Arc<Server<Router>>,
}

impl Front {
    /// The gateway is up from now on.
    pub fn open(&self, host: &Handle, router: Arc<Router>) {
        let mqtt = Arc::new(Server::new(Arc::clone(&router)));
        *self.lock() = Some(Desk { host: host.clone(), router, mqtt });
    }

    /// The gateway is gone.
    pub fn close(&self) {
        *self.lock() = None;
    }

    /// Whether somebody would answer.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// A new connection to the gateway's MQTT front; none when it is away. It ends when the gateway does.
    #[must_use]
    pub fn connect(&self) -> Option<DuplexStream> {
        let desk = self.lock().clone()?;
        let (ours, theirs) = duplex(CONNECTION_BYTES);
        desk.mqtt.serve(&desk.host, theirs);
        Some(ours)
    }

    /// A command for a device, given at the gateway: to whoever listens for it now.
    pub fn command(&self, device: &str, body: &[u8]) {
        let desk = self.lock().clone();
        if let Some(desk) = desk {
            // Whoever gave it gives it again until its result comes.
            let _ = desk.mqtt.publish(&format!("headwater/{device}/command"), body.to_vec());
        }
    }

    /// One PUBLISH with QoS 1, and what became of it. Publishes that are begun in an order reach the routes in that order. May be awaited
    /// on any executor of the world's thread; cancelling it does not take the publish back.
    pub fn publish(
        &self,
        client_id: &str,
        topic: &str,
        payload: &[u8],
    ) -> impl Future<Output = Verdict> + Send + 'static {
        let desk = self.lock().clone();
        let (client_id, topic, payload) = (client_id.to_owned(), topic.to_owned(), payload.to_owned());
        let taken = desk.map(|desk| {
            let router = desk.router;
            desk.host.spawn(async move { take(&router, &client_id, &topic, &payload).await })
        });
        async move {
            match taken {
                None => Verdict::Unknown,
                // An error is a host that was killed with the task on it.
                Some(taken) => taken.await.unwrap_or(Verdict::Unknown),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Desk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(router: &Router, client_id: &str, topic: &str, payload: &[u8]) -> Verdict {
    let publish = Inbound {
        client_id,
        topic,
        payload,
        qos: 1,
        retain: false,
        content_type: None,
        user_properties: &[],
    };
    loop {
        let ingested = match router.ingest(&[publish]) {
            Ok(ingested) => ingested,
            Err(IngestError::Busy) => {
                tokio::time::sleep(BUSY_PAUSE).await;
                continue;
            }
            Err(IngestError::Full | IngestError::Failed(_)) => return Verdict::Refused,
        };
        // What failed on its way to the disk may be there all the same.
        if ingested.commit.await.is_err() {
            return Verdict::Unknown;
        }
        return match ingested.verdicts.first() {
            Some(ingest::Verdict::Accepted) => Verdict::Stored,
            Some(ingest::Verdict::NoRoute) => Verdict::NoRoute,
            Some(ingest::Verdict::Rejected(why)) => Verdict::Rejected(why),
            None => Verdict::Unknown,
        };
    }
}
