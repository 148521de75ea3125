//! DescribeAccountSettings: settings of the account.

use super::Outcome;
use super::account::Account;
use crate::api::{Call, Fields, Reply, model};
use crate::engine::Engine;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    Fields::read(&call, model::DESCRIBE_ACCOUNT_SETTINGS)?;
    let (account, _) = Account::load(engine)?;
    let mut answer = call.writer();
    account.write(&mut answer, engine.0.clock.now_ms());
    Ok(Reply::written(answer))
}
