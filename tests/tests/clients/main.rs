//! Other people's clients against a gateway, a file a client: what they are driven through is in `tests/clients`, each program
//! with a control that it must refute. In one executable, so that the slow ones (leases, keep-alives) wait at the same time.

mod async_kinesis;
mod aws_cli;
mod lifion;
mod sdk_js;
mod sdk_rust;

use std::time::Duration;

/// The longest a program takes by itself is half a minute; the rest is for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(240);
