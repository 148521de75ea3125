//! UpdateAccountSettings: makes or ends the commitment to a minimum throughput, durable when answered.
//!
//! Where AWS is silent: a commitment lasts at least 24 hours; one that is ended before that is
//! `ENABLED_UNTIL_EARLIEST_ALLOWED_END` and ends by itself; setting what is already so changes nothing.

use super::Outcome;
use super::account::Account;
use crate::api::{Call, Fields, Reply, model};
use crate::engine::Engine;
use serde_json::Value;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::UPDATE_ACCOUNT_SETTINGS)?;
    let commitment = fields.map("MinimumThroughputBillingCommitment");
    let status = commitment.and_then(|commitment| commitment.get("Status")).and_then(Value::as_str);
    let now_ms = engine.0.clock.now_ms();
    let _one_at_a_time = engine.0.control.lock().await;
    let (before, version) = Account::load(engine)?;
    let mut account = before;
    match status {
        Some("ENABLED") => account.commit(now_ms),
        _ => account.end(now_ms),
    }
    if account != before {
        account.store(engine, version).await?;
    }
    let mut answer = call.writer();
    account.write(&mut answer, now_ms);
    Ok(Reply::written(answer))
}
