//! QoS 1 publishers over raw sockets, cheap enough that the broker is what is measured.

use std::io::{Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use system_tests::flood::{mqtt_connect, mqtt_publish};

/// The canonical workload: 50 clients, 20 publishes of 200 bytes in flight each.
pub const CLIENTS: usize = 50;
/// Publishes in flight per client.
pub const WINDOW: usize = 20;
/// Payload of a publish.
pub const PAYLOAD_BYTES: usize = 200;

/// What the publishers did together.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Publishes whose PUBACK was read.
    pub acked: u64,
    /// From the first publish to the last PUBACK.
    pub elapsed: Duration,
}

/// Publishes for `duration`, then waits for what is in flight.
///
/// # Panics
/// When the broker refuses or closes a connection: then there is nothing to measure.
#[must_use]
pub fn run(address: SocketAddr, duration: Duration) -> Load {
    let barrier = Barrier::new(CLIENTS + 1);
    let (acked, elapsed) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let socket =
                        mqtt_connect(address, &format!("bench-{client}")).expect("the broker accepts");
                    barrier.wait();
                    publish(socket, client, duration).expect("the broker keeps the connection")
                })
            })
            .collect();
        barrier.wait();
        let started = Instant::now();
        let acked: u64 =
            clients.into_iter().map(|client| client.join().expect("a client does not panic")).sum();
        (acked, started.elapsed())
    });
    Load { acked, elapsed }
}

fn publish(mut socket: TcpStream, client: usize, duration: Duration) -> Result<u64> {
    let topic = format!("bench/{client}");
    let payload = [b'x'; PAYLOAD_BYTES];
    let (started, mut out, mut answers) = (Instant::now(), Vec::new(), [0; 4096]);
    let (mut sent, mut bytes) = (0_u64, 0_u64);
    loop {
        let acked = bytes / 4;
        let going = started.elapsed() < duration;
        if !going && acked == sent {
            return Ok(acked);
        }
        out.clear();
        while going && sent - acked < WINDOW as u64 {
            let packet_id = (sent % 65_535) as u16 + 1;
            mqtt_publish(&mut out, &topic, packet_id, &payload);
            sent += 1;
        }
        socket.write_all(&out)?;
        // Every answer is a PUBACK of four bytes, so counting bytes counts answers.
        let count = socket.read(&mut answers)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes += count as u64;
    }
}
