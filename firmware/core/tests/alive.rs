//! When a watchdog is fed: while sampling goes on, however rarely, and not when a sensor or flash does not come back.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]

#[expect(dead_code, reason = "no wires here")]
mod world;

use embassy_futures::select::select;
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use headwater_device::limits::ALIVE_MS;
use headwater_device::testing::{FlashFault, FlashModel};
use headwater_device::{Clock, Device, Layout, Observer, Sampler, Settings};
use headwater_telemetry::limits::CHANNELS_MAX;
use headwater_telemetry::{Channel, ChannelId, DeviceId, Uptime, Value, ValueKind, heapless};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use world::{Executor, SkewedClock, World};

const PAGE: usize = 1024;
const HOUR_MS: u64 = 3_600_000;

/// Flash whose writes never come back once `hangs` is set.
struct Flash {
    chip: FlashModel<PAGE, 8>,
    hangs: Rc<Cell<bool>>,
}

impl ErrorType for Flash {
    type Error = FlashFault;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;
    async fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), FlashFault> {
        self.chip.read_now(offset, out)
    }
    fn capacity(&self) -> usize {
        self.chip.size_bytes()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = PAGE;
    async fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashFault> {
        self.chip.erase_now(from, to)
    }
    async fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), FlashFault> {
        if self.hangs.get() {
            std::future::pending::<()>().await;
        }
        self.chip.write_now(offset, data)
    }
}

/// Three channels with one period; a reading takes `takes_ms`, or for ever once `hangs` is set.
#[derive(Clone)]
struct Sensors {
    world: Rc<World>,
    period_ms: u32,
    takes_ms: u64,
    fails: bool,
    hangs: Rc<Cell<bool>>,
    turns: Rc<RefCell<[u32; 3]>>,
}

impl Sampler for Sensors {
    fn channels(&self) -> heapless::Vec<Channel, CHANNELS_MAX> {
        ["a", "b", "c"].iter().map(|name| Channel::new(name, "", ValueKind::Fixed, 0).unwrap()).collect()
    }
    fn period_ms(&self, _: ChannelId) -> u32 {
        self.period_ms
    }
    async fn sample(&mut self, channel: ChannelId) -> Option<Value> {
        if self.hangs.get() {
            std::future::pending::<()>().await;
        }
        self.world.sleep_until(self.world.now_us() + self.takes_ms * 1_000).await;
        self.turns.borrow_mut()[usize::from(channel.0)] += 1;
        (!self.fails).then_some(Value::Fixed(1))
    }
}

/// When it was said last, and the longest silence, in ms.
#[derive(Clone)]
struct Watch {
    world: Rc<World>,
    last: Rc<Cell<u64>>,
    silence: Rc<Cell<u64>>,
}

impl Observer for Watch {
    fn alive(&self) {
        let now = self.world.now_us() / 1_000;
        self.silence.set(self.silence.get().max(now - self.last.get()));
        self.last.set(now);
    }
}

struct Board {
    executor: Executor,
    sensors: Sensors,
    watch: Watch,
    flash_hangs: Rc<Cell<bool>>,
    /// Turns of a task beside the sampling loop, as a link is one.
    links: Rc<Cell<u64>>,
}

fn board(period_ms: u32, takes_ms: u64, fails: bool) -> Board {
    let mut executor = Executor::new();
    let world = executor.world.clone();
    let (hangs, turns, flash_hangs) = (Rc::default(), Rc::default(), Rc::<Cell<bool>>::default());
    let sensors = Sensors { world: world.clone(), period_ms, takes_ms, fails, hangs, turns };
    let watch = Watch { world: world.clone(), last: Rc::default(), silence: Rc::default() };
    let links = Rc::<Cell<u64>>::default();
    let flash = Flash { chip: FlashModel::erased(8, 1), hangs: flash_hangs.clone() };
    let page = u32::try_from(PAGE).unwrap();
    let layout = Layout::without_vault(0..2 * page, 2 * page..8 * page);
    let (mut sampler, observer, counted) = (sensors.clone(), watch.clone(), links.clone());
    executor.spawn(async move {
        let settings = Settings::new(DeviceId::parse("board").unwrap(), "test");
        let device = Device::open(flash, layout, settings, &sampler, observer).await.unwrap();
        let clock = SkewedClock { world, boot_us: 0, ppm: 0 };
        let link = async {
            loop {
                clock.sleep_until(Uptime(clock.now().0 + 500)).await;
                counted.set(counted.get() + 1);
            }
        };
        select(device.run(&clock, &mut sampler), link).await;
    });
    Board { executor, sensors, watch, flash_hangs, links }
}

#[test]
fn it_comes_often_enough_with_periods_of_an_hour() {
    let mut board = board(3_600_000, 0, false);
    board.executor.run_until(5 * HOUR_MS * 1_000 + 1);
    assert_eq!(*board.sensors.turns.borrow(), [6; 3]);
    assert!(board.watch.silence.get() <= ALIVE_MS, "silent for {} ms", board.watch.silence.get());
    assert!(board.watch.last.get() >= 5 * HOUR_MS - ALIVE_MS);
}

#[test]
fn it_comes_with_every_reading_of_sensors_slower_than_their_periods_and_links_have_their_turns() {
    // 3 s a reading, each channel to be read every 10 ms: something is due always.
    let mut board = board(10, 3_000, false);
    board.executor.run_until(HOUR_MS * 1_000);
    assert_eq!(board.watch.silence.get(), 3_000);
    let turns = *board.sensors.turns.borrow();
    assert!(turns.iter().all(|&turns| (399..=400).contains(&turns)), "{turns:?}");
    assert!(board.links.get() > 7_000, "{} turns of a link", board.links.get());
}

#[test]
fn it_comes_when_every_sensor_fails() {
    let mut board = board(1_000, 0, true);
    board.executor.run_until(HOUR_MS * 1_000);
    assert!(board.watch.silence.get() <= ALIVE_MS);
}

#[test]
fn it_stays_away_when_a_sensor_does_not_come_back() {
    let mut board = board(5_000, 1, false);
    board.executor.run_until(60_000_000);
    let before = board.watch.last.get();
    assert!(before > 58_000);
    board.sensors.hangs.set(true);
    board.executor.run_until(HOUR_MS * 1_000);
    assert!(board.watch.last.get() < 65_100, "fed until {} ms", board.watch.last.get());
    assert!(board.links.get() > 7_000, "the rest of the board goes on, which is no reason to feed");
}

#[test]
fn it_stays_away_when_flash_does_not_come_back() {
    let mut board = board(1_000, 1, false);
    board.executor.run_until(60_500_000);
    board.flash_hangs.set(true);
    board.executor.run_until(HOUR_MS * 1_000);
    // Until the next batch is due: here after eight seconds, by its entries.
    let last = board.watch.last.get();
    assert!((60_500..71_000).contains(&last), "fed until {last} ms");
}
