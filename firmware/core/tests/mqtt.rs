//! The uplink over MQTT 5 as a gateway sees it: bytes of the standard on one side, the device on the other.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]

mod peer;

use headwater_device::mqtt::limits::TIME_WAIT_MS;
use headwater_device::mqtt::{Buffers, run, serve};
use headwater_device::{Clock as _, LinkDown, Stopped};
use headwater_telemetry::{
    Batch, Command, CommandId, CommandOutcome, CommandResult, Down, Entry, LogLevel, Order, Up, decode_body,
};
use peer::{Board, Dialer, LOGIN, NOON, Said, Sensor, Tiny, Uptimes, Watch, Wire, answer, board};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Far more virtual time than anything here takes.
const LONG: Duration = Duration::from_secs(3_600);

/// Runs a device and a gateway until `done`, which is asked ten times a second. Gives back why connections ended, and when.
async fn together(
    board: &Board,
    tiny: &RefCell<Tiny>,
    done: impl Fn(&Tiny) -> bool,
) -> Vec<(LinkDown, Instant)> {
    let clock = Uptimes::start();
    let (accepted, mut streams) = mpsc::unbounded_channel();
    let (mut dial, mut buffers, mut downs) = (Dialer(accepted), Buffers::new(), Vec::new());
    let mut sensor = Sensor::default();
    let gateway = async {
        while let Some(stream) = streams.recv().await {
            answer(tiny, stream).await;
        }
    };
    let over = async {
        while !done(&tiny.borrow()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let told = |down| downs.push((down, Instant::now()));
    tokio::select! {
        _ = board.run(&clock, &mut sensor) => panic!("the device stopped"),
        never = run(board, &clock, &mut dial, LOGIN, &mut buffers, told) => match never {},
        () = gateway => {}
        () = over => {}
        () = tokio::time::sleep(LONG) => panic!("not done in {LONG:?}"),
    }
    downs
}

fn batch(body: &[u8]) -> Batch {
    match decode_body(body).unwrap() {
        Up::Batch(batch) => batch,
        other => panic!("no batch: {other:?}"),
    }
}

/// Checks that nothing in `stored` is missing or was changed on the way. Returns how many readings there are, and how
/// many batches came again.
fn line(stored: &[Vec<u8>]) -> (u32, usize) {
    let mut known = BTreeMap::new();
    let mut again = 0;
    for body in stored {
        let batch = batch(body);
        for (seq, entry) in batch.sequenced() {
            let Entry::Reading(reading) = entry else { panic!("nothing was lost: {entry:?}") };
            let identity = (reading.channel, batch.uptime(entry), reading.value.clone());
            if let Some(before) = known.insert(seq.0, identity.clone()) {
                assert_eq!(before, identity, "the same place, the same reading");
                again += 1;
            }
        }
    }
    let count = u32::try_from(known.len()).unwrap();
    assert!(known.keys().copied().eq(0..count), "no holes: {:?}", known.keys());
    (count, again / 2)
}

fn starting(count: usize) -> impl Fn(&Tiny) -> bool {
    move |tiny| tiny.stored.len() >= count
}

#[tokio::test(start_paused = true)]
async fn a_connection_opens_as_the_standard_says_and_brings_birth_time_and_batches() {
    let watch = Watch::default();
    let (board, tiny) = (board(&watch).await, RefCell::new(Tiny::with_time()));
    let downs = together(&board, &tiny, starting(3)).await;
    assert_eq!(downs, []);
    let tiny = tiny.into_inner();
    let Said::Connect(connect) = &tiny.said[0] else { panic!("{:?}", tiny.said[0]) };
    assert_eq!(connect[..10], *b"\0\x04MQTT\x05\xc2\0\x3c");
    assert!(connect.ends_with(b"\0\x06pump-7\0\x01u\0\x01p"), "{connect:?}");
    assert_eq!(tiny.said[1], Said::Subscribe(1, "headwater/pump-7/command".into()));
    assert!(matches!(&tiny.said[2], Said::Publish(kind, None, false, _) if kind == "time"));
    assert!(matches!(&tiny.said[3], Said::Publish(kind, Some(2), true, _) if kind == "birth"));
    let Some(Up::Hello(hello)) = tiny.said[3].up() else { panic!("{:?}", tiny.said[3]) };
    assert_eq!(hello, *board.hello());
    assert_eq!(line(&tiny.stored), (6, 0));
    let dated = batch(&tiny.stored[0]);
    let entry = dated.entries.first().unwrap();
    // The first reading was taken when the device started, which was noon.
    assert!(dated.utc_of(entry).unwrap().at.0.abs_diff(NOON.at.0) < 1_000, "{dated:?}");
}

#[tokio::test(start_paused = true)]
async fn a_puback_delivers_only_when_it_says_that_the_batch_was_stored() {
    for reason in [0x10, 0x80, 0x83, 0x87, 0x97, 0x99] {
        let watch = Watch::default();
        let (board, tiny) = (board(&watch).await, RefCell::new(Tiny::with_time()));
        tiny.borrow_mut().reasons = [Some(reason), Some(reason)].into();
        let downs = together(&board, &tiny, |tiny| !tiny.stored.is_empty()).await;
        let refused: Vec<_> = downs.iter().map(|&(down, _)| down).collect();
        assert_eq!(refused, [LinkDown::Refused(reason); 2], "0x{reason:02x}");
        let tiny = tiny.into_inner();
        let sent: Vec<_> = tiny
            .said
            .iter()
            .filter_map(|said| match said {
                Said::Publish(kind, _, _, body) if kind == "batch" => Some(batch(body)),
                _ => None,
            })
            .collect();
        assert!(sent.iter().all(|batch| batch.first == sent[0].first && batch.entries == sent[0].entries));
        assert_eq!((sent.len(), watch.delivered.borrow().len()), (3, 1), "stored when it was stored");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_puback_is_lost_comes_again_as_it_was() {
    let watch = Watch::default();
    let (board, tiny) = (board(&watch).await, RefCell::new(Tiny::with_time()));
    tiny.borrow_mut().reasons = [Some(0), None, None, Some(0)].into();
    let downs = together(&board, &tiny, starting(6)).await;
    assert_eq!(downs.iter().map(|&(down, _)| down).collect::<Vec<_>>(), [LinkDown::Closed; 2]);
    let stored = &tiny.borrow().stored;
    assert_eq!(line(stored), (8, 2));
    assert_eq!(stored[1], stored[2], "byte for byte");
}

/// Serves one connection that breaks after so many bytes read and written.
async fn one(board: &Board, clock: &Uptimes, tiny: &RefCell<Tiny>, read: usize, written: usize) -> LinkDown {
    let (near, far) = tokio::io::duplex(64);
    let mut wire = Wire::new(near);
    (wire.read_left, wire.write_left) = (read, written);
    let mut buffers = Buffers::new();
    let device = async {
        let down = serve(board, clock, &mut wire, LOGIN, &mut buffers).await;
        drop(wire);
        down
    };
    let (down, ()) = tokio::join!(device, answer(tiny, far));
    down
}

#[tokio::test(start_paused = true)]
async fn connections_that_break_at_any_byte_lose_nothing_and_change_nothing() {
    let watch = Watch::default();
    let (board, tiny) = (board(&watch).await, RefCell::new(Tiny::with_time()));
    let clock = Uptimes::start();
    let breaks = async {
        // From CONNECT to beyond the second batch, in steps of one byte, each way.
        for bytes in 0..100 {
            assert_eq!(one(&board, &clock, &tiny, bytes, usize::MAX).await, LinkDown::Closed);
        }
        for bytes in 0..400 {
            assert_eq!(one(&board, &clock, &tiny, usize::MAX, bytes).await, LinkDown::Closed);
        }
    };
    let mut sensor = Sensor::default();
    tokio::select! {
        _ = board.run(&clock, &mut sensor) => panic!("the device stopped"),
        () = breaks => {}
    }
    let (readings, again) = line(&tiny.borrow().stored);
    assert!(readings > 100 && again > 10, "{readings} readings, {again} batches again");
    let through = watch.delivered.borrow().iter().map(|item| item.through.0).max().unwrap();
    assert!(through < readings, "what counts as delivered is stored");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_comes_on_two_connections_is_done_once_and_answered_twice() {
    let watch = Watch::default();
    let (board, tiny) = (board(&watch).await, RefCell::new(Tiny::with_time()));
    let command = Down::Command(Command { id: CommandId(9), order: Order::Identify });
    tiny.borrow_mut().downs = [(command.clone(), Some(77)), (command, Some(78))].into();
    tiny.borrow_mut().reasons = [None].into();
    together(&board, &tiny, |tiny| tiny.results.len() > 1).await;
    let tiny = tiny.into_inner();
    let done = Up::CommandResult(CommandResult { id: CommandId(9), outcome: CommandOutcome::Done });
    assert_eq!(tiny.results, [done.clone(), done]);
    assert_eq!(watch.blinks.get(), 1);
    let acks: Vec<_> = tiny.said.iter().filter(|said| matches!(said, Said::PubAck(_))).collect();
    assert_eq!(acks, [&Said::PubAck(77), &Said::PubAck(78)]);
}

#[tokio::test(start_paused = true)]
async fn the_result_of_a_reboot_leaves_before_the_device_does() {
    let watch = Watch::default();
    let (board, tiny) = (board(&watch).await, RefCell::new(Tiny::with_time()));
    let reboot = Down::Command(Command { id: CommandId(5), order: Order::Reboot });
    tiny.borrow_mut().downs = [(reboot, None)].into();
    let (clock, mut sensor, mut buffers) = (Uptimes::start(), Sensor::default(), Buffers::new());
    let (near, far) = tokio::io::duplex(64);
    let mut wire = Wire::new(near);
    tokio::select! {
        stopped = board.run(&clock, &mut sensor) => assert_eq!(stopped, Stopped::Restart),
        down = serve(&board, &clock, &mut wire, LOGIN, &mut buffers) => panic!("{down}"),
        () = answer(&tiny, far) => {}
    }
    let done = Up::CommandResult(CommandResult { id: CommandId(5), outcome: CommandOutcome::Done });
    assert_eq!(tiny.borrow().results, [done]);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_said_on_a_quiet_link_is_sent_at_once() {
    let (board, tiny) = (board(&Watch::default()).await, RefCell::new(Tiny::with_time()));
    let (clock, mut buffers) = (Uptimes::start(), Buffers::new());
    let (near, far) = tokio::io::duplex(64);
    let mut wire = Wire::new(near);
    let told = |tiny: &Tiny| tiny.said.iter().any(|said| matches!(said.up(), Some(Up::Log(_))));
    // Nothing is sampled: no batch gives the link something to do.
    let quiet = async {
        tokio::time::sleep(Duration::from_secs(47)).await;
        assert!(!told(&tiny.borrow()));
        board.log(clock.now(), LogLevel::Warn, "the door is open");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(told(&tiny.borrow()), "it waits for something else to happen");
    };
    tokio::select! {
        down = serve(&board, &clock, &mut wire, LOGIN, &mut buffers) => panic!("{down}"),
        () = answer(&tiny, far) => panic!("the device hung up"),
        () = quiet => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_without_the_time_gets_batches_after_three_seconds_without_dates() {
    let watch = Watch::default();
    let (board, tiny) = (board(&watch).await, RefCell::new(Tiny::default()));
    let clock = Uptimes::start();
    let mut sensor = Sensor::default();
    // Time enough for batches to wait before there is a connection.
    tokio::select! {
        _ = board.run(&clock, &mut sensor) => panic!("the device stopped"),
        () = tokio::time::sleep(Duration::from_secs(20)) => {}
    }
    let (start, wait) = (Instant::now(), Duration::from_millis(TIME_WAIT_MS));
    together(&board, &tiny, starting(1)).await;
    assert!((wait..wait + Duration::from_millis(200)).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(batch(&tiny.borrow().stored[0]).utc, None);
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_is_told_and_tried_again_while_data_goes_on() {
    let watch = Watch::default();
    let (board, tiny) = (board(&watch).await, RefCell::new(Tiny::with_time()));
    tiny.borrow_mut().subacks = [0x97, 0x87, 0x97].into();
    let is_dated = |body: &Vec<u8>| batch(body).utc.is_some();
    let downs = together(&board, &tiny, |tiny| tiny.stored.iter().any(is_dated)).await;
    assert_eq!(downs, [], "no connection ends for it");
    let tiny = tiny.into_inner();
    line(&tiny.stored);
    assert!(
        tiny.stored.iter().filter(|body| !is_dated(body)).count() > 5,
        "data goes without the time meanwhile"
    );
    let count = |wanted: fn(&Said) -> bool| tiny.said.iter().filter(|said| wanted(said)).count();
    assert_eq!(count(|said| matches!(said, Said::Subscribe(..))), 4);
    assert_eq!(
        count(|said| matches!(said, Said::Publish(kind, ..) if kind == "time")),
        2,
        "asked where it is heard"
    );
    let logs: Vec<_> = tiny.said.iter().filter_map(Said::up).collect();
    let logs: Vec<_> = logs
        .iter()
        .filter_map(|up| match up {
            Up::Log(log) => Some((log.level, log.text.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(
        logs,
        [
            (LogLevel::Warn, "uplink: subscription refused (0x97): no commands, no time"),
            (LogLevel::Info, "uplink: subscription taken, commands and the time are back"),
        ],
        "once, and not at every try"
    );
}
