//! DeleteQueue: a queue and its delivery state.

use super::{Outcome, absent};
use crate::api::Call;
use crate::engine::Engine;

pub(super) async fn run(_engine: &Engine, _call: Call) -> Outcome {
    Err(absent("DeleteQueue"))
}
