//! What a gateway and its clients do when everybody comes at once, and when everything that they trust changes under full load.
//!
//! Claims: after a `kill -9` two thousand clients come back no faster than `mqtt.connects_per_second`, all of them and in bounded time, a
//! second restart within seconds included, and nothing that was acknowledged is missing or out of order. While authority and certificates
//! are replaced again and again nothing that was acknowledged is missing, nobody who is connected is disconnected, what does not fit
//! together is refused whole, and who shows an old certificate stays out.
//!
//! Clients are the real ones as far as waiting goes: devices with the very code of the boards, and [`agents`] with the backoff and the
//! delays of `headwater-agent`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic in a test is its report, and so is what it prints"
)]

mod agents;
mod packets;
mod rate;
mod reconnect;
mod rotation;
mod secrets;
