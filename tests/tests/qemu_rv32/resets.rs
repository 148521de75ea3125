//! Whatever ends the program starts it anew, and the next start says why. The test is the peer on the serial line.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use headwater_telemetry::{
    Command, CommandId, CommandOutcome, CommandResult, Deframer, Down, Hello, Order, ResetReason, Up,
    decode_body, encode_frame, limits::FRAME_BYTES_MAX,
};

use crate::machine::{self, Machine};
use crate::{config, debugger};

/// The watchdog takes 8 seconds; the rest is for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The host's end of the line.
struct Line {
    stream: TcpStream,
    deframer: Deframer,
}

impl Line {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().expect("the machine connects");
        stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a time that is not zero");
        Self { stream, deframer: Deframer::new() }
    }

    fn send(&mut self, message: &Down) {
        let mut buf = [0; FRAME_BYTES_MAX];
        let frame = encode_frame(message, &mut buf).expect("every message fits a frame");
        self.stream.write_all(frame).expect("the machine listens");
    }

    /// The first message that `wanted` makes something of.
    fn wait<T>(&mut self, what: &str, mut wanted: impl FnMut(Up) -> Option<T>) -> T {
        let started = Instant::now();
        let mut bytes = [0; 256];
        while started.elapsed() < PATIENCE {
            // Nothing for a while is no error.
            let len = self.stream.read(&mut bytes).unwrap_or(0);
            for byte in &bytes[..len] {
                let Some(Ok(body)) = self.deframer.push(*byte) else { continue };
                if let Some(found) = decode_body::<Up>(body).ok().and_then(&mut wanted) {
                    return found;
                }
            }
        }
        panic!("no {what} in {PATIENCE:?}");
    }

    /// The greeting of another boot than `known`.
    fn hello(&mut self, known: Option<&Hello>) -> Hello {
        self.wait("greeting", |message| match message {
            Up::Hello(hello) if known.is_none_or(|known| known.boot != hello.boot) => Some(hello),
            _ => None,
        })
    }
}

#[test]
fn a_start_says_whether_power_an_order_or_the_watchdog_caused_it() {
    let Some(emulator) = machine::emulator() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let mut device = Machine::provisioned(&emulator, directory.path(), address, &config());

    device.start();
    let mut line = Line::accept(&listener);
    let first = line.hello(None);
    assert_eq!((first.device.as_str(), first.reset), ("shed-5", ResetReason::Power));

    let id = CommandId(7);
    line.send(&Down::Command(Command { id, order: Order::Reboot }));
    let result = line.wait("result", |message| match message {
        Up::CommandResult(result) => Some(result),
        _ => None,
    });
    assert_eq!(result, CommandResult { id, outcome: CommandOutcome::Done });
    let second = line.hello(Some(&first));
    assert_eq!((second.boot.0, second.reset), (first.boot.0 + 1, ResetReason::Requested));

    debugger::hang(device.debugger);
    let third = line.hello(Some(&second));
    assert_eq!((third.boot.0, third.reset), (second.boot.0 + 1, ResetReason::Watchdog));

    device.kill();
    device.start();
    let fourth = Line::accept(&listener).hello(None);
    assert_eq!((fourth.boot.0, fourth.reset), (third.boot.0 + 1, ResetReason::Power));
}
