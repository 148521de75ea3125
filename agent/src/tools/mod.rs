//! What a person does with a device on the desk: see it, ask it, give it a name and secrets.
//!
//! In: a byte stream to a device, or none for an image. Out: what it said; settings in its flash. Invariants: nothing here takes data from a
//! device unless it is told to (no batch is acknowledged); a secret is never printed. Not here: the running agent, which holds its ports for
//! itself; the command line.

mod line;
mod provision;
mod secrets;
mod uf2;

pub use line::{Line, TalkError, chance, open_serial};
pub use provision::{Provisioning, image_bytes, provision};
pub use secrets::{Files, SecretError, load};
pub use uf2::uf2;
