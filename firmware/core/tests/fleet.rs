//! Whole devices in virtual time: skewed clocks, wires that lose and flip bytes, cables pulled, agents that answer
//! late, power cuts at any moment and inside flash writes. At the end everything is calm, and everything that was
//! stored must have been told: no hole in any boot, every gap counted exactly.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]

mod world;

use embassy_futures::select::{Either3, select, select3};
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, signal::Signal};
use embedded_io_async::{Read, Write};
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use headwater_device::testing::{FlashFault, FlashModel, Rng};
use headwater_device::{Clock, Device, Layout, Observer, Sampler, Settings};
use headwater_telemetry::limits::{CHANNELS_MAX, FRAME_BYTES_MAX};
use headwater_telemetry::{
    Batch, BootId, Channel, ChannelId, Deframer, DeviceId, Down, Entry, Seq, TimeQuality, Timestamp, Up,
    Uptime, UtcTime, Value, ValueKind, decode_body, encode_frame, heapless,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use world::{End, Executor, Noise, SkewedClock, World};

const PAGE: usize = 1024;
type Chip = FlashModel<PAGE, 8>;
const EPOCH_MS: u64 = 1_790_000_000_000;

/// Flash of a device that can lose power: a cut operation never returns.
struct Flash {
    chip: Rc<RefCell<Chip>>,
    dead: Rc<Signal<NoopRawMutex, ()>>,
}

impl Flash {
    async fn survive(&self, result: Result<(), FlashFault>) -> Result<(), FlashFault> {
        if result == Err(FlashFault::PowerCut) {
            self.dead.signal(());
            return std::future::pending().await;
        }
        result
    }
}

impl ErrorType for Flash {
    type Error = FlashFault;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;
    async fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), FlashFault> {
        let result = self.chip.borrow().read_now(offset, out);
        self.survive(result).await
    }
    fn capacity(&self) -> usize {
        self.chip.borrow().size_bytes()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = PAGE;
    async fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashFault> {
        let result = self.chip.borrow_mut().erase_now(from, to);
        self.survive(result).await
    }
    async fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), FlashFault> {
        let result = self.chip.borrow_mut().write_now(offset, data);
        self.survive(result).await
    }
}

/// What happened at the device, and what the agent has.
#[derive(Default)]
struct Record {
    /// For each boot: places sampled, places surely stored.
    truth: BTreeMap<u32, (u32, u32)>,
    told: BTreeMap<u32, Told>,
    boots: u32,
    cuts_in_write: u32,
    bad_frames: u32,
    repeats: u32,
    worst_time_error_ms: u64,
    timed: u32,
    /// Readings without time of boots that knew it.
    undated: u32,
}

#[derive(Default)]
struct Told {
    next: u32,
    readings: u32,
    lost: u32,
    dated: bool,
}

#[derive(Clone, Default)]
struct Watch(Rc<RefCell<Record>>);

impl Observer for Watch {
    fn sampled(&self, boot: BootId, seq: Seq) {
        self.0.borrow_mut().truth.entry(boot.0).or_default().0 = seq.0 + 1;
    }
    fn stored(&self, batch: &Batch) {
        let through = batch.through().unwrap().0;
        self.0.borrow_mut().truth.entry(batch.boot.0).or_default().1 = through + 1;
    }
}

/// Says what time it really is, so that the receiver can judge the device's idea of it.
struct WorldTime(Rc<World>);

impl Sampler for WorldTime {
    fn channels(&self) -> heapless::Vec<Channel, CHANNELS_MAX> {
        [Channel::new("world", "ms", ValueKind::Integer, 0).unwrap()].into_iter().collect()
    }
    fn period_ms(&self, _: ChannelId) -> u32 {
        1_000
    }
    async fn sample(&mut self, _: ChannelId) -> Option<Value> {
        Some(Value::Integer(i64::try_from(self.0.now_us() / 1_000).unwrap()))
    }
}

#[derive(Clone, Copy)]
struct Faults {
    noise: Noise,
    mean_uptime_s: u64,
    slow_answer_1_in: u64,
    pull_cable_1_in: u64,
}

const ROUGH: Faults = Faults {
    noise: Noise { lost_1_in: 4_000, flipped_1_in: 4_000 },
    mean_uptime_s: 240,
    slow_answer_1_in: 40,
    pull_cable_1_in: 3,
};
const CALM: Faults = Faults {
    noise: Noise { lost_1_in: 0, flipped_1_in: 0 },
    mean_uptime_s: 0,
    slow_answer_1_in: 0,
    pull_cable_1_in: 0,
};

async fn device(world: Rc<World>, end: End, faults: Rc<Cell<Faults>>, watch: Watch, seed: u64) {
    let mut rng = Rng::new(seed);
    let chip = Rc::new(RefCell::new(Chip::erased(10, seed)));
    let page = u32::try_from(PAGE).unwrap();
    let layout = Layout::without_vault(0..2 * page, 2 * page..10 * page);
    let ppm = i64::try_from(rng.below(101)).unwrap() - 50;
    world.sleep_until(rng.below(5_000_000)).await;
    loop {
        watch.0.borrow_mut().boots += 1;
        chip.borrow_mut().power_up();
        let mean_s = faults.get().mean_uptime_s;
        if mean_s != 0 && rng.chance(3) {
            chip.borrow_mut().cut_after(rng.below(8_000));
        }
        let dead = Rc::new(Signal::new());
        let flash = Flash { chip: chip.clone(), dead: dead.clone() };
        let clock = SkewedClock { world: world.clone(), boot_us: world.now_us(), ppm };
        let on = async {
            let mut sampler = WorldTime(world.clone());
            let settings = Settings::new(DeviceId::parse("virtual").unwrap(), "fleet");
            let device =
                Device::open(flash, layout.clone(), settings, &sampler, watch.clone()).await.unwrap();
            let link = async {
                let (mut rx, mut tx) = (end.clone(), end.clone());
                loop {
                    device.serve(&clock, &mut rx, &mut tx).await;
                    clock.sleep_until(Uptime(clock.now().0 + 1_000)).await;
                }
            };
            select(device.run(&clock, &mut sampler), link).await;
        };
        let now_us = world.now_us();
        let off_us = if mean_s == 0 { u64::MAX } else { now_us + rng.below(2 * mean_s) * 1_000_000 };
        if let Either3::Second(()) = select3(on, dead.wait(), world.sleep_until(off_us)).await {
            watch.0.borrow_mut().cuts_in_write += 1;
        }
        end.clear();
        world.sleep_until(world.now_us() + 1_000_000 + rng.below(20_000_000)).await;
    }
}

/// Pulls the cable for a while, now and then; long enough that rings overflow.
async fn cable(world: Rc<World>, end: End, faults: Rc<Cell<Faults>>, seed: u64) {
    let mut rng = Rng::new(seed);
    loop {
        world.sleep_until(world.now_us() + 30_000_000 + rng.below(120_000_000)).await;
        end.noise.set(faults.get().noise);
        if rng.chance(faults.get().pull_cable_1_in) {
            end.cut.set(true);
            world.sleep_until(world.now_us() + rng.below(1_200_000_000)).await;
        }
        end.cut.set(false);
    }
}

/// Stores in order, then acknowledges. `forgets_1_in` plants a bug: an ack for what was not stored.
async fn agent(
    world: Rc<World>,
    mut end: End,
    faults: Rc<Cell<Faults>>,
    watch: Watch,
    seed: u64,
    forgets_1_in: u64,
) {
    let mut rng = Rng::new(seed);
    let (mut deframer, mut bytes, mut out) = (Deframer::new(), [0u8; 64], [0u8; FRAME_BYTES_MAX]);
    loop {
        let len = end.read(&mut bytes).await.unwrap();
        for &byte in &bytes[..len] {
            let Some(body) = deframer.push(byte) else { continue };
            let reply = match body.and_then(decode_body::<Up>) {
                Ok(Up::TimeRequest { nonce }) => {
                    let at = Timestamp(EPOCH_MS + world.now_us() / 1_000);
                    Down::Time { nonce, utc: UtcTime { at, quality: TimeQuality::Synced } }
                }
                Ok(Up::Batch(batch)) => {
                    let through = batch.through().unwrap();
                    if !rng.chance(forgets_1_in) {
                        store(&mut watch.0.borrow_mut(), &batch);
                    }
                    Down::Ack { boot: batch.boot, through }
                }
                Ok(_) => continue,
                Err(_) => {
                    watch.0.borrow_mut().bad_frames += 1;
                    continue;
                }
            };
            if rng.chance(faults.get().slow_answer_1_in) {
                // Sometimes longer than the device waits.
                world.sleep_until(world.now_us() + rng.below(6_000_000)).await;
            }
            let frame = encode_frame(&reply, &mut out).unwrap();
            end.write_all(frame).await.unwrap();
        }
    }
}

fn store(record: &mut Record, batch: &Batch) {
    let boot = batch.boot.0;
    let running = record.truth.last_key_value().is_some_and(|(&newest, _)| newest == boot);
    assert!(batch.utc.is_some() || !running, "boot {boot} has the time, or nobody would get its batches");
    let told = record.told.entry(boot).or_default();
    assert!(batch.first.0 <= told.next, "hole in boot {boot}: {} follows {}", batch.first.0, told.next);
    record.repeats += u32::from(batch.first.0 < told.next);
    for (seq, entry) in batch.after(Seq(told.next)) {
        told.next = seq.0 + entry.count();
        match &entry {
            Entry::Gap(gap) => told.lost += gap.count,
            Entry::Reading(reading) => {
                told.readings += 1;
                let Value::Integer(world_ms) = reading.value else { panic!("another device's value") };
                record.undated += u32::from(batch.utc.is_none() && told.dated);
                told.dated |= batch.utc.is_some();
                if let Some(utc) = batch.utc_of(&entry).filter(|utc| utc.quality == TimeQuality::Synced) {
                    let truth = EPOCH_MS + u64::try_from(world_ms).unwrap();
                    record.timed += 1;
                    record.worst_time_error_ms = record.worst_time_error_ms.max(utc.at.0.abs_diff(truth));
                }
            }
        }
    }
}

fn run(devices: u64, minutes: u64, seed: u64, forgets_1_in: u64) -> Vec<Watch> {
    let mut executor = Executor::new();
    let faults = Rc::new(Cell::new(ROUGH));
    let mut watches = Vec::new();
    for n in 0..devices {
        let seed = seed * 1_000 + n;
        let (device_end, agent_end) = world::line(seed);
        let watch = Watch::default();
        let world = executor.world.clone();
        executor.spawn(cable(world.clone(), device_end.clone(), faults.clone(), seed ^ 1));
        executor.spawn(device(world.clone(), device_end, faults.clone(), watch.clone(), seed ^ 2));
        executor.spawn(agent(world, agent_end, faults.clone(), watch.clone(), seed ^ 3, forgets_1_in));
        watches.push(watch);
    }
    executor.run_until(minutes * 60_000_000);
    faults.set(CALM);
    // The longest cable is back after 20 minutes, the longest boot over after eight.
    executor.run_until((minutes + 30) * 60_000_000);
    watches
}

/// Everything stored was told, and nothing else but what a cut push may have left.
fn check(watch: &Watch) {
    let record = watch.0.borrow();
    for (boot, &(sampled, stored)) in &record.truth {
        let (readings, lost, next) =
            record.told.get(boot).map_or((0, 0, 0), |told| (told.readings, told.lost, told.next));
        assert_eq!(readings + lost, next, "hole in boot {boot}");
        let running = *boot == *record.truth.last_key_value().unwrap().0;
        let waiting = if running { 24 } else { 0 };
        assert!(
            next + waiting >= stored && next <= sampled,
            "boot {boot}: {next} told, {stored} stored, {sampled} sampled"
        );
        assert!(next <= stored + 24, "boot {boot}: {next} told, {stored} stored and one batch perhaps");
    }
}

#[test]
fn a_rough_fleet_leaves_no_hole_and_counts_every_gap() {
    let watches = run(40, 60, 7, 0);
    let [mut boots, mut cuts, mut bad, mut repeats, mut readings, mut lost, mut timed, mut undated] = [0; 8];
    let mut worst = 0;
    for watch in &watches {
        check(watch);
        let record = watch.0.borrow();
        boots += record.boots;
        cuts += record.cuts_in_write;
        bad += record.bad_frames;
        repeats += record.repeats;
        worst = worst.max(record.worst_time_error_ms);
        timed += record.timed;
        undated += record.undated;
        for told in record.told.values() {
            readings += told.readings;
            lost += told.lost;
        }
    }
    println!(
        "{boots} boots, {cuts} cuts in a write, {bad} bad frames, {repeats} repeats, {readings} readings ({timed} dated), \
         {lost} in gaps, worst time error {worst} ms"
    );
    let all = cuts > 20 && bad > 50 && repeats > 50 && lost > 1_000 && timed > 10_000;
    assert!(all, "a fault no longer happens");
    assert!(worst <= 1_250 && undated == 0, "wrong by {worst} ms, {undated} not dated");
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let sum = |seed| -> Vec<(u32, u32, u32)> {
        let watches = run(3, 15, seed, 0);
        watches.iter().map(|w| w.0.borrow()).map(|r| (r.boots, r.bad_frames, r.repeats)).collect()
    };
    assert_eq!(sum(5), sum(5));
    assert_ne!(sum(5), sum(6));
}

#[test]
fn an_agent_that_acknowledges_what_it_does_not_store_is_caught() {
    assert!(std::panic::catch_unwind(|| run(3, 30, 11, 50).iter().for_each(check)).is_err());
}
