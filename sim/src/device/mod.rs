//! Virtual devices: the real device core on this machine's clock, with flash in memory and faults from a seed.
//!
//! In: a [`DeviceConfig`]. Out: frames to an agent or publishes to a gateway, and a [`Ledger`] of what the device
//! itself believes: sampled, stored, acknowledged, told as lost. Invariants: the device never knows that it is
//! simulated; every value can be told again from seed, boot and seq ([`value`]); equal seeds give equal devices (the
//! network gives unequal timing). Not here: looking into the shards (the fleet's end check).
//!
//! Device futures stay on one thread: a [`DeviceHost`] is such a thread, good for a thousand devices.

mod ledger;
mod life;
mod mqtt;
mod power;
mod sensors;
mod tcp;
#[cfg(test)]
mod tests;

pub use ledger::{BootLedger, Ledger, Totals};
pub use sensors::{CHANNELS, value};
pub(crate) use sensors::{Description, period_ms};

use headwater_telemetry::DeviceId;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

/// How a device reaches the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Frames to an agent's TCP link.
    Tcp(SocketAddr),
    /// Its own MQTT 5 connection; PUBACK is the ack.
    Mqtt(SocketAddr),
}

/// How long a device with a connection of its own waits before it connects again. Both are at random, and grow with every failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waits {
    /// Some seconds at the most: nobody watches a demonstration for minutes.
    #[default]
    Short,
    /// As long as boards wait, a minute and a half at the most.
    OfBoards,
}

/// What goes wrong. Times are means; what happens is drawn between none and twice as long.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Time between two losses of the link; none for never.
    pub offline_every: Option<Duration>,
    /// How long the link stays away.
    pub offline_for: Duration,
    /// Time between two power cuts; none for never.
    pub reboot_every: Option<Duration>,
    /// How long the power stays away.
    pub off_for: Duration,
    /// Every other power cut happens inside a flash write.
    pub cut_in_write: bool,
    /// A device's clock runs wrong by up to so many parts per million, either way.
    pub clock_ppm: u32,
}

impl Faults {
    /// Crystal clocks and a perfect world.
    pub fn none() -> Self {
        Self { clock_ppm: 50, ..Self::default() }
    }

    /// Everything, often: links away a tenth of the time, a power cut every minute, half of them inside a write.
    pub fn rough() -> Self {
        Self {
            offline_every: Some(Duration::from_secs(20)),
            offline_for: Duration::from_secs(2),
            reboot_every: Some(Duration::from_secs(60)),
            off_for: Duration::from_secs(1),
            cut_in_write: true,
            clock_ppm: 50,
        }
    }
}

/// One virtual device.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// Its name.
    pub id: DeviceId,
    /// Decides its values, its clock and its faults.
    pub seed: u64,
    /// Readings a second over all its channels, up to 300.
    pub rate_per_sec: f64,
    /// Where it sends.
    pub link: Link,
    /// How long it waits before it connects again.
    pub waits: Waits,
    /// What goes wrong.
    pub faults: Faults,
    /// 4 KiB pages of its data ring, 3 or more: 16 keep about 6,000 readings while nobody listens.
    pub ring_pages: u32,
    /// Milliseconds after which a batch is closed.
    pub batch_age_ms: u32,
    /// It is switched on within this, at random: a fleet must not stay in step, and a gateway lets only so many in a second.
    pub start_within: Duration,
}

impl DeviceConfig {
    /// A device without faults, with a ring of 16 pages and batches of at most two seconds, on within half a second.
    pub fn new(id: DeviceId, seed: u64, rate_per_sec: f64, link: Link) -> Self {
        let (ring_pages, batch_age_ms, start_within) = (16, 2_000, Duration::from_millis(500));
        let (waits, faults) = (Waits::default(), Faults::none());
        Self { id, seed, rate_per_sec, link, waits, faults, ring_pages, batch_age_ms, start_within }
    }
}

/// What all devices of a run are to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Sample, send, suffer faults.
    #[default]
    Run,
    /// Sample nothing more, suffer nothing more, deliver what is there, then end.
    Drain,
    /// End now.
    Stop,
}

/// A virtual device that is on its way.
#[derive(Clone, Debug)]
pub struct DeviceHandle {
    /// Its name.
    pub id: DeviceId,
    /// Its seed, for [`value`].
    pub seed: u64,
    /// What it believes.
    pub ledger: Arc<Ledger>,
    ended: watch::Receiver<bool>,
}

impl DeviceHandle {
    /// Whether it has ended.
    pub fn is_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) {
        // An error means that its thread is gone, which ends it as well.
        let _ = self.ended.wait_for(|&ended| ended).await;
    }
}

type Order = (DeviceConfig, watch::Receiver<Phase>, Arc<Ledger>, watch::Sender<bool>);

/// A thread that runs virtual devices. It ends when the host is dropped and its devices have ended.
#[derive(Debug)]
pub struct DeviceHost {
    orders: mpsc::UnboundedSender<Order>,
}

impl DeviceHost {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Bounded by the caller's fleet size: one order a device.
        let (orders, mut inbox) = mpsc::unbounded_channel::<Order>();
        thread::Builder::new().name("devices".to_owned()).spawn(move || {
            let devices = LocalSet::new();
            devices.spawn_local(async move {
                while let Some((config, phase, ledger, ended)) = inbox.recv().await {
                    tokio::task::spawn_local(async move {
                        life::run(&config, phase, &ledger).await;
                        ended.send_replace(true);
                    });
                }
            });
            runtime.block_on(devices);
        })?;
        Ok(Self { orders })
    }

    /// Starts a device.
    pub fn spawn(&self, config: DeviceConfig, phase: watch::Receiver<Phase>) -> DeviceHandle {
        let ledger = Arc::new(Ledger::default());
        let (done, ended) = watch::channel(false);
        let handle = DeviceHandle { id: config.id.clone(), seed: config.seed, ledger: ledger.clone(), ended };
        // The thread takes orders as long as this host exists.
        let _ = self.orders.send((config, phase, ledger, done));
        handle
    }
}
