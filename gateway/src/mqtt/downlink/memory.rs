//! A bus without a thread, for simulations: links in the order in which they were made, each told at once.
//!
//! In: messages, filters. Out: deliveries. Invariants: whom a message reaches, and in which order, follows from what was subscribed;
//! a subscriber that does not keep up misses messages, as it does when the router's log runs over.
//! Not here: shared subscriptions, which no simulated client makes: each of a group hears everything.

use super::Message;
use super::bus::{Bus, Command, Delivery, Gone, Published};
use crate::mqtt::topic::TopicFilter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

#[derive(Default)]
pub(super) struct MemoryBus {
    links: Arc<Mutex<Links>>,
}

#[derive(Default)]
struct Links {
    made: u64,
    open: Vec<Link>,
}

struct Link {
    number: u64,
    filters: Vec<(TopicFilter, u32)>,
    sink: mpsc::Sender<Delivery>,
}

impl Bus for MemoryBus {
    fn publish(&self, message: Arc<Message>) -> Published {
        let links = lock(&self.links);
        if links.made == 0 {
            return Published::NoSubscribers;
        }
        for link in &links.open {
            for (_, tag) in link.filters.iter().filter(|(filter, _)| filter.matches(&message.topic)) {
                // Full: it does not keep up. Closed: its session is being dropped.
                let _ = link.sink.try_send(Delivery::Message { tag: *tag, message: Arc::clone(&message) });
            }
        }
        Published::Queued
    }

    fn link(
        &self,
        sink: mpsc::Sender<Delivery>,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) -> Result<(), Gone> {
        let links = Arc::clone(&self.links);
        let number = {
            let mut links = lock(&links);
            links.made += 1;
            let number = links.made;
            links.open.push(Link { number, filters: Vec::new(), sink });
            number
        };
        tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                handle(&mut lock(&links), number, command);
            }
            lock(&links).open.retain(|link| link.number != number);
        });
        Ok(())
    }

    fn links_at_once(&self) -> bool {
        true
    }

    #[cfg(test)]
    fn kill(&self) {
        lock(&self.links).open.clear();
    }
}

fn handle(links: &mut Links, number: u64, command: Command) {
    let Some(link) = links.open.iter_mut().find(|link| link.number == number) else { return };
    match command {
        Command::Subscribe { filter, tag, done } => {
            link.filters.push((filter, tag));
            // Nobody waits any more when the connection just ended.
            let _: Result<(), ()> = done.send(());
        }
        Command::Unsubscribe { filter } => link.filters.retain(|(known, _)| *known != filter),
    }
}

fn lock(links: &Mutex<Links>) -> MutexGuard<'_, Links> {
    links.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::downlink::{Downlink, Limits};

    fn next(attachment: &mut crate::mqtt::downlink::Attachment) -> Option<(u32, String)> {
        match attachment.try_recv() {
            Some(Delivery::Message { tag, message }) => Some((tag, message.topic.clone())),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_message_reaches_at_once_whoever_subscribed_and_nobody_who_left() {
        let downlink = Downlink::in_memory(&Limits::default());
        let filter = |text| TopicFilter::parse(text).expect("a filter");
        let (mut one, mut other) = (downlink.attach(), downlink.attach());
        one.subscribe(&filter("d/+/command"), 3).await.expect("taken");
        other.subscribe(&filter("d/2/command"), 4).await.expect("taken");
        downlink.publish("d/1/command", "x", false, 1).expect("a topic");
        assert_eq!((next(&mut one), next(&mut other)), (Some((3, "d/1/command".to_owned())), None));
        one.unsubscribe(&filter("d/+/command"), 3);
        drop(other);
        tokio::task::yield_now().await;
        downlink.publish("d/2/command", "x", false, 1).expect("a topic");
        assert_eq!(next(&mut one), None);
    }
}
