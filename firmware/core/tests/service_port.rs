//! A service port beside a network uplink that never comes up: whoever plugs a cable in learns at once why, and gets no data.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]

mod peer;

use headwater_device::mqtt::{Buffers, Dial, run};
use headwater_device::{LinkDown, WithoutData, serve};
use headwater_telemetry::limits::FRAME_BYTES_MAX;
use headwater_telemetry::{Deframer, Down, LogLevel, Up, decode_body, encode_frame};
use peer::{Board, LOGIN, NOON, Peer, Said, Sensor, Uptimes, Watch, Wire, board};
use std::cell::RefCell;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// A network where nobody is who it should be.
struct Strangers;

impl Dial for Strangers {
    type Stream<'s> = Wire<DuplexStream>;

    async fn dial(&mut self) -> Result<Self::Stream<'_>, LinkDown> {
        // A handshake takes its time.
        tokio::time::sleep(Duration::from_secs(2)).await;
        Err(LinkDown::Untrusted)
    }
}

/// Reads what the board says for ever, and tells it the time.
async fn listen(mut wire: DuplexStream, heard: &RefCell<Vec<Up>>) {
    let (mut deframer, mut frame) = (Deframer::new(), [0; FRAME_BYTES_MAX]);
    while let Ok(byte) = wire.read_u8().await {
        let Some(Ok(body)) = deframer.push(byte) else { continue };
        let message = decode_body::<Up>(body).unwrap();
        if let Up::TimeRequest { nonce } = message {
            let time = Down::Time { nonce, utc: NOON };
            wire.write_all(encode_frame(&time, &mut frame).unwrap()).await.unwrap();
        }
        heard.borrow_mut().push(message);
    }
}

/// A gateway that has no place for another subscription, and no ear for anything else.
struct FullGateway;

impl Dial for FullGateway {
    type Stream<'s> = Wire<DuplexStream>;

    async fn dial(&mut self) -> Result<Self::Stream<'_>, LinkDown> {
        let (near, far) = tokio::io::duplex(64);
        tokio::spawn(async move {
            let mut peer = Peer(far);
            while let Some(said) = peer.hear().await {
                match said {
                    Said::Connect(_) => peer.connack().await,
                    Said::Subscribe(..) => peer.say(&[0x90, 4, 0, 1, 0, 0x97]).await,
                    _ => true,
                };
            }
        });
        Ok(Wire::new(near))
    }
}

async fn both_links(board: &Board, mut dial: impl Dial, wire: DuplexStream) {
    let (clock, mut buffers) = (Uptimes::start(), Buffers::new());
    let (mut rx, mut tx) = tokio::io::split(wire);
    let (mut rx, mut tx) = (Wire::new(&mut rx), Wire::new(&mut tx));
    let told =
        |down| board.log(headwater_device::Clock::now(&clock), LogLevel::Warn, &format!("uplink: {down}"));
    let port = WithoutData(board);
    tokio::select! {
        never = run(board, &clock, &mut dial, LOGIN, &mut buffers, told) => match never {},
        down = serve(&port, &clock, &mut rx, &mut tx) => panic!("the port is down: {down}"),
    }
}

#[tokio::test(start_paused = true)]
async fn it_tells_at_once_why_the_network_uplink_does_not_come_up_and_sends_no_data() {
    let (board, heard) = (board(&Watch::default()).await, RefCell::new(Vec::new()));
    let (clock, mut sensor) = (Uptimes::start(), Sensor::default());
    let (near, far) = tokio::io::duplex(64);
    tokio::select! {
        _ = board.run(&clock, &mut sensor) => panic!("the device stopped"),
        () = both_links(&board, Strangers, near) => {}
        () = listen(far, &heard) => panic!("the device hung up"),
        () = tokio::time::sleep(Duration::from_millis(2_500)) => {}
    }
    let heard = heard.into_inner();
    assert!(matches!(&heard[0], Up::Hello(hello) if hello == board.hello()), "{heard:?}");
    let why = format!("uplink: {}", LinkDown::Untrusted);
    assert!(
        heard.iter().any(|message| matches!(message, Up::Log(log) if log.text.as_str() == why)),
        "{heard:?}"
    );
    assert!(!heard.iter().any(|message| matches!(message, Up::Batch(_))), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn it_tells_at_once_that_the_gateway_gives_no_commands_and_no_time() {
    let (board, heard) = (board(&Watch::default()).await, RefCell::new(Vec::new()));
    let (near, far) = tokio::io::duplex(64);
    tokio::select! {
        () = both_links(&board, FullGateway, near) => {}
        () = listen(far, &heard) => panic!("the device hung up"),
        () = tokio::time::sleep(Duration::from_millis(500)) => {}
    }
    let heard = heard.into_inner();
    let why = "uplink: subscription refused (0x97): no commands, no time";
    assert!(
        heard.iter().any(|message| matches!(message, Up::Log(log) if log.text.as_str() == why)),
        "{heard:?}"
    );
}
