//! Restarts ordered over a wire that loses bytes and answers, by a sender that repeats until it has an answer, on a device
//! whose power goes at any byte of a flash write: every one happens, and happens once.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]

mod world;

use embassy_futures::select::{Either, Either3, select, select3};
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, signal::Signal};
use embedded_io_async::{Read, Write};
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use headwater_device::testing::{FlashFault, FlashModel, Rng};
use headwater_device::{Clock, Device, Layout, Sampler, Settings, Stopped};
use headwater_telemetry::limits::{CHANNELS_MAX, FRAME_BYTES_MAX};
use headwater_telemetry::{
    Channel, ChannelId, Command, CommandId, CommandOutcome, CommandResult, Deframer, DeviceId, Down, Order,
    TimeQuality, Timestamp, Up, Uptime, UtcTime, Value, ValueKind, decode_body, encode_frame, heapless,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use world::{End, Executor, Noise, SkewedClock, World};

const PAGE: usize = 1024;

/// Flash of a device that can lose power: a cut operation never returns.
struct Flash {
    chip: Rc<RefCell<FlashModel<PAGE, 8>>>,
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

struct Level;

impl Sampler for Level {
    fn channels(&self) -> heapless::Vec<Channel, CHANNELS_MAX> {
        [Channel::new("level", "", ValueKind::Fixed, 0).unwrap()].into_iter().collect()
    }
    fn period_ms(&self, _: ChannelId) -> u32 {
        1_000
    }
    async fn sample(&mut self, _: ChannelId) -> Option<Value> {
        Some(Value::Fixed(1))
    }
}

/// What happened.
#[derive(Default)]
struct Counts {
    restarts: Cell<u32>,
    cuts: Cell<u32>,
    sent: Cell<u32>,
    answered: Cell<u32>,
}

async fn device(world: Rc<World>, end: End, counts: Rc<Counts>, cuts: bool) {
    let mut rng = Rng::new(3);
    let chip = Rc::new(RefCell::new(FlashModel::erased(8, 3)));
    let page = u32::try_from(PAGE).unwrap();
    let layout = Layout::without_vault(0..2 * page, 2 * page..8 * page);
    loop {
        chip.borrow_mut().power_up();
        if cuts && rng.chance(2) {
            chip.borrow_mut().cut_after(rng.below(900));
        }
        let dead = Rc::new(Signal::new());
        let flash = Flash { chip: chip.clone(), dead: dead.clone() };
        let clock = SkewedClock { world: world.clone(), boot_us: world.now_us(), ppm: 0 };
        let on = async {
            let settings = Settings::new(DeviceId::parse("board").unwrap(), "test");
            let device = Device::open(flash, layout.clone(), settings, &Level, ()).await.unwrap();
            let link = async {
                let (mut rx, mut tx) = (end.clone(), end.clone());
                loop {
                    device.serve(&clock, &mut rx, &mut tx).await;
                    clock.sleep_until(Uptime(clock.now().0 + 1_000)).await;
                }
            };
            select(device.run(&clock, &mut Level), link).await
        };
        match select3(on, dead.wait(), std::future::pending::<()>()).await {
            Either3::First(Either::First(Stopped::Restart)) => counts.restarts.set(counts.restarts.get() + 1),
            Either3::First(_) | Either3::Third(()) => panic!("it stopped by itself"),
            Either3::Second(()) => counts.cuts.set(counts.cuts.get() + 1),
        }
        end.clear();
        world.sleep_until(world.now_us() + 2_000_000).await;
    }
}

/// Takes what comes, and orders one restart after the other; each again every three seconds until it is answered.
async fn agent(world: Rc<World>, end: End, counts: Rc<Counts>) {
    let (mut deframer, mut bytes, mut out) = (Deframer::new(), [0u8; 64], [0u8; FRAME_BYTES_MAX]);
    let (mut rx, mut tx, mut again_us) = (end.clone(), end, 0);
    loop {
        let id = CommandId(1_000 + counts.answered.get());
        let read = match select(rx.read(&mut bytes), world.sleep_until(again_us)).await {
            Either::First(len) => len.unwrap(),
            Either::Second(()) => {
                again_us = world.now_us() + 3_000_000;
                counts.sent.set(counts.sent.get() + 1);
                let command = Down::Command(Command { id, order: Order::Reboot });
                tx.write_all(encode_frame(&command, &mut out).unwrap()).await.unwrap();
                0
            }
        };
        for &byte in &bytes[..read] {
            let Some(Ok(body)) = deframer.push(byte) else { continue };
            let reply = match decode_body::<Up>(body) {
                Ok(Up::TimeRequest { nonce }) => {
                    let at = Timestamp(1_790_000_000_000 + world.now_us() / 1_000);
                    Down::Time { nonce, utc: UtcTime { at, quality: TimeQuality::Synced } }
                }
                Ok(Up::Batch(batch)) => Down::Ack { boot: batch.boot, through: batch.through().unwrap() },
                Ok(Up::CommandResult(CommandResult { id: of, outcome })) => {
                    assert_eq!(outcome, CommandOutcome::Done);
                    // The next one after a while; an answer to an older repeat says nothing.
                    if of == CommandId(1_000 + counts.answered.get()) {
                        counts.answered.set(counts.answered.get() + 1);
                        again_us = world.now_us() + 20_000_000;
                    }
                    continue;
                }
                _ => continue,
            };
            tx.write_all(encode_frame(&reply, &mut out).unwrap()).await.unwrap();
        }
    }
}

fn run(noise: Noise, cuts: bool, hours: u64) -> Rc<Counts> {
    let mut executor = Executor::new();
    let (device_end, agent_end) = world::line(5);
    device_end.noise.set(noise);
    agent_end.noise.set(noise);
    let counts = Rc::<Counts>::default();
    executor.spawn(device(executor.world.clone(), device_end, counts.clone(), cuts));
    executor.spawn(agent(executor.world.clone(), agent_end, counts.clone()));
    executor.run_until(hours * 3_600_000_000);
    counts
}

#[test]
fn every_restart_that_is_ordered_happens_once_although_answers_are_lost() {
    let counts = run(Noise { lost_1_in: 60, flipped_1_in: 120 }, false, 2);
    let (restarts, answered, sent) = (counts.restarts.get(), counts.answered.get(), counts.sent.get());
    println!("{sent} orders sent, {answered} answered, {restarts} restarts");
    assert!(answered > 100 && sent > answered + 50, "nothing was repeated");
    // The last may have happened without its answer.
    assert!((answered..=answered + 1).contains(&restarts));
}

#[test]
fn a_restart_happens_at_most_once_where_the_power_goes_as_well() {
    let counts = run(Noise { lost_1_in: 200, flipped_1_in: 200 }, true, 2);
    let (restarts, answered, cuts) = (counts.restarts.get(), counts.answered.get(), counts.cuts.get());
    println!("{answered} answered, {restarts} restarts, {cuts} cuts");
    assert!(answered > 100 && cuts > 50, "{answered} answered, {cuts} cuts");
    // Where the power went after it was remembered, that was the restart.
    assert!(restarts <= answered + 1 && restarts + cuts >= answered, "{restarts} for {answered}");
}
