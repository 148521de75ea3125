//! Boards that run: which period holds, how a restart goes, and when the board says that it is alive.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]

mod board;
#[expect(dead_code, reason = "no wires here")]
mod world;

use board::{Sensors, Watch, chip, command, config, layout, open, period, run};
use embassy_futures::block_on as now;
use embassy_futures::select::{Either, select};
use headwater_device::limits::{PERIOD_MS_MAX, RESTART_DELAY_MS};
use headwater_device::testing::SharedFlash;
use headwater_device::{Clock, Device, Observer, Outbox, Settings, Stopped};
use headwater_telemetry::{BootId, CommandOutcome, ConfigOutcome, DeviceId, Order, Seq, Uptime};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use world::{Executor, SkewedClock};

/// How often each of two channels was read from `from_ms` on.
fn turns(sensors: &Sensors, from_ms: u64) -> [usize; 2] {
    let read = sensors.read.borrow();
    [0, 1].map(|channel| read.iter().filter(|&&(at, of)| of == channel && at >= from_ms).count())
}

#[test]
fn a_period_holds_at_once_and_after_restarts_before_the_configuration_and_the_firmware() {
    let mut executor = Executor::new();
    let sensors = Sensors::new(&executor.world, &["slow", "quick"]);
    let (chip, watch) = (chip(1), Watch::default());
    // The firmware: once an hour and once a second. After 10 s, every second and never.
    let orders = vec![
        (10_500, command(1, period(Some(0), 1_000))),
        (10_500, command(2, period(Some(1), PERIOD_MS_MAX))),
    ];
    run(&mut executor, open(&chip, &sensors, &watch), &sensors, orders, 20_400);
    assert_eq!(turns(&sensors, 0), [11, 11]);
    assert_eq!(turns(&sensors, 10_500), [10, 0], "at once");
    // A restart: the orders hold. The first turn is at the start.
    let from = executor.world.now_us() / 1_000;
    run(&mut executor, open(&chip, &sensors, &watch), &sensors, Vec::new(), 9_900);
    assert_eq!(turns(&sensors, from), [10, 1]);
    // A configuration holds for what is not ordered, from the next start on.
    let board = open(&chip, &sensors, &watch);
    assert_eq!(now(board.configure(&config(2_000))), ConfigOutcome::Stored);
    assert_eq!(now(board.perform(&command(3, period(Some(1), 0)))), CommandOutcome::Done);
    let board = open(&chip, &sensors, &watch);
    let from = executor.world.now_us() / 1_000;
    // Then all: it replaces the single order, and taking it back leaves the configuration.
    let orders = vec![(10_100, command(4, period(None, 100))), (20_050, command(5, period(None, 0)))];
    run(&mut executor, board, &sensors, orders, 30_000);
    let read = sensors.read.borrow();
    let turns = |channel, range: std::ops::Range<u64>| {
        read.iter().filter(|&&(at, of)| of == channel && at >= from && range.contains(&(at - from))).count()
    };
    assert_eq!([turns(0, 0..10_000), turns(1, 0..10_000)], [10, 5]);
    assert_eq!([turns(0, 10_100..20_050), turns(1, 10_100..20_050)], [100, 100]);
    assert_eq!([turns(0, 20_050..30_000), turns(1, 20_050..30_000)], [4, 4]);
}

#[test]
fn orders_for_other_channels_do_not_hold_and_are_told() {
    let mut executor = Executor::new();
    let (chip, watch) = (chip(1), Watch::default());
    let sensors = Sensors::new(&executor.world, &["slow", "quick"]);
    let board = open(&chip, &sensors, &watch);
    assert_eq!(now(board.perform(&command(1, period(None, 50)))), CommandOutcome::Done);
    assert!(board.poll_log().is_none());
    let other = Sensors::new(&executor.world, &["level", "wind"]);
    let board = open(&chip, &other, &watch);
    assert!(board.poll_log().unwrap().text.contains("other channels"));
    assert_eq!(now(board.perform(&command(1, Order::Identify))), CommandOutcome::Done, "known all the same");
    assert_eq!(watch.blinks.get(), 0);
    run(&mut executor, board, &other, Vec::new(), 9_900);
    assert_eq!(turns(&other, 0), [1, 10]);
}

#[test]
fn readings_are_numbered_on_over_a_change_of_period() {
    #[derive(Clone, Default)]
    struct Line(Rc<RefCell<Vec<u32>>>);
    impl Observer for Line {
        fn sampled(&self, _: BootId, seq: Seq) {
            self.0.borrow_mut().push(seq.0);
        }
    }
    let mut executor = Executor::new();
    let sensors = Sensors::new(&executor.world, &["slow", "quick"]);
    let line = Line::default();
    let settings = Settings::new(DeviceId::parse("board").unwrap(), "test");
    let device = now(Device::open(SharedFlash(chip(1)), layout(), settings, &sensors, line.clone())).unwrap();
    let (world, mut sampler) = (executor.world.clone(), sensors.clone());
    executor.spawn(async move {
        let clock = SkewedClock { world, boot_us: 0, ppm: 0 };
        let orders = async {
            for n in 1..20u32 {
                clock.sleep_until(Uptime(u64::from(n) * 777)).await;
                device.perform(&command(n, period(Some(1), 50 * n))).await;
            }
            std::future::pending::<()>().await;
        };
        select(device.run(&clock, &mut sampler), orders).await;
    });
    executor.run_until(20_000_000);
    let places: Vec<u32> = (0..u32::try_from(sensors.read.borrow().len()).unwrap()).collect();
    assert_eq!(*line.0.borrow(), places);
}

#[test]
fn a_restart_stores_what_is_open_leaves_time_for_the_answer_and_happens_once() {
    let mut executor = Executor::new();
    let sensors = Sensors::new(&executor.world, &["slow", "quick"]);
    let (chip, watch) = (chip(1), Watch::default());
    let reboot = command(5, Order::Reboot);
    let board = open(&chip, &sensors, &watch);
    let stopped = run(&mut executor, board, &sensors, vec![(4_500, reboot.clone())], 30_000);
    assert_eq!(stopped.get(), Some((Stopped::Restart, 4_500 + RESTART_DELAY_MS)));
    let taken = sensors.read.borrow().len();
    assert_eq!(watch.stored.get() as usize, taken, "nothing that was taken is lost");
    // The answer was lost, the order comes again: answered, not done.
    let board = open(&chip, &sensors, &watch);
    assert_eq!(board.hello().boot, BootId(2));
    assert!(run(&mut executor, board, &sensors, vec![(100, reboot)], 30_000).get().is_none());
}

#[test]
fn a_restart_that_could_not_be_remembered_is_not_done() {
    let mut executor = Executor::new();
    let sensors = Sensors::new(&executor.world, &["slow", "quick"]);
    let (chip, watch) = (chip(1), Watch::default());
    let board = open(&chip, &sensors, &watch);
    chip.borrow_mut().refuse(u32::MAX);
    assert_eq!(now(board.perform(&command(1, Order::Reboot))), CommandOutcome::FlashFailed);
    assert_eq!(now(board.perform(&command(2, period(None, 50)))), CommandOutcome::FlashFailed);
    assert_eq!(now(board.perform(&command(3, Order::Provision(config(70))))), CommandOutcome::FlashFailed);
    assert_eq!(now(board.perform(&command(4, Order::Identify))), CommandOutcome::Done);
    // In this start the outcomes are known all the same.
    chip.borrow_mut().power_up();
    for (id, order) in [(1, Order::Reboot), (2, period(None, 50)), (3, Order::Provision(config(70)))] {
        assert_eq!(now(board.perform(&command(id, order))), CommandOutcome::FlashFailed);
    }
    assert_eq!(now(board.perform(&command(4, Order::Identify))), CommandOutcome::Done);
    assert_eq!(watch.blinks.get(), 1);
    assert!(run(&mut executor, board, &sensors, Vec::new(), 5_900).get().is_none(), "no restart");
    assert_eq!(turns(&sensors, 0), [1, 6], "no other periods");
}

#[test]
fn flash_that_refuses_the_last_batch_does_not_hold_up_a_restart() {
    for (refusals, kept) in [(1, true), (2, true), (u32::MAX, false)] {
        let mut executor = Executor::new();
        let sensors = Sensors::new(&executor.world, &["slow", "quick"]);
        let (chip, watch) = (chip(1), Watch::default());
        let board = open(&chip, &sensors, &watch);
        let world = executor.world.clone();
        let (mut sampler, refusing, stopped) = (sensors.clone(), chip.clone(), Rc::new(Cell::new(None)));
        let result = stopped.clone();
        executor.spawn(async move {
            let clock = SkewedClock { world, boot_us: 0, ppm: 0 };
            let order = async {
                clock.sleep_until(Uptime(4_500)).await;
                let outcome = board.perform(&command(1, Order::Reboot)).await;
                assert_eq!(outcome, CommandOutcome::Done);
                // The order itself was still stored; now flash refuses.
                refusing.borrow_mut().refuse(refusals);
                std::future::pending::<()>().await;
            };
            let why = select(order, board.run(&clock, &mut sampler)).await;
            assert!(matches!(why, Either::Second(Stopped::Restart)));
            result.set(Some(clock.now().0));
        });
        executor.run_until(60_000_000);
        let at = stopped.get().expect("it restarts");
        assert!(at <= 4_500 + 2 * 1_000 + RESTART_DELAY_MS, "{refusals} refusals: at {at}");
        let (taken, stored) = (sensors.read.borrow().len(), watch.stored.get() as usize);
        assert_eq!(stored, if kept { taken } else { 0 }, "{refusals} refusals, {taken} taken");
    }
}
