//! Commands: that they do what they are for once, and what a cut leaves of them.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]

#[expect(dead_code, reason = "what runs longer is in `running`")]
mod board;
#[expect(dead_code, reason = "no wires here")]
mod world;

use board::{Board, Sensors, Watch, chip, command, config, layout, open, period};
use embassy_futures::block_on as now;
use headwater_device::limits::{COMMANDS_KEPT, PERIOD_MS_MAX, PERIOD_MS_MIN};
use headwater_device::testing::SharedFlash;
use headwater_device::{Clock, Device, Outbox, Reach, Sampler, Settings};
use headwater_telemetry::limits::CHANNELS_MAX;
use headwater_telemetry::{
    Channel, ChannelId, Command, CommandOutcome, Config, ConfigOutcome, CredentialsPart, DeviceId, Network,
    Order, Secret, Uplink, Uptime, Value, bounded, heapless,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use world::World;

#[test]
fn a_period_out_of_range_or_of_no_channel_is_refused_and_changes_nothing() {
    let world = Rc::<World>::default();
    let sensors = Sensors::new(&world, &["slow", "quick"]);
    let (chip, watch) = (chip(1), Watch::default());
    let board = open(&chip, &sensors, &watch);
    let bad = [
        period(Some(2), 1_000),
        period(Some(255), 1_000),
        period(None, PERIOD_MS_MIN - 1),
        period(Some(0), PERIOD_MS_MAX + 1),
        Order::Provision(config(PERIOD_MS_MAX + 1)),
        Order::Credentials(CredentialsPart::removal()),
    ];
    for (order, id) in bad.into_iter().zip(1..) {
        assert_eq!(now(board.perform(&command(id, order.clone()))), CommandOutcome::Refused, "{order:?}");
    }
    assert_eq!(now(board.configure(&config(5))), ConfigOutcome::Refused);
    assert_eq!(now(board.config()), Ok(None));
}

#[test]
fn a_command_that_comes_again_is_answered_and_not_carried_out_again() {
    let world = Rc::<World>::default();
    let sensors = Sensors::new(&world, &["slow", "quick"]);
    let (chip, watch) = (chip(1), Watch::default());
    let board = open(&chip, &sensors, &watch);
    assert_eq!(now(board.perform(&command(7, Order::Identify))), CommandOutcome::Done);
    assert_eq!(now(board.perform(&command(8, period(Some(9), 50)))), CommandOutcome::Refused);
    assert_eq!(now(board.perform(&command(9, Order::Provision(config(70))))), CommandOutcome::Done);
    let again = |board: &Board| {
        assert_eq!(now(board.perform(&command(7, Order::Identify))), CommandOutcome::Done);
        assert_eq!(now(board.perform(&command(8, period(Some(0), 50)))), CommandOutcome::Refused);
        assert_eq!(now(board.perform(&command(9, Order::Provision(config(80))))), CommandOutcome::Done);
        assert_eq!(now(board.config()).unwrap().unwrap().period_ms, 70);
        assert_eq!(watch.blinks.get(), 1);
    };
    let written = chip.borrow().written();
    again(&board);
    assert_eq!(chip.borrow().written(), written, "and costs no flash");
    // Over starts that turn the pages of the area, too.
    for _ in 0..300 {
        again(&open(&chip, &sensors, &watch));
    }
    assert!(chip.borrow().erases()[0] > 2);
    // More commands than are remembered: the oldest is carried out again, the others are not.
    let board = open(&chip, &sensors, &watch);
    for id in 100..100 + u32::try_from(COMMANDS_KEPT).unwrap() {
        now(board.perform(&command(id, Order::Identify)));
    }
    let blinks = watch.blinks.get();
    let board = open(&chip, &sensors, &watch);
    now(board.perform(&command(100, Order::Identify)));
    assert_eq!(watch.blinks.get(), blinks);
    now(board.perform(&command(7, Order::Identify)));
    assert_eq!(watch.blinks.get(), blinks + 1);
}

#[test]
fn a_cut_at_any_byte_of_a_command_leaves_it_done_and_remembered_or_neither() {
    let world = Rc::<World>::default();
    let sensors = Sensors::new(&world, &["slow", "quick"]);
    let (mut done, mut undone) = (0, 0);
    for budget in 0..1_500 {
        let (chip, watch) = (chip(budget), Watch::default());
        let board = open(&chip, &sensors, &watch);
        // So near the end of the page that many cuts fall into a turn.
        for id in 0..u32::try_from(budget % 12).unwrap() {
            now(board.perform(&command(1_000 + id, period(Some(1), 5_000))));
        }
        assert_eq!(now(board.perform(&command(1, period(None, 1_000)))), CommandOutcome::Done);
        assert_eq!(now(board.perform(&command(2, Order::Provision(config(2_000))))), CommandOutcome::Done);
        let cut = budget * 7 % 400;
        chip.borrow_mut().cut_after(cut);
        let (third, fourth) = (command(3, period(None, 3_000)), command(4, Order::Provision(config(4_000))));
        let answers = [now(board.perform(&third)), now(board.perform(&fourth))];
        drop(board);
        chip.borrow_mut().power_up();
        let board = open(&chip, &sensors, &watch);
        assert!(now(board.config()).unwrap().is_some());
        for (answer, command) in answers.into_iter().zip([third, fourth]) {
            // Under the same number, what would be seen if it were carried out: whether it was remembered.
            let other = match command.order {
                Order::Period { .. } => period(None, 77),
                _ => Order::Provision(config(77)),
            };
            let before = ordered(&board, &sensors);
            let probe = Command { id: command.id, order: other };
            assert_eq!(now(board.perform(&probe)), CommandOutcome::Done);
            let after = ordered(&board, &sensors);
            let remembered = before == after;
            assert!(remembered || answer != CommandOutcome::Done, "answered as done, and forgotten");
            let effect = match command.order {
                Order::Period { .. } => before.0 == 3_000,
                _ => before.1 == 4_000,
            };
            assert_eq!(effect, remembered, "cut after {cut}: {command:?}");
            done += u32::from(effect);
            undone += u32::from(!effect);
        }
        for (id, order) in [(1, period(None, 99)), (2, Order::Provision(config(99)))] {
            let before = ordered(&board, &sensors);
            now(board.perform(&command(id, order)));
            assert_eq!(ordered(&board, &sensors), before, "an older one is remembered all the same");
        }
    }
    assert!(done > 200 && undone > 200, "{done} done, {undone} not: the cuts no longer fall in between");
}

/// The ordered period, seen by running for a moment, and the configured one.
fn ordered(board: &Board, sensors: &Sensors) -> (u32, u32) {
    /// The first wait of the sampling loop ends at the first turn after the start, or at the sign of life; what is
    /// asked for tells the period.
    struct Asked(Cell<u64>, Cell<u64>);
    impl Clock for Asked {
        fn now(&self) -> Uptime {
            Uptime(self.0.get())
        }
        async fn sleep_until(&self, at: Uptime) {
            if at.0 > self.1.get() {
                return std::future::pending().await;
            }
            self.0.set(at.0.max(self.0.get()));
        }
    }
    let read = Rc::new(RefCell::new(Vec::new()));
    let clock = Asked(Cell::new(0), Cell::new(6_000));
    struct Times<'a>(&'a Sensors, &'a Asked, Rc<RefCell<Vec<u64>>>);
    impl Sampler for Times<'_> {
        fn channels(&self) -> heapless::Vec<Channel, CHANNELS_MAX> {
            self.0.channels()
        }
        fn period_ms(&self, channel: ChannelId) -> u32 {
            self.0.period_ms(channel)
        }
        async fn sample(&mut self, channel: ChannelId) -> Option<Value> {
            if channel.0 == 1 {
                self.2.borrow_mut().push(self.1.now().0);
            }
            None
        }
    }
    let mut sampler = Times(sensors, &clock, read.clone());
    {
        let mut running = std::pin::pin!(board.run(&clock, &mut sampler));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for _ in 0..200 {
            assert!(running.as_mut().poll(&mut context).is_pending());
        }
    }
    let read = read.borrow();
    let period = u32::try_from(read[1] - read[0]).unwrap();
    (period, now(board.config()).unwrap().map_or(0, |config| config.period_ms))
}

#[test]
fn a_configuration_for_another_kind_of_board_is_refused_and_one_that_is_there_already_is_told() {
    let network = Network { ssid: bounded("farm").unwrap(), passphrase: Secret::default() };
    let (host, user) = (bounded("gateway.farm").unwrap(), bounded("").unwrap());
    let uplink = Uplink { host, port: 1883, user, password: Secret::default() };
    let serial = config(0);
    let wired = Config { uplink: Some(uplink), ..serial.clone() };
    let radio = Config { network: Some(network), ..wired.clone() };
    let world = Rc::<World>::default();
    let sensors = Sensors::new(&world, &["slow", "quick"]);
    for (reach, takes) in [
        (Reach::Stream, [true, false, false]),
        (Reach::Network, [true, true, false]),
        (Reach::Radio, [true, true, true]),
    ] {
        let chip = chip(1);
        let start = |reach| {
            let settings = Settings { reach, ..Settings::new(DeviceId::parse("board").unwrap(), "test") };
            now(Device::open(SharedFlash(chip.clone()), layout(), settings, &sensors, ())).unwrap()
        };
        let board = start(reach);
        for (config, takes) in [&serial, &wired, &radio].into_iter().zip(takes) {
            let expected = if takes { ConfigOutcome::Stored } else { ConfigOutcome::Refused };
            assert_eq!(now(board.configure(config)), expected, "{reach:?}: {config:?}");
        }
        // Other firmware on the same chip: name and periods hold.
        assert_eq!(now(start(Reach::Radio).configure(&radio)), ConfigOutcome::Stored);
        let board = start(reach);
        assert_eq!(board.hello().device, radio.device);
        let told = board.poll_log().is_some_and(|log| log.text.contains("lacks"));
        assert_eq!(told, reach != Reach::Radio);
    }
}
