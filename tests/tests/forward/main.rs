//! The real gateway on its way to real targets: a second Headwater, and servers that other people wrote. Devices and programs go on
//! sending while the gateway is killed, the link is cut, slow or silent and the target breaks calls; then boto3 reads the target.
//!
//! Claims: nothing that the gateway has is missing at the target; by `docs/examples/once.py` every device is there once, its boots and
//! numbers only rise; the ledger adds up to the record in `/health`, `/metrics` and the exit line; each target is spoken to in what it
//! understands best; a target that cannot be reached is named with its trouble. Behind a link that is really cut, connections that hang are
//! noticed within the sink's timeout. What was packed is taken apart by AWS's library; `order = "newest"` sends fresh records first.
//!
//! In one executable, so that waiting is done at the same time. `HEADWATER_SEED` picks other faults, `HEADWATER_FORWARD_SECONDS` makes
//! the time with faults longer.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic in a test is its report, and so is what it prints"
)]

mod check;
mod dropped;
mod headwater;
mod kills;
mod late;
mod load;
mod network;
mod newest;
mod packed;
mod peers;
mod trouble;
mod world;
