//! The uplink over a byte stream (UART, USB, a socket): frames, acknowledged one by one.
//!
//! In: an [`Outbox`], a clock, a stream. Out: frames. Invariants: what may be cancelled only reads; what writes flash is
//! awaited to its end. Not here: what is sent when ([`link`](crate::link)), bytes ([`stream`](crate::stream)).

use crate::link::{Event, Link, LinkDown, Transmit};
use crate::stream::{Inbox, send};
use crate::{Clock, Outbox};
use embassy_futures::select::{Either4, select4};
use embedded_io_async::{Read, Write};
use headwater_telemetry::limits::{BODY_BYTES_MAX, FRAME_BYTES_MAX};
use headwater_telemetry::{CommandResult, Down, Up, encode_frame, frame_body};

/// Speaks the link protocol on a stream until it breaks. Connecting again, after a while, is the caller's.
pub async fn serve(
    outbox: &impl Outbox,
    clock: &impl Clock,
    rx: &mut impl Read,
    tx: &mut impl Write,
) -> LinkDown {
    match session(outbox, clock, rx, tx).await {
        Ok(never) => match never {},
        Err(down) => down,
    }
}

async fn session(
    outbox: &impl Outbox,
    clock: &impl Clock,
    rx: &mut impl Read,
    tx: &mut impl Write,
) -> Result<core::convert::Infallible, LinkDown> {
    let mut link = Link::new(clock.now(), outbox.connection());
    let mut inbox = Inbox::new();
    let (mut body, mut len) = ([0u8; BODY_BYTES_MAX], 0);
    // Ends a frame that was broken off on this very wire.
    send(clock, tx, &[0]).await?;
    loop {
        transmit(outbox, clock, tx, &mut link, &body[..len]).await?;
        let (wants, tells) = (link.wants_batch(), link.is_open());
        let from = outbox.undelivered().await;
        let batch =
            async { if wants { outbox.next(from, &mut body).await } else { core::future::pending().await } };
        let log = async { if tells { outbox.log_waits().await } else { core::future::pending().await } };
        match select4(inbox.receive(rx), batch, log, clock.sleep_until(link.poll_timeout())).await {
            Either4::First(message) => handle(outbox, clock, &mut link, message?).await,
            Either4::Second(item) => {
                len = item.len;
                link.handle_batch(item, clock.now());
            }
            // Taken where everything is sent.
            Either4::Third(()) => {}
            Either4::Fourth(()) => link.handle_timeout(clock.now())?,
        }
    }
}

async fn handle(outbox: &impl Outbox, clock: &impl Clock, link: &mut Link, message: Down) {
    match link.handle_message(message) {
        Event::None => {}
        Event::Delivered(item) => outbox.delivered(item).await,
        Event::Time { asked, utc } => outbox.learned_time(asked, clock.now(), utc).await,
        Event::Configure(config) => link.handle_configured(outbox.configure(&config).await),
        Event::Command(command) => {
            let outcome = outbox.perform(&command).await;
            link.handle_performed(CommandResult { id: command.id, outcome });
        }
        Event::Identify => outbox.identify(),
    }
}

async fn transmit(
    outbox: &impl Outbox,
    clock: &impl Clock,
    tx: &mut impl Write,
    link: &mut Link,
    body: &[u8],
) -> Result<(), LinkDown> {
    let mut buf = [0u8; FRAME_BYTES_MAX];
    while let Some(transmit) = link.poll_transmit(clock.now()) {
        let frame = match transmit {
            Transmit::Hello => encode_frame(&Up::Hello(outbox.hello().clone()), &mut buf),
            Transmit::TimeRequest { nonce } => encode_frame(&Up::TimeRequest { nonce }, &mut buf),
            Transmit::Batch => frame_body(body, &mut buf),
            Transmit::ConfigResult(outcome) => encode_frame(&Up::ConfigResult(outcome), &mut buf),
            Transmit::CommandResult(result) => encode_frame(&Up::CommandResult(result), &mut buf),
        };
        send(clock, tx, frame.expect("every message fits a frame, see the limits")).await?;
    }
    while link.is_open()
        && let Some(log) = outbox.poll_log()
    {
        let frame = encode_frame(&Up::Log(log), &mut buf);
        send(clock, tx, frame.expect("every message fits a frame, see the limits")).await?;
    }
    Ok(())
}
