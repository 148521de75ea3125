//! The seam to whatever fans messages out, and one subscriber's place on it.
//!
//! A bus may die at any time; every link then ends with [`Delivery::Lost`], and the next attachment starts it anew.

use super::Message;
use super::places::{Place, Places};
use crate::mqtt::limits::DELIVERIES_QUEUED;
use crate::mqtt::reason::Reason;
use crate::mqtt::topic::TopicFilter;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A bus answers within a millisecond, or it is gone.
const LINK_PATIENCE: Duration = Duration::from_secs(2);
/// A bus that died under the first attempt is found dead by the second, and started again.
const LINK_ATTEMPTS: u32 = 2;
/// Making a link, and perhaps starting the bus, needs little of it.
const LINK_STACK_BYTES: usize = 256 * 1024;

/// What arrives at a subscriber.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// A message that matched the subscription with this number.
    Message { tag: u32, message: Arc<Message> },
    /// The bus is gone, and the subscriptions with it.
    Lost,
}

/// What became of a message given to the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    Queued,
    /// Nobody has subscribed to anything since the bus began.
    NoSubscribers,
    Full,
}

/// Commands to a link. Dropping their sender ends it.
#[derive(Debug)]
pub(super) enum Command {
    /// Answered when every message published from then on will be delivered.
    Subscribe {
        filter: TopicFilter,
        tag: u32,
        done: oneshot::Sender<()>,
    },
    Unsubscribe {
        filter: TopicFilter,
    },
}

/// Fans messages out to links.
pub(super) trait Bus: Send + Sync {
    /// Queues a message for everyone whose filters match. Never blocks.
    fn publish(&self, message: Arc<Message>) -> Published;

    /// Makes a link that delivers to `sink`. Blocks for a moment, and for ever when the bus dies just then. Called within
    /// a runtime.
    fn link(
        &self,
        sink: mpsc::Sender<Delivery>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Result<(), Gone>;

    /// Whether [`link`](Self::link) never blocks.
    fn links_at_once(&self) -> bool {
        false
    }

    /// Dies, for tests.
    #[cfg(test)]
    fn kill(&self);
}

/// The bus cannot take a link now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// One subscriber on the bus: a link for its ordinary subscriptions and one for each shared one, since the bus
/// takes a link out of all its groups when it unsubscribes anything.
pub(crate) struct Attachment {
    bus: Arc<dyn Bus>,
    places: Arc<Places>,
    ordinary: Option<Held>,
    shared: BTreeMap<u32, Held>,
    sink: mpsc::Sender<Delivery>,
    deliveries: mpsc::Receiver<Delivery>,
}

/// A link, with the place it takes.
struct Held {
    commands: mpsc::UnboundedSender<Command>,
    _place: Place,
}

impl Attachment {
    pub(super) fn new(bus: Arc<dyn Bus>, places: Arc<Places>) -> Attachment {
        let (sink, deliveries) = mpsc::channel(DELIVERIES_QUEUED);
        Attachment { bus, places, ordinary: None, shared: BTreeMap::new(), sink, deliveries }
    }

    /// Whether it has no link: nothing was subscribed, or what was is not any more.
    pub(crate) fn is_idle(&self) -> bool {
        self.ordinary.is_none() && self.shared.is_empty()
    }

    /// Subscribes `filter` under the number `tag`. Once this returns, nothing published later is missed.
    ///
    /// # Errors
    /// 0x97 when it needs a link and there are as many as may be; 0x89 when the bus is gone.
    pub(crate) async fn subscribe(&mut self, filter: &TopicFilter, tag: u32) -> Result<(), Reason> {
        let commands = match filter.group() {
            None => self.ordinary.as_ref(),
            Some(_) => self.shared.get(&tag),
        };
        let commands = match commands {
            Some(held) => held.commands.clone(),
            None => self.link(filter, tag).await?,
        };
        let (done, taken) = oneshot::channel();
        let command = Command::Subscribe { filter: filter.clone(), tag, done };
        commands.send(command).map_err(|_| Reason::ServerBusy)?;
        taken.await.map_err(|_| Reason::ServerBusy)
    }

    /// Stops the deliveries of `filter`, apart from those under way.
    pub(crate) fn unsubscribe(&mut self, filter: &TopicFilter, tag: u32) {
        if filter.group().is_some() {
            self.shared.remove(&tag);
        } else if let Some(held) = &self.ordinary {
            // A link that is gone delivers nothing either.
            let _ = held.commands.send(Command::Unsubscribe { filter: filter.clone() });
        }
    }

    /// The next delivery. Cancel-safe.
    pub(crate) async fn recv(&mut self) -> Delivery {
        self.deliveries.recv().await.unwrap_or(Delivery::Lost)
    }

    /// A delivery that is there already.
    pub(crate) fn try_recv(&mut self) -> Option<Delivery> {
        self.deliveries.try_recv().ok()
    }

    async fn link(
        &mut self,
        filter: &TopicFilter,
        tag: u32,
    ) -> Result<mpsc::UnboundedSender<Command>, Reason> {
        let place = self.places.take().ok_or(Reason::QuotaExceeded)?;
        let mut commands = None;
        for _ in 0..LINK_ATTEMPTS {
            commands = self.try_link().await;
            if commands.is_some() {
                break;
            }
        }
        let commands = commands.ok_or(Reason::ServerBusy)?;
        let held = Held { commands: commands.clone(), _place: place };
        if filter.group().is_some() {
            self.shared.insert(tag, held);
        } else {
            self.ordinary = Some(held);
        }
        Ok(commands)
    }

    async fn try_link(&self) -> Option<mpsc::UnboundedSender<Command>> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (bus, sink) = (self.bus.clone(), self.sink.clone());
        if bus.links_at_once() {
            return bus.link(sink, receiver).is_ok().then_some(commands);
        }
        let (linked, answer) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let link = move || {
            let _entered = runtime.enter();
            let _: Result<(), _> = linked.send(bus.link(sink, receiver));
        };
        // A thread of its own: a bus that dies with our question in its queue never answers, and a thread of the
        // runtime's pool would then hold up the end of the process.
        let thread = std::thread::Builder::new().name("mqtt-link".into()).stack_size(LINK_STACK_BYTES);
        thread.spawn(link).ok()?;
        let linked = tokio::time::timeout(LINK_PATIENCE, answer).await.ok()?.ok()?;
        linked.is_ok().then_some(commands)
    }
}
