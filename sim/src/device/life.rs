//! The life of one virtual device: boots, power cuts, outages, until it is told to end.
//!
//! In: a configuration, the phase of the run. Out: effects on the ledger and on the network. Invariant: between two
//! boots only the flash chip remains. Not here: what a device does while it is on (the device core).

use super::ledger::Ledger;
use super::power::{Chip, Flash, PAGE, SkewedClock};
use super::sensors::{Place, Sensors, Watcher, period_ms};
use super::{DeviceConfig, Faults, Link, Phase, mqtt, tcp};
use headwater_device::testing::Rng;
use headwater_device::{Device, Layout, Settings};
use headwater_telemetry::ResetReason;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};

const AREA_PAGES: u32 = 2;
/// A cut is planned inside the next bytes written: one to three batches.
const CUT_WITHIN_BYTES: u64 = 600;
/// When nothing was written for so long, a planned cut happens anyway.
const CUT_WAIT: Duration = Duration::from_secs(10);
/// How often a draining device looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// What is on while the power is.
pub(super) struct Body<'a> {
    pub(super) device: &'a Device<Flash, Watcher>,
    pub(super) clock: &'a SkewedClock,
    pub(super) ledger: &'a Ledger,
}

enum End {
    PowerCut,
    Told,
}

pub(super) async fn run(config: &DeviceConfig, phase: watch::Receiver<Phase>, ledger: &Arc<Ledger>) {
    let mut rng = Rng::new(config.seed);
    let pages = AREA_PAGES + config.ring_pages;
    let chip = Rc::new(RefCell::new(Chip::erased(pages as usize, config.seed)));
    let skew = i64::from(config.faults.clock_ppm);
    let ppm = i64::try_from(rng.below(u64::from(config.faults.clock_ppm) * 2 + 1)).unwrap_or(0) - skew;
    sleep(about(config.start_within / 2, &mut rng)).await;
    let mut reset = ResetReason::Power;
    loop {
        let mut told = phase.clone();
        tokio::select! {
            end = boot(config, &phase, ledger, &chip, ppm, reset, &mut rng) => if matches!(end, End::Told) { return },
            // An error means that whoever told the phases is gone.
            _ = told.wait_for(|&phase| phase == Phase::Stop) => return,
        }
        reset = ResetReason::BrownOut;
        sleep(about(config.faults.off_for, &mut rng)).await;
    }
}

/// One boot, until the power goes or the device is told to end.
async fn boot(
    config: &DeviceConfig,
    phase: &watch::Receiver<Phase>,
    ledger: &Arc<Ledger>,
    chip: &Rc<RefCell<Chip>>,
    ppm: i64,
    reset: ResetReason,
    rng: &mut Rng,
) -> End {
    chip.borrow_mut().power_up();
    ledger.booted();
    let gone = Rc::new(Notify::new());
    let flash = Flash { chip: chip.clone(), gone: gone.clone() };
    let (mut link_rng, mut fault_rng) = (Rng::new(rng.next_u64()), Rng::new(rng.next_u64()));
    let on = async {
        let place = Rc::new(Place::default());
        let period_ms = period_ms(config.rate_per_sec);
        let mut sensors =
            Sensors { seed: config.seed, period_ms, phase: phase.clone(), place: place.clone() };
        let area = AREA_PAGES * PAGE;
        let layout = Layout::without_vault(0..area, area..area + config.ring_pages * PAGE);
        let settings = Settings {
            reset,
            // As a board with a source of chance does; decided by the seed here.
            boots_from: boots_from(config.seed),
            batch_age_ms: config.batch_age_ms,
            ..Settings::new(config.id.clone(), concat!("sim ", env!("CARGO_PKG_VERSION")))
        };
        let watcher = Watcher { ledger: ledger.clone(), place: place.clone() };
        let device = match Device::open(flash, layout, settings, &sensors, watcher).await {
            Ok(device) => device,
            Err(error) => {
                tracing::error!(device = %config.id, %error, "virtual device does not start");
                return;
            }
        };
        place.boot.set(device.hello().boot.0);
        let clock = SkewedClock::start(ppm);
        let body = Body { device: &device, clock: &clock, ledger };
        let mut outage = Outage::new(config.faults, phase.clone(), Rng::new(link_rng.next_u64()));
        let send = async {
            match config.link {
                Link::Tcp(address) => tcp::send(&body, address, &mut outage, &mut link_rng).await,
                Link::Mqtt(address) => {
                    mqtt::send(&body, address, config.waits, &mut outage, &mut link_rng).await;
                }
            }
        };
        tokio::select! {
            stopped = device.run(&clock, &mut sensors) => {
                tracing::error!(device = %config.id, ?stopped, "virtual device stopped sampling");
            }
            () = send => {}
            () = drained(&body, phase.clone()) => {}
        }
    };
    tokio::select! {
        () = on => End::Told,
        () = gone.notified() => {
            ledger.cut_in_write();
            End::PowerCut
        }
        () = power_cut(config.faults, phase, chip, &mut fault_rng) => End::PowerCut,
    }
}

/// Where this device counts its boots from: the same at every boot, only the first one asks.
fn boots_from(seed: u64) -> u32 {
    // The upper half: the lower one would be the same for neighbouring seeds of some generators.
    u32::try_from(Rng::new(seed).next_u64() >> 32).unwrap_or(0)
}

/// Returns when the device is told to drain and has.
async fn drained(body: &Body<'_>, mut phase: watch::Receiver<Phase>) {
    if phase.wait_for(|&phase| phase == Phase::Drain).await.is_err() {
        return;
    }
    let boot = body.device.hello().boot.0;
    while !(body.ledger.all_stored(boot) && body.device.is_empty().await == Ok(true)) {
        sleep(DRAIN_LOOK).await;
    }
    body.device.save().await;
}

/// Returns when the power goes; plans a cut inside a write, which shows elsewhere.
async fn power_cut(faults: Faults, phase: &watch::Receiver<Phase>, chip: &RefCell<Chip>, rng: &mut Rng) {
    let Some(every) = faults.reboot_every else { return std::future::pending().await };
    sleep(about(every, rng)).await;
    if *phase.borrow() != Phase::Run {
        return std::future::pending().await;
    }
    if faults.cut_in_write && rng.chance(2) {
        chip.borrow_mut().cut_after(rng.below(CUT_WITHIN_BYTES));
        sleep(CUT_WAIT).await;
    }
}

/// Between none and twice the mean.
fn about(mean: Duration, rng: &mut Rng) -> Duration {
    let mean_ms = u64::try_from(mean.as_millis()).unwrap_or(u64::MAX / 4);
    Duration::from_millis(rng.below(mean_ms * 2 + 1))
}

/// When the link is away.
pub(super) struct Outage {
    faults: Faults,
    phase: watch::Receiver<Phase>,
    rng: Rng,
    next: Option<Instant>,
    until: Option<Instant>,
}

impl Outage {
    fn new(faults: Faults, phase: watch::Receiver<Phase>, mut rng: Rng) -> Self {
        let next = faults.offline_every.map(|every| Instant::now() + about(every, &mut rng));
        Self { faults, phase, rng, next, until: None }
    }

    /// Returns when the link goes away. May be cancelled.
    pub(super) async fn begins(&mut self) {
        let Some(next) = self.next else { return std::future::pending().await };
        sleep_until(next).await;
        if *self.phase.borrow() != Phase::Run {
            return std::future::pending().await;
        }
        self.next = self.faults.offline_every.map(|every| Instant::now() + about(every, &mut self.rng));
        self.until = Some(Instant::now() + about(self.faults.offline_for, &mut self.rng));
    }

    /// Waits until the link may be back; no outage outlasts the faulty phase. May be cancelled.
    pub(super) async fn over(&mut self) {
        if let Some(until) = self.until {
            let left = until.saturating_duration_since(Instant::now());
            // Either way it is over.
            let _ = timeout(left, self.phase.wait_for(|&phase| phase != Phase::Run)).await;
            self.until = None;
        }
    }
}
