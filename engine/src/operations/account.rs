//! The settings of the account: its commitment to a minimum throughput.
//!
//! In: what is stored under `s/account`, JSON, members only ever added. Out: the same as the API words it. Invariant: what is
//! shown depends on what is stored and the time, so an ended commitment needs no timer. Nothing is billed here: the
//! commitment opens what AWS opens with it (warm throughput), with the same states.

use crate::api::Writer;
use crate::control::StreamError;
use crate::engine::Engine;
use crate::limits;
use serde::{Deserialize, Serialize};

/// Where the settings are kept.
const KEY: &[u8] = b"s/account";

/// What is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Account {
    /// When the newest commitment was made, UTC ms since 1970.
    started_ms: Option<u64>,
    /// When it ends or ended.
    ended_ms: Option<u64>,
}

impl Account {
    /// The settings as they are, with their version.
    ///
    /// # Errors
    /// [`StreamError::Damaged`].
    pub(super) fn load(engine: &Engine) -> Result<(Account, u64), StreamError> {
        let Some(stored) = engine.0.meta.get(KEY) else { return Ok((Account::default(), 0)) };
        let account = serde_json::from_slice(&stored.value).map_err(|_| StreamError::Damaged("s/account"))?;
        Ok((account, stored.version))
    }

    /// Makes them durable.
    ///
    /// # Errors
    /// What the metadata store says.
    pub(super) async fn store(self, engine: &Engine, version: u64) -> Result<(), StreamError> {
        let value = serde_json::to_vec(&self).expect("two numbers are always written");
        engine.0.meta.put(KEY, &value, version).await?;
        Ok(())
    }

    /// Whether there is a commitment.
    pub(super) fn is_committed(self, now_ms: u64) -> bool {
        self.started_ms.is_some() && self.ended_ms.is_none_or(|ended_ms| now_ms < ended_ms)
    }

    /// Makes the commitment, or takes back its end.
    pub(super) fn commit(&mut self, now_ms: u64) {
        if !self.is_committed(now_ms) {
            self.started_ms = Some(now_ms);
        }
        self.ended_ms = None;
    }

    /// Ends the commitment as soon as may be.
    pub(super) fn end(&mut self, now_ms: u64) {
        if self.is_committed(now_ms) && self.ended_ms.is_none() {
            self.ended_ms = self.earliest_end_ms().map(|earliest_ms| earliest_ms.max(now_ms));
        }
    }

    fn earliest_end_ms(self) -> Option<u64> {
        self.started_ms.map(|started_ms| started_ms.saturating_add(limits::COMMITMENT_MS_MIN))
    }

    fn status(self, now_ms: u64) -> &'static str {
        match (self.is_committed(now_ms), self.ended_ms) {
            (false, _) => "DISABLED",
            (true, None) => "ENABLED",
            (true, Some(_)) => "ENABLED_UNTIL_EARLIEST_ALLOWED_END",
        }
    }

    /// Writes the answer that both operations on the account have.
    pub(super) fn write(self, answer: &mut Writer, now_ms: u64) {
        answer.open_object();
        answer.key("MinimumThroughputBillingCommitment").open_object();
        answer.key("Status").text(self.status(now_ms));
        if let Some(started_ms) = self.started_ms {
            answer.key("StartedAt").time(started_ms);
        }
        if let Some(ended_ms) = self.ended_ms.filter(|&ended_ms| ended_ms <= now_ms) {
            answer.key("EndedAt").time(ended_ms);
        }
        if let Some(earliest_ms) = self.earliest_end_ms().filter(|_| self.is_committed(now_ms)) {
            answer.key("EarliestAllowedEndAt").time(earliest_ms);
        }
        answer.close_object();
        answer.close_object();
    }
}

/// Whether the account is committed to a minimum throughput.
///
/// # Errors
/// [`StreamError::Damaged`].
pub(super) fn is_committed(engine: &Engine) -> Result<bool, StreamError> {
    Ok(Account::load(engine)?.0.is_committed(engine.0.clock.now_ms()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_lasts_at_least_its_least_time() {
        const START: u64 = 1_000;
        const END: u64 = START + limits::COMMITMENT_MS_MIN;
        let mut account = Account::default();
        assert_eq!(account.status(START), "DISABLED");
        account.end(START);
        assert_eq!(account, Account::default());
        account.commit(START);
        account.commit(START + 5);
        assert_eq!((account.started_ms, account.status(START)), (Some(START), "ENABLED"));
        account.end(START + 10);
        assert_eq!(account.status(END - 1), "ENABLED_UNTIL_EARLIEST_ALLOWED_END");
        assert_eq!(account.status(END), "DISABLED");
        // Ended twice is ended as before; taken back it goes on from where it began.
        account.end(START + 20);
        assert_eq!(account.ended_ms, Some(END));
        account.commit(START + 30);
        assert_eq!((account.started_ms, account.status(END + 9)), (Some(START), "ENABLED"));
        account.end(END + 9);
        assert_eq!((account.ended_ms, account.status(END + 9)), (Some(END + 9), "DISABLED"));
        account.commit(END + 50);
        assert_eq!(account.started_ms, Some(END + 50));
    }
}
