//! The client against real servers, and against small honest ones that check what they are asked and fail as they are told.

#![expect(clippy::unwrap_used, reason = "a test may panic: that is its report")]

mod clocks;
mod credentials;
mod faults;
mod formats;
mod golden;
mod peers;
mod proxies;
mod setup;
mod support;
mod targets;
mod tls;
