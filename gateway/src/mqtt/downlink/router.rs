//! The bus on rumqttd's `Router`: an in-process fan-out on a thread of its own.
//!
//! It was built for trusted input, so it gets nothing else:
//! - topics and filters are validated and prefixed with `t/` (or `s/` when they begin with `$`): it slices topics after
//!   the first byte, and would die of a letter that has two;
//! - links have names of ours, used again when free (it keeps 0.6 kB for every name for ever, and refuses some letters);
//! - every link is a clean session with QoS 0 towards the router: windows, identifiers and resending are the session's
//!   work, and the router disconnects clients whose acknowledgements come in another order than it expects;
//! - the group name of a shared subscription contains the filter: groups are known by their name alone;
//! - one task owns both halves of a link, so nothing reaches the router for a link that has left: it would die of it.
//!
//! What it never frees (230 B a topic, a log for each filter) is bounded by renewing it. Its thread cannot be
//! stopped; it ends by a panic, which frees everything, so the letter with two bytes above is how it is renewed.

mod carry;
mod link;

use self::carry::{encode, poison};
use self::link::Link;
use super::Message;
use super::bus::{Bus, Command, Delivery, Gone, Published};
use super::places::Places;
use crate::mqtt::counters::Counters;
use crate::mqtt::limits::{FILTERS_PER_SUBSCRIBER, Limits, PUBLISHES_QUEUED, SUBSCRIBERS_MAX};
use rumqttd::local::{LinkBuilder, LinkError, LinkRx, LinkTx};
use rumqttd::{Router, RouterConfig};
use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Links are named with this and a number.
const LINK_NAME: &str = "link-";
/// Name of the link that publishes.
const PUBLISHER_NAME: &str = "publisher";
/// Segments a filter's log is cut into: the oldest goes when it is full.
const LOG_SEGMENTS: usize = 4;
/// Between two looks whether links are still being made on a bus that is to end; each takes about a millisecond.
const RENEW_PAUSE: Duration = Duration::from_millis(5);
/// The smallest segment the router takes.
const SEGMENT_BYTES_MIN: usize = 1024;

pub(super) struct RouterBus {
    state: Mutex<State>,
    limits: Limits,
    places: Arc<Places>,
    counters: Arc<Counters>,
    hasher: RandomState,
}

#[derive(Default)]
struct State {
    life: Option<Life>,
    started: u64,
}

type Connect = dyn Fn(&str) -> Result<(LinkTx, LinkRx), Gone> + Send + Sync;

type Alive = dyn Fn() -> bool + Send + Sync;

/// One life of the router.
struct Life {
    connect: Arc<Connect>,
    alive: Arc<Alive>,
    queue: mpsc::Sender<Arc<Message>>,
    topics: HashSet<u64>,
    filters: Arc<Mutex<HashSet<u64>>>,
    names: Arc<Mutex<Names>>,
    /// Links being made: the router must not be ended under them, they would wait for ever.
    building: Arc<AtomicUsize>,
}

/// Numbers of links that are free.
#[derive(Debug, Default)]
struct Names {
    free: BTreeSet<u32>,
    next: u32,
}

impl RouterBus {
    pub(super) fn new(limits: &Limits, places: Arc<Places>, counters: Arc<Counters>) -> RouterBus {
        let limits = limits.clone();
        RouterBus { state: Mutex::default(), limits, places, counters, hasher: RandomState::new() }
    }

    /// Distinct filters one life may see.
    fn filters_max(&self) -> usize {
        self.limits.bus_filters.max(self.places.max().saturating_mul(FILTERS_PER_SUBSCRIBER))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A life that is half set up is replaced when it turns out dead.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life to use, a new one if the last is over.
    fn living<'a>(&self, state: &'a mut State) -> Result<&'a mut Life, Gone> {
        if state.life.as_ref().is_some_and(|life| !(life.alive)()) {
            tracing::warn!("the bus to subscribers died and is started again");
            state.life = None;
        }
        if state.life.is_none() {
            if state.started > 0 {
                self.counters.bus_renewals.add(1);
            }
            state.life = Some(self.start()?);
            state.started += 1;
        }
        state.life.as_mut().ok_or(Gone)
    }

    fn start(&self) -> Result<Life, Gone> {
        let config = RouterConfig {
            // More than there may ever be, so that more may be allowed while it lives: beyond it the router does not answer. Twice, for
            // links that are leaving; the publisher has one.
            max_connections: SUBSCRIBERS_MAX * 2 + 1,
            max_outgoing_packet_count: 64,
            max_segment_size: (self.limits.bus_filter_bytes / LOG_SEGMENTS).max(SEGMENT_BYTES_MIN),
            max_segment_count: LOG_SEGMENTS,
            ..RouterConfig::default()
        };
        let sender = Router::new(0, config).spawn();
        let watched = sender.clone();
        let connect: Arc<Connect> = Arc::new(move |name: &str| {
            let (tx, rx, _) =
                LinkBuilder::new(name, sender.clone()).dynamic_filters(false).build().map_err(|_| Gone)?;
            Ok((tx, rx))
        });
        let (mut publisher, ignored) = connect(PUBLISHER_NAME)?;
        let (queue, mut queued) = mpsc::channel::<Arc<Message>>(PUBLISHES_QUEUED);
        // A thread, because the router's own queue blocks when it is full.
        std::thread::Builder::new()
            .name("mqtt-downlink".into())
            .spawn(move || {
                let _ignored = ignored;
                while let Some(message) = queued.blocking_recv() {
                    if now(publisher.send(encode(&message))).is_err() {
                        return;
                    }
                }
            })
            .map_err(|_| Gone)?;
        Ok(Life {
            connect,
            alive: Arc::new(move || !watched.is_disconnected()),
            queue,
            topics: HashSet::new(),
            filters: Arc::default(),
            names: Arc::default(),
            building: Arc::default(),
        })
    }

    /// Ends a life that has seen too much, once the links being made on it are made.
    fn renew(&self, state: &mut State) {
        let Some(life) = state.life.take() else { return };
        tracing::info!(
            "the bus to subscribers is renewed to free its memory; a panic of thread router-0 follows"
        );
        let end = move || {
            while life.building.load(SeqCst) > 0 {
                std::thread::sleep(RENEW_PAUSE);
            }
            let _ = life.queue.blocking_send(Arc::new(poison()));
        };
        if std::thread::Builder::new().name("mqtt-renew".into()).spawn(end).is_err() {
            tracing::warn!("no thread to end the old bus: its memory stays");
        }
    }
}

impl Bus for RouterBus {
    fn publish(&self, message: Arc<Message>) -> Published {
        let topic = self.hasher.hash_one(&message.topic);
        let mut state = self.lock();
        let Some(life) = state.life.as_mut() else { return Published::NoSubscribers };
        if !(life.alive)() {
            // Its subscribers are being told; the first to come back starts the next life.
            return Published::NoSubscribers;
        }
        if !life.topics.contains(&topic) {
            if life.topics.len() >= self.limits.bus_topics {
                self.renew(&mut state);
                return Published::NoSubscribers;
            }
            life.topics.insert(topic);
        }
        match life.queue.try_send(message) {
            Ok(()) => Published::Queued,
            Err(mpsc::error::TrySendError::Full(_)) => Published::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => Published::NoSubscribers,
        }
    }

    fn link(
        &self,
        sink: mpsc::Sender<Delivery>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Result<(), Gone> {
        let (connect, alive, names, filters, building) = {
            let mut state = self.lock();
            let seen = state.life.as_ref().map_or(0, |life| lock(&life.filters).len());
            if seen >= self.filters_max() {
                self.renew(&mut state);
            }
            let life = self.living(&mut state)?;
            life.building.fetch_add(1, SeqCst);
            let (names, filters) = (life.names.clone(), life.filters.clone());
            (life.connect.clone(), life.alive.clone(), names, filters, life.building.clone())
        };
        let number = lock(&names).take();
        let connected = connect(&format!("{LINK_NAME}{number}"));
        building.fetch_sub(1, SeqCst);
        let Ok((tx, rx)) = connected else {
            lock(&names).give(number);
            return Err(Gone);
        };
        let hasher = self.hasher.clone();
        let filters_max = self.filters_max();
        let link = Link { tx, rx, sink, alive, filters, filters_max, hasher };
        tokio::runtime::Handle::current().spawn(async move {
            link.run(commands).await;
            lock(&names).give(number);
        });
        Ok(())
    }

    #[cfg(test)]
    fn kill(&self) {
        if let Some(life) = self.lock().life.as_mut() {
            let _ = life.queue.try_send(Arc::new(poison()));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Names {
    fn take(&mut self) -> u32 {
        self.free.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next
        })
    }

    fn give(&mut self, number: u32) {
        self.free.insert(number);
    }
}

/// The router's `send` is `async` without ever waiting.
fn now<T>(send: impl Future<Output = Result<T, LinkError>>) -> Result<(), Gone> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(send).poll(&mut context) {
        std::task::Poll::Ready(result) => result.map(|_| ()).map_err(|_| Gone),
        std::task::Poll::Pending => Err(Gone),
    }
}
