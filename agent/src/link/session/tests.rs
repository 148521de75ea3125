use super::*;
use crate::limits::ASK_AFTER_MS;
use headwater_relay::Seeded;
use headwater_telemetry::{
    BatchBuilder, ChannelId, CommandId, CommandOutcome, LogLevel, Order, ResetReason, Schema, Uptime, Value,
    ValueKind, frame_body,
};
use headwater_telemetry::{Channel, heapless};

const NOW: Now = Now { mono_ms: 0, utc_ms: 1_790_000_000_000, quality: TimeQuality::Synced };

fn session() -> Session {
    Session::new(Policy::default(), Arc::new(Counters::default()))
}

fn frame(up: &Up) -> Vec<u8> {
    let mut buf = [0u8; FRAME_BYTES_MAX];
    encode_frame(up, &mut buf).unwrap().to_vec()
}

fn hello(name: &str) -> Hello {
    let mut channels = heapless::Vec::new();
    channels.push(Channel::new("t", "C", ValueKind::Fixed, -2).unwrap()).unwrap();
    Hello::new(DeviceId::parse(name).unwrap(), BootId(1), "fw", ResetReason::Power, channels)
}

fn batch(boot: u32, first: u32, count: u32) -> Up {
    let mut builder = BatchBuilder::new(BootId(boot), Seq(first), Schema(1), Uptime(10));
    for index in 0..count {
        builder.reading(Uptime(10 + u64::from(index)), ChannelId(0), Value::Fixed(5)).unwrap();
    }
    Up::Batch(builder.finish(None))
}

fn downs(bytes: &[u8]) -> Vec<Down> {
    let mut deframer = Deframer::new();
    let mut downs = Vec::new();
    for &byte in bytes {
        if let Some(body) = deframer.push(byte) {
            downs.push(decode_body(body.unwrap()).unwrap());
        }
    }
    downs
}

#[test]
fn an_ack_waits_for_its_sync_and_says_the_last_of_a_boot() {
    let mut session = session();
    session.handle_staged(5, &[(BootId(1), Seq(9)), (BootId(1), Seq(19))]);
    session.handle_staged(6, &[(BootId(2), Seq(3))]);
    session.handle_synced(4);
    assert!(session.take_transmit().is_empty());
    assert!(session.waits_for_sync());
    session.handle_synced(5);
    assert_eq!(downs(&session.take_transmit()), [Down::Ack { boot: BootId(1), through: Seq(19) }]);
    session.handle_synced(7);
    assert_eq!(downs(&session.take_transmit()), [Down::Ack { boot: BootId(2), through: Seq(3) }]);
    assert!(!session.waits_for_sync());
}

#[test]
fn an_ack_never_reaches_another_device_at_the_same_port() {
    // Both count their boots from 1: the ack of the first would look right to the second.
    let mut session = session();
    session.handle_bytes(&frame(&Up::Hello(hello("first"))), NOW);
    session.handle_bytes(&frame(&batch(1, 0, 10)), NOW);
    assert_eq!(session.take_items().len(), 2);
    session.handle_staged(5, &[(BootId(1), Seq(9))]);
    session.handle_bytes(&frame(&batch(1, 10, 10)), NOW);
    session.handle_bytes(&frame(&Up::Hello(hello("second"))), NOW);
    session.handle_synced(5);
    assert_eq!(downs(&session.take_transmit()), []);
    assert_eq!(session.take_items().len(), 1, "the second's hello alone");
}

#[test]
fn a_device_that_was_not_introduced_is_asked_who_it_is_and_gives_no_items() {
    let mut session = session();
    for _ in 0..3 {
        session.handle_bytes(&frame(&batch(1, 0, 2)), NOW);
    }
    assert!(session.take_items().is_empty());
    assert_eq!(downs(&session.take_transmit()), [Down::Identify], "asked once an interval");
    session.handle_bytes(&frame(&batch(1, 0, 2)), Now { mono_ms: IDENTIFY_EVERY_MS, ..NOW });
    assert_eq!(downs(&session.take_transmit()), [Down::Identify]);
    session.handle_bytes(&frame(&Up::Hello(hello("d"))), NOW);
    session.handle_bytes(&frame(&batch(1, 0, 2)), NOW);
    assert_eq!(session.take_items().len(), 2);
}

#[test]
fn a_silent_device_on_a_line_that_was_open_before_is_asked_who_it_is() {
    let mut session = session();
    session.resync(0);
    assert_eq!((session.take_transmit(), session.poll_timeout()), (vec![0], Some(ASK_AFTER_MS)));
    session.handle_timeout(ASK_AFTER_MS);
    assert_eq!(downs(&session.take_transmit()), [Down::Identify]);
    session.handle_bytes(&frame(&Up::Hello(hello("d"))), NOW);
    assert_eq!(session.poll_timeout(), None, "it has said so");
}

#[test]
fn time_is_told_with_what_it_is_worth() {
    let mut session = session();
    session.handle_bytes(&frame(&Up::TimeRequest { nonce: 7 }), NOW);
    let utc = UtcTime { at: Timestamp(NOW.utc_ms), quality: TimeQuality::Synced };
    assert_eq!(downs(&session.take_transmit()), [Down::Time { nonce: 7, utc }]);
    let unset = CLOCK_SANE_FROM_MS - 1;
    session.handle_bytes(&frame(&Up::TimeRequest { nonce: 8 }), Now { utc_ms: unset, ..NOW });
    let utc = UtcTime { at: Timestamp(unset), quality: TimeQuality::Estimated };
    assert_eq!(downs(&session.take_transmit()), [Down::Time { nonce: 8, utc }], "a clock that was never set");
}

#[test]
fn damage_is_counted_makes_the_link_unclean_and_costs_one_frame() {
    let mut session = session();
    session.handle_bytes(&frame(&Up::Hello(hello("d"))), NOW);
    let mut damaged = frame(&batch(1, 0, 5));
    damaged[4] ^= 0x40;
    session.handle_bytes(&damaged, NOW);
    session.handle_bytes(&frame(&batch(1, 5, 5)), NOW);
    let items = session.take_items();
    assert_eq!(items.len(), 2, "{items:?}");
    assert!(matches!(&items[1], Item::Batch { places, is_clean: false, .. } if places.first == Seq(5)));
    assert_eq!(session.counters.frames_bad.get(), 1);
    session.handle_bytes(&frame(&Up::Hello(hello("d"))), NOW);
    session.handle_bytes(&frame(&batch(1, 5, 5)), NOW);
    assert!(matches!(&session.take_items()[1], Item::Batch { is_clean: true, .. }), "a Hello starts afresh");
}

#[test]
fn whole_frames_of_another_version_are_skipped() {
    let mut session = session();
    session.handle_bytes(&frame(&Up::Hello(hello("d"))), NOW);
    let mut body = vec![99u8];
    let crc = headwater_telemetry_crc(&body);
    body.extend(crc.to_le_bytes());
    let mut buf = [0u8; FRAME_BYTES_MAX];
    session.handle_bytes(frame_body(&body, &mut buf).unwrap(), NOW);
    assert_eq!((session.counters.frames_unknown.get(), session.counters.frames_bad.get()), (1, 0));
    assert_eq!(session.take_items().len(), 1, "the first hello");
    let mut other = hello("d");
    other.wire = WIRE_VERSION + 1;
    session.handle_bytes(&frame(&Up::Hello(other)), NOW);
    session.handle_bytes(&frame(&batch(1, 0, 1)), NOW);
    assert_eq!(session.take_items().len(), 0, "neither the other hello nor what follows it");
    assert_eq!(session.counters.hellos_refused.get(), 1);
}

/// CRC-32/ISCSI, bit by bit.
fn headwater_telemetry_crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn only_allowed_devices_are_heard() {
    let policy = Policy { allow: Arc::new(Allow::listed(["good"]).unwrap()) };
    let mut session = Session::new(policy, Arc::new(Counters::default()));
    for up in [Up::Hello(hello("bad")), batch(1, 0, 1), Up::TimeRequest { nonce: 1 }] {
        session.handle_bytes(&frame(&up), NOW);
    }
    assert!(session.take_items().is_empty() && session.take_transmit().is_empty());
    let refused =
        roster::Peer::Refused { device: DeviceId::parse("bad").unwrap(), reason: "not in devices.allow" };
    assert_eq!(session.take_news(), Some(refused));
    session.handle_bytes(&frame(&Up::Hello(hello("good"))), NOW);
    assert_eq!(session.take_news(), Some(roster::Peer::Known(Box::new(hello("good")))));
    assert_eq!(session.take_news(), None, "once");
    session.handle_bytes(&frame(&batch(1, 0, 1)), NOW);
    assert_eq!(session.take_items().len(), 2);
}

#[test]
fn a_link_with_many_acks_waiting_is_not_read() {
    let mut session = session();
    for place in 0..ACKS_PENDING_MAX {
        assert!(session.wants_bytes());
        session.handle_staged(1, &[(BootId(1), Seq(u32::try_from(place).unwrap()))]);
    }
    assert!(!session.wants_bytes());
    session.handle_synced(1);
    assert!(session.wants_bytes());
}

/// Items and answers depend on the bytes, not on how they are cut, and no input panics.
#[test]
fn the_cut_of_the_stream_makes_no_difference() {
    for seed in 0..300 {
        let mut seeded = Seeded::new(seed);
        let stream = random_stream(&mut seeded);
        let mut whole = session();
        whole.handle_bytes(&stream, NOW);
        let expected = (whole.take_items(), whole.take_transmit());
        let mut cut = session();
        let (mut items, mut transmit, mut rest) = (Vec::new(), Vec::new(), &stream[..]);
        while !rest.is_empty() {
            let length = usize::try_from(seeded.up_to(40)).unwrap().min(rest.len());
            let (piece, tail) = rest.split_at(length);
            cut.handle_bytes(piece, NOW);
            items.extend(cut.take_items());
            transmit.extend(cut.take_transmit());
            rest = tail;
        }
        assert_eq!((items, transmit), expected, "seed {seed}");
        assert_eq!(cut.counters.frames_bad.get(), whole.counters.frames_bad.get(), "seed {seed}");
    }
}

fn random_stream(seeded: &mut Seeded) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut next = 0;
    for _ in 0..40 {
        match seeded.up_to(9) {
            0 => stream.extend(frame(&Up::Hello(hello("d")))),
            1 => stream.extend(frame(&Up::TimeRequest { nonce: 1 })),
            2 => stream.extend((0..seeded.up_to(700)).map(|_| seeded.next_u64().to_le_bytes()[0])),
            3 => stream.push(0),
            4 => {
                let log = Log::new(BootId(1), Uptime(1), LogLevel::Info, "hello");
                stream.extend(frame(&Up::Log(log)));
            }
            _ => {
                let count = 1 + u32::try_from(seeded.up_to(20)).unwrap();
                let mut bytes = frame(&batch(1, next, count));
                next += count;
                if seeded.once_in(4) {
                    let at = usize::try_from(seeded.up_to(bytes.len() as u64 - 1)).unwrap();
                    bytes[at] = bytes[at].wrapping_add(1 + seeded.next_u64().to_le_bytes()[0] % 254);
                }
                stream.extend(bytes);
            }
        }
    }
    stream
}

fn command(id: u32) -> Command {
    Command { id: CommandId(id), order: Order::Reboot }
}

fn result(id: u32) -> Up {
    Up::CommandResult(CommandResult { id: CommandId(id), outcome: CommandOutcome::Done })
}

#[test]
fn the_result_of_a_command_is_passed_on_once() {
    let mut session = session();
    session.handle_bytes(&frame(&Up::Hello(hello("d"))), NOW);
    session.take_items();
    session.handle_command(command(7));
    session.handle_timeout(0);
    assert_eq!(downs(&session.take_transmit()), [Down::Command(command(7))]);
    let at_ms = session.poll_timeout().unwrap();
    session.handle_timeout(at_ms);
    assert_eq!(downs(&session.take_transmit()), [Down::Command(command(7))], "it was lost on the way");
    // A tool asked for another one; the device answers each time it hears of one.
    for up in [result(6), result(7), result(7)] {
        session.handle_bytes(&frame(&up), NOW);
    }
    let items = session.take_items();
    let [Item::Result { device, body }] = &items[..] else { panic!("{items:?}") };
    assert_eq!((device.as_str(), decode_body::<Up>(body)), ("d", Ok(result(7))));
    assert_eq!((session.poll_timeout(), session.counters.frames_ignored.get()), (None, 2));
}

#[test]
fn a_command_never_reaches_another_device_at_the_same_port() {
    let mut session = session();
    session.handle_bytes(&frame(&Up::Hello(hello("first"))), NOW);
    session.handle_command(command(1));
    session.handle_bytes(&frame(&Up::Hello(hello("second"))), NOW);
    session.handle_timeout(0);
    assert_eq!(downs(&session.take_transmit()), []);
}

#[test]
fn the_time_is_told_with_the_quality_the_host_has() {
    for quality in [TimeQuality::Synced, TimeQuality::Estimated] {
        let mut session = session();
        session.handle_bytes(&frame(&Up::TimeRequest { nonce: 5 }), Now { quality, ..NOW });
        let told = UtcTime { at: Timestamp(NOW.utc_ms), quality };
        assert_eq!(downs(&session.take_transmit()), [Down::Time { nonce: 5, utc: told }]);
    }
}
