//! The link's state machine with invented time.

use headwater_device::limits::{ACK_TIMEOUT_MS, GREETING_TIMEOUT_MS, SENDS_MAX, TIME_REQUEST_MS};
use headwater_device::link::{Event, Link, Transmit};
use headwater_device::{Cursor, Item, LinkDown};
use headwater_telemetry::{
    BootId, Command, CommandId, CommandOutcome, CommandResult, Config, ConfigOutcome, DeviceId, Down, Order,
    Seq, TimeQuality, Timestamp, Uptime, UtcTime,
};

const UTC: UtcTime = UtcTime { at: Timestamp(1), quality: TimeQuality::Synced };

fn item(boot: u32, first: u32, through: u32) -> Item {
    let (first, through) = (Seq(first), Seq(through));
    Item { boot: BootId(boot), first, through, gap: false, len: 10, after: Cursor::default() }
}

fn transmits(link: &mut Link, now: u64) -> Vec<Transmit> {
    std::iter::from_fn(|| link.poll_transmit(Uptime(now))).collect()
}

/// A link whose peer has answered, at 100.
fn open() -> Link {
    let mut link = Link::new(Uptime(100), 7);
    assert_eq!(transmits(&mut link, 100), [Transmit::Hello, Transmit::TimeRequest { nonce: 8 }]);
    assert!(matches!(link.handle_message(Down::Time { nonce: 8, utc: UTC }), Event::Time { .. }));
    link
}

fn ack(boot: u32, through: u32) -> Down {
    Down::Ack { boot: BootId(boot), through: Seq(through) }
}

#[test]
fn no_data_goes_to_a_peer_that_has_not_answered() {
    let mut link = Link::new(Uptime(100), 7);
    transmits(&mut link, 100);
    assert!(!link.wants_batch());
    assert_eq!(link.handle_message(Down::Time { nonce: 99, utc: UTC }), Event::None, "an old answer");
    assert!(!link.wants_batch());
    let until = 100 + GREETING_TIMEOUT_MS;
    assert_eq!(link.poll_timeout(), Uptime(until));
    assert_eq!(link.handle_timeout(Uptime(until - 1)), Ok(()));
    assert_eq!(link.handle_timeout(Uptime(until)), Err(LinkDown::Silent));
    let asked = Uptime(100);
    assert_eq!(link.handle_message(Down::Time { nonce: 8, utc: UTC }), Event::Time { asked, utc: UTC });
    assert!(link.wants_batch());
}

#[test]
fn only_an_ack_that_covers_the_batch_delivers_it() {
    let mut link = open();
    link.handle_batch(item(3, 10, 19), Uptime(200));
    assert!(!link.wants_batch());
    assert_eq!(transmits(&mut link, 200), [Transmit::Batch]);
    for stray in [ack(2, 4_000), ack(4, 4_000), ack(3, 18)] {
        assert_eq!(link.handle_message(stray), Event::None);
    }
    assert_eq!(link.handle_message(ack(3, 19)), Event::Delivered(item(3, 10, 19)));
    assert_eq!(link.handle_message(ack(3, 19)), Event::None, "a repeated ack");
    link.handle_batch(item(3, 20, 20), Uptime(300));
    assert!(matches!(link.handle_message(ack(3, 500)), Event::Delivered(_)), "acks are cumulative");
}

#[test]
fn a_batch_is_sent_again_and_then_the_link_is_given_up() {
    let mut link = open();
    link.handle_batch(item(3, 0, 9), Uptime(200));
    let mut now = 200;
    for _ in 0..SENDS_MAX {
        assert_eq!(transmits(&mut link, now), [Transmit::Batch]);
        assert_eq!(transmits(&mut link, now), []);
        assert_eq!(link.poll_timeout(), Uptime(now + ACK_TIMEOUT_MS));
        assert_eq!(link.handle_timeout(Uptime(now + ACK_TIMEOUT_MS - 1)), Ok(()));
        assert_eq!(transmits(&mut link, now + ACK_TIMEOUT_MS - 1), []);
        now += ACK_TIMEOUT_MS;
        if link.handle_timeout(Uptime(now)).is_err() {
            break;
        }
    }
    assert_eq!(link.handle_timeout(Uptime(now)), Err(LinkDown::Unacknowledged));
    assert_eq!(now, 200 + u64::from(SENDS_MAX) * ACK_TIMEOUT_MS);
}

#[test]
fn a_standing_link_asks_for_the_time_again() {
    let mut link = open();
    let due = 100 + TIME_REQUEST_MS;
    assert_eq!(link.poll_timeout(), Uptime(due));
    assert_eq!(link.handle_timeout(Uptime(due)), Ok(()));
    assert_eq!(transmits(&mut link, due), [Transmit::TimeRequest { nonce: 9 }]);
    assert_eq!(link.handle_message(Down::Time { nonce: 8, utc: UTC }), Event::None, "the first answer again");
    assert!(matches!(link.handle_message(Down::Time { nonce: 9, utc: UTC }), Event::Time { .. }));
}

#[test]
fn a_configuration_is_answered_and_identify_says_hello() {
    let mut link = open();
    let device = DeviceId::parse("a").unwrap();
    let config = Config { device, network: None, uplink: None, period_ms: 0, batch_age_ms: 0 };
    assert_eq!(link.handle_message(Down::Config(config.clone())), Event::Configure(config));
    link.handle_configured(ConfigOutcome::Stored);
    assert_eq!(link.handle_message(Down::Identify), Event::Identify);
    let expected = [Transmit::Hello, Transmit::ConfigResult(ConfigOutcome::Stored)];
    assert_eq!(transmits(&mut link, 300), expected);
}

#[test]
fn a_command_is_answered_once_also_while_a_batch_is_in_flight() {
    let mut link = open();
    link.handle_batch(item(3, 10, 19), Uptime(200));
    assert_eq!(transmits(&mut link, 200), [Transmit::Batch]);
    let command = |id, order| Command { id: CommandId(id), order };
    for (id, outcome) in [(7, CommandOutcome::Done), (8, CommandOutcome::Refused)] {
        let reboot = command(id, Order::Reboot);
        assert_eq!(link.handle_message(Down::Command(reboot.clone())), Event::Command(reboot));
        assert_eq!(transmits(&mut link, 210), [], "not before it is done");
        let result = CommandResult { id: CommandId(id), outcome };
        link.handle_performed(result);
        assert_eq!(transmits(&mut link, 220), [Transmit::CommandResult(result)]);
        assert_eq!(transmits(&mut link, 230), []);
    }
    // The batch is still waited for, and sent again in its time.
    assert_eq!(link.poll_timeout(), Uptime(200 + ACK_TIMEOUT_MS));
    assert_eq!(link.handle_message(ack(3, 19)), Event::Delivered(item(3, 10, 19)));
    // Identify shows itself: it says hello, then answers.
    let identify = command(9, Order::Identify);
    assert_eq!(link.handle_message(Down::Command(identify.clone())), Event::Command(identify));
    let result = CommandResult { id: CommandId(9), outcome: CommandOutcome::Done };
    link.handle_performed(result);
    assert_eq!(transmits(&mut link, 300), [Transmit::Hello, Transmit::CommandResult(result)]);
}

#[test]
fn a_command_is_taken_before_the_peer_has_told_the_time() {
    // Whoever provisions a device on a bench may not know what time it is.
    let mut link = Link::new(Uptime(100), 7);
    transmits(&mut link, 100);
    let reboot = Command { id: CommandId(1), order: Order::Reboot };
    assert_eq!(link.handle_message(Down::Command(reboot.clone())), Event::Command(reboot));
    let result = CommandResult { id: CommandId(1), outcome: CommandOutcome::Done };
    link.handle_performed(result);
    assert_eq!(transmits(&mut link, 110), [Transmit::CommandResult(result)]);
}
