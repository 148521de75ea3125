use super::super::limits::{SUBSCRIBE_RETRY_MS_MAX, SUBSCRIBE_RETRY_MS_MIN};
use super::*;
use crate::Cursor;
use headwater_telemetry::limits::BODY_BYTES_MAX;
use headwater_telemetry::{
    BootId, Command, CommandId, CommandOutcome, CommandResult, Order, Seq, TimeQuality, Timestamp, UtcTime,
    encode_body,
};
use std::vec::Vec;

const TOPIC: &str = "headwater/dev/command";

fn item() -> Item {
    Item { boot: BootId(1), first: Seq(0), through: Seq(3), gap: false, len: 10, after: Cursor::default() }
}

fn sends(session: &mut Session, now: u64) -> Vec<Transmit> {
    std::iter::from_fn(|| session.poll_transmit(Uptime(now))).collect()
}

fn told(session: &mut Session, packet: Packet<'_>, now: u64) -> Result<Event, LinkDown> {
    session.handle_packet(&packet, TOPIC, Uptime(now))
}

fn down(session: &mut Session, message: &Down, packet_id: Option<u16>, now: u64) -> Event {
    let mut body = [0; BODY_BYTES_MAX];
    let payload = encode_body(message, &mut body).unwrap();
    told(session, Packet::Publish { topic: TOPIC.as_bytes(), packet_id, payload }, now).unwrap()
}

fn accepted() -> Packet<'static> {
    Packet::ConnAck { reason: 0, server: Server::default() }
}

/// A session that is open, subscribed, born, and has the time. Packet ids 1 (subscription) and 2 (birth) are used.
fn ready() -> Session {
    let mut session = Session::new(Uptime(0), 40, 7);
    assert_eq!(sends(&mut session, 0), [Transmit::Connect]);
    told(&mut session, accepted(), 10).unwrap();
    let birth = Transmit::Birth(Manner { packet_id: Some(2), retain: true });
    let expected = [Transmit::Subscribe { packet_id: 1 }, Transmit::TimeRequest { nonce: 41 }, birth];
    assert_eq!(sends(&mut session, 10), expected);
    told(&mut session, Packet::SubAck { packet_id: 1, reason: 1 }, 20).unwrap();
    told(&mut session, Packet::PubAck { packet_id: 2, reason: 0 }, 20).unwrap();
    let utc = UtcTime { at: Timestamp(1), quality: TimeQuality::Synced };
    let event = down(&mut session, &Down::Time { nonce: 41, utc }, None, 20);
    assert_eq!(event, Event::Time { asked: Uptime(10), utc });
    assert!(session.wants_data(Uptime(20)));
    session
}

#[test]
fn a_batch_is_delivered_by_nothing_but_a_puback_that_says_stored() {
    for (reason, expected) in [
        (0x00, Ok(Event::Delivered(item()))),
        (0x10, Err(LinkDown::Refused(0x10))),
        (0x83, Err(LinkDown::Refused(0x83))),
        (0x97, Err(LinkDown::Refused(0x97))),
    ] {
        let mut session = ready();
        let manner = session.begin_batch(item(), Uptime(30));
        assert_eq!(manner, Manner { packet_id: Some(3), retain: false });
        assert!(!session.wants_data(Uptime(30)));
        assert_eq!(told(&mut session, Packet::PubAck { packet_id: 2, reason: 0 }, 30), Ok(Event::None));
        assert_eq!(
            told(&mut session, Packet::PubAck { packet_id: 3, reason }, 30),
            expected,
            "0x{reason:02x}"
        );
        assert_eq!(told(&mut session, Packet::PubAck { packet_id: 3, reason: 0 }, 30), Ok(Event::None));
    }
}

#[test]
fn batches_wait_for_the_birth_and_for_the_time_but_not_for_ever() {
    let mut session = Session::new(Uptime(0), 0, 7);
    sends(&mut session, 0);
    assert!(!session.wants_data(Uptime(0)));
    told(&mut session, accepted(), 10).unwrap();
    sends(&mut session, 10);
    told(&mut session, Packet::SubAck { packet_id: 1, reason: 1 }, 20).unwrap();
    assert!(!session.wants_data(Uptime(20)));
    told(&mut session, Packet::PubAck { packet_id: 2, reason: 0x10 }, 20).unwrap();
    assert!(!session.wants_data(Uptime(20)), "the time may still come");
    let due = session.poll_timeout();
    assert_eq!(due, Uptime(10 + TIME_WAIT_MS));
    session.handle_timeout(due).unwrap();
    assert!(session.wants_data(due));
}

#[test]
fn a_refused_subscription_holds_up_nothing_and_is_asked_for_again_later_every_time() {
    let mut session = Session::new(Uptime(0), 0, 7);
    sends(&mut session, 0);
    told(&mut session, accepted(), 10).unwrap();
    sends(&mut session, 10);
    let refusal = |packet_id| Packet::SubAck { packet_id, reason: 0x97 };
    assert_eq!(told(&mut session, refusal(1), 20), Ok(Event::Unheard { reason: 0x97 }));
    told(&mut session, Packet::PubAck { packet_id: 2, reason: 0 }, 20).unwrap();
    assert!(session.wants_data(Uptime(20)), "the time would find nobody, so nothing waits for it");

    let (mut now, mut ids) = (20, 3..);
    for round in 0..12 {
        let bound = (SUBSCRIBE_RETRY_MS_MIN << round).min(SUBSCRIBE_RETRY_MS_MAX);
        let mut pings = Vec::new();
        let (asked, due) = loop {
            let due = session.poll_timeout().0;
            session.handle_timeout(Uptime(due)).unwrap();
            match sends(&mut session, due)[..] {
                [Transmit::Ping] => pings.push(told(&mut session, Packet::PingResp, due).unwrap()),
                [Transmit::Subscribe { packet_id }] => break (packet_id, due),
                ref other => panic!("neither a subscription nor a sign of life: {other:?}"),
            }
        };
        assert_eq!(Some(asked), ids.next());
        assert!((bound / 10..bound).contains(&(due - now)), "{} ms in round {round}", due - now);
        now = due;
        assert_eq!(told(&mut session, refusal(asked), now), Ok(Event::None), "said once");
    }
    let due = loop {
        let due = session.poll_timeout().0;
        if sends(&mut session, due) != [Transmit::Ping] {
            break due;
        }
        told(&mut session, Packet::PingResp, due).unwrap();
    };
    assert_eq!(told(&mut session, Packet::SubAck { packet_id: 15, reason: 1 }, due), Ok(Event::Heard));
    assert_eq!(sends(&mut session, due), [Transmit::TimeRequest { nonce: 2 }]);
}

#[test]
fn a_command_is_acknowledged_after_it_was_done_and_its_result_goes_before_data() {
    let mut session = ready();
    let command = Command { id: CommandId(9), order: Order::Identify };
    let event = down(&mut session, &Down::Command(command.clone()), Some(77), 30);
    assert_eq!(event, Event::Command { command, packet_id: Some(77) });
    let birth = Transmit::Birth(Manner { packet_id: Some(3), retain: true });
    assert_eq!(sends(&mut session, 30), [birth], "nothing is acknowledged yet");
    told(&mut session, Packet::PubAck { packet_id: 3, reason: 0 }, 30).unwrap();
    let answer = Answer::Command(CommandResult { id: CommandId(9), outcome: CommandOutcome::Done });
    session.handle_performed(answer, Some(77));
    assert!(!session.wants_data(Uptime(30)));
    let manner = Manner { packet_id: Some(4), retain: false };
    assert_eq!(
        sends(&mut session, 30),
        [Transmit::PubAck { packet_id: 77 }, Transmit::Answer(manner, answer)]
    );
    told(&mut session, Packet::PubAck { packet_id: 4, reason: 0x10 }, 40).unwrap();
    assert!(session.wants_data(Uptime(40)));
}

#[test]
fn commands_beyond_the_room_for_results_are_left_with_their_sender() {
    let mut session = ready();
    session.begin_batch(item(), Uptime(30));
    let reboot = |id| Down::Command(Command { id: CommandId(id), order: Order::Reboot });
    for id in 0..u32::try_from(RESULTS_MAX).unwrap() {
        assert!(matches!(down(&mut session, &reboot(id), None, 30), Event::Command { .. }));
        let result = CommandResult { id: CommandId(id), outcome: CommandOutcome::Done };
        session.handle_performed(Answer::Command(result), None);
    }
    assert_eq!(down(&mut session, &reboot(99), Some(5), 30), Event::None);
    assert_eq!(sends(&mut session, 30), [], "not acknowledged, as it was not done");
}

#[test]
fn a_silent_server_is_given_up_and_a_quiet_one_is_asked() {
    let mut session = Session::new(Uptime(0), 0, 7);
    sends(&mut session, 0);
    assert_eq!(session.poll_timeout(), Uptime(ANSWER_TIMEOUT_MS));
    assert_eq!(session.handle_timeout(Uptime(ANSWER_TIMEOUT_MS)), Err(LinkDown::Silent));

    let mut session = ready();
    let quiet = session.poll_timeout();
    assert_eq!(quiet, Uptime(10 + 40_000), "two thirds of the keep alive after the last packet");
    session.handle_timeout(quiet).unwrap();
    assert_eq!(sends(&mut session, quiet.0), [Transmit::Ping]);
    told(&mut session, Packet::PingResp, quiet.0 + 5).unwrap();
    let quiet = session.poll_timeout().0;
    assert_eq!(sends(&mut session, quiet), [Transmit::Ping]);
    assert_eq!(session.handle_timeout(Uptime(quiet + ANSWER_TIMEOUT_MS)), Err(LinkDown::Silent));

    let mut session = ready();
    session.begin_batch(item(), Uptime(100));
    assert_eq!(session.handle_timeout(Uptime(99 + ANSWER_TIMEOUT_MS)), Ok(()));
    assert_eq!(session.handle_timeout(Uptime(100 + ANSWER_TIMEOUT_MS)), Err(LinkDown::Unacknowledged));
}

#[test]
fn what_the_server_wants_is_heeded() {
    let mut session = Session::new(Uptime(0), 0, 7);
    sends(&mut session, 0);
    let server = Server { keep_alive_secs: 9, retains: false, ..Server::default() };
    told(&mut session, Packet::ConnAck { reason: 0, server }, 0).unwrap();
    let birth = Transmit::Birth(Manner { packet_id: Some(2), retain: false });
    assert_eq!(sends(&mut session, 0).last(), Some(&birth));
    told(&mut session, Packet::SubAck { packet_id: 1, reason: 0 }, 0).unwrap();
    told(&mut session, Packet::PubAck { packet_id: 2, reason: 0 }, 0).unwrap();
    session.handle_timeout(Uptime(TIME_WAIT_MS)).unwrap();
    assert_eq!(session.poll_timeout(), Uptime(6_000));

    for (packet, expected) in [
        (Packet::ConnAck { reason: 0x86, server: Server::default() }, LinkDown::Refused(0x86)),
        (
            Packet::ConnAck { reason: 0, server: Server { takes_qos_1: false, ..Server::default() } },
            LinkDown::Refused(0x9b),
        ),
        (Packet::PingResp, LinkDown::Closed),
    ] {
        let mut session = Session::new(Uptime(0), 0, 7);
        sends(&mut session, 0);
        assert_eq!(told(&mut session, packet, 0), Err(expected), "{packet:?}");
    }
    assert_eq!(told(&mut ready(), Packet::Disconnect { reason: 0x8e }, 0), Err(LinkDown::Refused(0x8e)));
}

#[test]
fn what_is_not_for_this_device_is_acknowledged_and_left() {
    let mut session = ready();
    let other = Packet::Publish { topic: b"headwater/other/command", packet_id: Some(8), payload: b"" };
    assert_eq!(told(&mut session, other, 30), Ok(Event::None));
    let unknown =
        Packet::Publish { topic: TOPIC.as_bytes(), packet_id: Some(9), payload: b"{\"reboot\":true}" };
    assert_eq!(told(&mut session, unknown, 30), Ok(Event::None));
    let acks = [Transmit::PubAck { packet_id: 9 }, Transmit::PubAck { packet_id: 8 }];
    assert_eq!(sends(&mut session, 30), acks);
    let stale = Down::Time { nonce: 40, utc: UtcTime { at: Timestamp(5), quality: TimeQuality::Synced } };
    assert_eq!(down(&mut session, &stale, None, 30), Event::None);
}
