//! A board with two channels in virtual time, on flash in memory.

use crate::world::{Executor, SkewedClock, World};
use embassy_futures::block_on as now;
use embassy_futures::select::{Either3, select3};
use headwater_device::testing::{FlashModel, SharedFlash};
use headwater_device::{Clock, Device, Layout, Observer, Outbox, Sampler, Settings, Stopped};
use headwater_telemetry::limits::CHANNELS_MAX;
use headwater_telemetry::{
    Batch, Channel, ChannelId, Command, CommandId, CommandOutcome, Config, DeviceId, Order, Uptime, Value,
    ValueKind, heapless,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub(crate) const PAGE: usize = 1024;
pub(crate) const WORD: usize = 8;
pub(crate) type Chip = Rc<RefCell<FlashModel<PAGE, WORD>>>;
pub(crate) type Board = Device<SharedFlash<PAGE, WORD>, Watch>;

pub(crate) fn chip(seed: u64) -> Chip {
    Rc::new(RefCell::new(FlashModel::erased(8, seed)))
}

/// What happened: when channels were read, how often it blinked.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    pub(crate) blinks: Rc<Cell<u32>>,
    pub(crate) stored: Rc<Cell<u32>>,
}

impl Observer for Watch {
    fn identify(&self) {
        self.blinks.set(self.blinks.get() + 1);
    }
    fn stored(&self, batch: &Batch) {
        self.stored.set(self.stored.get() + u32::try_from(batch.entries.len()).unwrap());
    }
}

/// Channels with periods of an hour and of 1 s.
#[derive(Clone)]
pub(crate) struct Sensors {
    world: Rc<World>,
    names: &'static [&'static str],
    /// When, in ms, and which.
    pub(crate) read: Rc<RefCell<Vec<(u64, u8)>>>,
}

impl Sensors {
    pub(crate) fn new(world: &Rc<World>, names: &'static [&'static str]) -> Self {
        Self { world: world.clone(), names, read: Rc::default() }
    }
}

impl Sampler for Sensors {
    fn channels(&self) -> heapless::Vec<Channel, CHANNELS_MAX> {
        self.names.iter().map(|name| Channel::new(name, "", ValueKind::Integer, 0).unwrap()).collect()
    }
    fn period_ms(&self, channel: ChannelId) -> u32 {
        if channel.0 == 0 { 3_600_000 } else { 1_000 }
    }
    async fn sample(&mut self, channel: ChannelId) -> Option<Value> {
        self.read.borrow_mut().push((self.world.now_us() / 1_000, channel.0));
        Some(Value::Integer(0))
    }
}

pub(crate) fn layout() -> Layout {
    let page = u32::try_from(PAGE).unwrap();
    Layout::without_vault(0..2 * page, 2 * page..8 * page)
}

pub(crate) fn open(chip: &Chip, sensors: &Sensors, watch: &Watch) -> Board {
    let settings = Settings::new(DeviceId::parse("board").unwrap(), "test");
    now(Device::open(SharedFlash(chip.clone()), layout(), settings, sensors, watch.clone())).unwrap()
}

pub(crate) fn command(id: u32, order: Order) -> Command {
    Command { id: CommandId(id), order }
}

pub(crate) fn period(channel: Option<u8>, period_ms: u32) -> Order {
    Order::Period { channel: channel.map(ChannelId), period_ms }
}

pub(crate) fn config(period_ms: u32) -> Config {
    let device = DeviceId::parse("shed").unwrap();
    Config { device, network: None, uplink: None, period_ms, batch_age_ms: 0 }
}

/// Runs a board; `orders` come at their times, in ms. Returns why it stopped, if it did, and when.
pub(crate) fn run(
    executor: &mut Executor,
    board: Board,
    sensors: &Sensors,
    orders: Vec<(u64, Command)>,
    ms: u64,
) -> Rc<Cell<Option<(Stopped, u64)>>> {
    let (world, mut sensors) = (executor.world.clone(), sensors.clone());
    let (stopped, start_us) = (Rc::new(Cell::new(None)), world.now_us());
    let result = stopped.clone();
    let end_us = start_us + ms * 1_000;
    executor.spawn(async move {
        let clock = SkewedClock { world: world.clone(), boot_us: start_us, ppm: 0 };
        let link = async {
            for (at, command) in orders {
                clock.sleep_until(Uptime(at)).await;
                assert_eq!(board.perform(&command).await, CommandOutcome::Done, "{command:?}");
            }
            std::future::pending::<()>().await;
        };
        let off = world.sleep_until(end_us);
        if let Either3::First(why) = select3(board.run(&clock, &mut sensors), link, off).await {
            result.set(Some((why, clock.now().0)));
        }
    });
    executor.run_until(end_us);
    stopped
}
