//! Readings that were taken long before a device learned the time are dated within the error of its clock: in the start that
//! learned it and, when that start ends before they are sent, in the next.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]

mod world;

use embassy_futures::select::select3;
use embedded_io_async::{Read, Write};
use headwater_device::testing::{FlashModel, SharedFlash};
use headwater_device::{Clock, Device, Layout, Sampler, Settings};
use headwater_telemetry::limits::{CHANNELS_MAX, FRAME_BYTES_MAX};
use headwater_telemetry::{
    Batch, Channel, ChannelId, Deframer, DeviceId, Down, Entry, TimeQuality, Timestamp, Up, Uptime, UtcTime,
    Value, ValueKind, decode_body, encode_frame, heapless,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use world::{End, Executor, SkewedClock, World};

const PAGE: usize = 4096;
const EPOCH_MS: u64 = 1_790_000_000_000;
const MINUTE_US: u64 = 60_000_000;

/// Says what time it really is.
struct WorldTime(Rc<World>);

impl Sampler for WorldTime {
    fn channels(&self) -> heapless::Vec<Channel, CHANNELS_MAX> {
        [Channel::new("world", "ms", ValueKind::Integer, 0).unwrap()].into_iter().collect()
    }
    fn period_ms(&self, _: ChannelId) -> u32 {
        10_000
    }
    async fn sample(&mut self, _: ChannelId) -> Option<Value> {
        Some(Value::Integer(i64::try_from(self.0.now_us() / 1_000).unwrap()))
    }
}

/// What the agent does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Silent,
    TellsTheTime,
    Takes,
}

async fn device(world: Rc<World>, end: End, ppm: i64, restart_us: u64) {
    let chip = Rc::new(RefCell::new(FlashModel::<PAGE, 8>::erased(40, 1)));
    let page = u32::try_from(PAGE).unwrap();
    let layout = Layout::without_vault(0..2 * page, 2 * page..40 * page);
    for off_us in [restart_us, u64::MAX] {
        let clock = SkewedClock { world: world.clone(), boot_us: world.now_us(), ppm };
        let mut sampler = WorldTime(world.clone());
        let settings = Settings::new(DeviceId::parse("late").unwrap(), "test");
        let flash = SharedFlash(chip.clone());
        let device = Device::open(flash, layout.clone(), settings, &sampler, ()).await.unwrap();
        let link = async {
            let (mut rx, mut tx) = (end.clone(), end.clone());
            loop {
                device.serve(&clock, &mut rx, &mut tx).await;
                clock.sleep_until(Uptime(clock.now().0 + 1_000)).await;
            }
        };
        select3(device.run(&clock, &mut sampler), link, world.sleep_until(off_us)).await;
        end.clear();
    }
}

async fn agent(world: Rc<World>, mut end: End, mood: Rc<Cell<Mood>>, taken: Rc<RefCell<Vec<Batch>>>) {
    let (mut deframer, mut bytes, mut out) = (Deframer::new(), [0u8; 64], [0u8; FRAME_BYTES_MAX]);
    loop {
        let len = end.read(&mut bytes).await.unwrap();
        for &byte in &bytes[..len] {
            let Some(Ok(body)) = deframer.push(byte) else { continue };
            let reply = match (decode_body::<Up>(body), mood.get()) {
                (Ok(Up::TimeRequest { nonce }), Mood::TellsTheTime | Mood::Takes) => {
                    let at = Timestamp(EPOCH_MS + world.now_us() / 1_000);
                    Down::Time { nonce, utc: UtcTime { at, quality: TimeQuality::Synced } }
                }
                (Ok(Up::Batch(batch)), Mood::Takes) => {
                    let (boot, through) = (batch.boot, batch.through().unwrap());
                    taken.borrow_mut().push(batch);
                    Down::Ack { boot, through }
                }
                _ => continue,
            };
            end.write_all(encode_frame(&reply, &mut out).unwrap()).await.unwrap();
        }
    }
}

/// For each boot and quality: how many readings, and the worst error in ms.
fn worst(ppm: i64, restart_us: u64) -> BTreeMap<(u32, &'static str), (u32, u64)> {
    let mut executor = Executor::new();
    let (device_end, agent_end) = world::line(1);
    let (mood, taken) = (Rc::new(Cell::new(Mood::Silent)), Rc::<RefCell<Vec<Batch>>>::default());
    let (world, moods) = (executor.world.clone(), mood.clone());
    executor.spawn(device(world.clone(), device_end, ppm, restart_us));
    executor.spawn(agent(world.clone(), agent_end, mood, taken.clone()));
    executor.spawn(async move {
        // Five hours alone; then somebody tells the time, and a minute later takes what there is.
        world.sleep_until(300 * MINUTE_US).await;
        moods.set(Mood::TellsTheTime);
        world.sleep_until(301 * MINUTE_US).await;
        moods.set(Mood::Takes);
    });
    executor.run_until(320 * MINUTE_US);
    let mut worst = BTreeMap::new();
    for batch in taken.borrow().iter() {
        for entry in &batch.entries {
            let Entry::Reading(reading) = entry else { panic!("nothing was lost") };
            let Value::Integer(world_ms) = reading.value else { panic!("another device's value") };
            let utc = batch.utc_of(entry);
            let truth = EPOCH_MS + u64::try_from(world_ms).unwrap();
            let quality = match utc.map(|utc| utc.quality) {
                None => "none",
                Some(TimeQuality::Synced) => "synced",
                Some(TimeQuality::Estimated) => "estimated",
                Some(TimeQuality::Holdover) => "holdover",
            };
            let (count, error) = worst.entry((batch.boot.0, quality)).or_insert((0, 0));
            *count += 1;
            *error = (*error).max(utc.map_or(0, |utc| utc.at.0.abs_diff(truth)));
        }
    }
    worst
}

#[test]
fn hours_without_time_are_dated_within_the_drift_of_the_clock() {
    for ppm in [-50, 0, 50] {
        // The same start goes on; or ends half a minute after it learned the time, with nothing taken yet.
        for (restarts, off_us) in [(false, u64::MAX), (true, 300 * MINUTE_US + MINUTE_US / 2)] {
            let worst = worst(ppm, off_us);
            let drift = |hours: u64| hours * 3_600 * ppm.unsigned_abs() / 1_000 + 30;
            assert!(
                worst.keys().all(|&(_, quality)| quality == "synced" || quality == "holdover"),
                "{worst:?}"
            );
            // Four hours lie more than an hour before the answer, at 360 readings an hour.
            let (count, error) = worst[&(1, "holdover")];
            assert!((1_430..=1_450).contains(&count), "{worst:?}");
            assert!(error <= drift(5), "{error} ms at {ppm} ppm");
            assert!(ppm == 0 || error > drift(4) - 60, "{error} ms: the clock does not drift");
            let (count, error) = worst[&(1, "synced")];
            assert!(count > 350 && error <= drift(1), "{count} readings, {error} ms at {ppm} ppm");
            assert_eq!(worst.contains_key(&(2, "synced")), restarts);
        }
    }
}
