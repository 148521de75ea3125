//! What a person does with a device on the desk: see it, ask it, give it a name and secrets.
//!
//! In: a serial port with a device, or none for an image. Out: what it said; settings in its flash. Invariants: nothing here takes data from a
//! device unless it is told to (no batch is acknowledged); a secret is never printed. Not here: the running agent, which holds its ports for
//! itself; the command line.

mod line;
mod port;
mod provision;
mod secrets;
mod uf2;

pub use line::{HELLO_TIMEOUT, Line, TalkError};
pub use port::{open_serial, plugged_in};
pub use provision::{Provisioning, SettingsError, image_bytes, provision};
pub use secrets::{Files, SecretError, load};
pub use uf2::uf2;
