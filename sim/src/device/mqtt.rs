//! The device's own MQTT 5 connection, for networked devices: the very code of the boards, over TCP of this machine.
//!
//! In: an address. Out: connections, one after the other, with a pause between them. Not here: MQTT, which is the device
//! core's.

use super::life::{Body, Outage};
use super::tcp::{CONNECT_TIMEOUT, Stream};
use headwater_device::LinkDown;
use headwater_device::mqtt::{Buffers, Gateway, serve};
use headwater_device::testing::Rng;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};

/// Sends for ever, through outages.
pub(super) async fn send(body: &Body<'_>, address: SocketAddr, outage: &mut Outage, rng: &mut Rng) {
    let mut buffers = Box::new(Buffers::new());
    loop {
        if let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            // One batch is in flight: waiting to fill a segment only delays it.
            let _ = stream.set_nodelay(true);
            body.ledger.connected();
            let (login, mut stream) = (Gateway::default(), Stream(stream));
            tokio::select! {
                down = serve(body.device, body.clock, &mut stream, login, &mut buffers) => {
                    tracing::debug!(device = %body.device.hello().device, %down, "uplink down");
                    if let LinkDown::Refused(reason) = down {
                        body.ledger.refused(reason);
                    }
                }
                () = outage.begins() => {}
            }
        }
        outage.over().await;
        // Not all at once when a gateway comes back.
        sleep(Duration::from_millis(100 + rng.below(900))).await;
    }
}
