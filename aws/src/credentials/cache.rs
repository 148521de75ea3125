//! When credentials are used, renewed, and given up.
//!
//! In: what a source gave or why it did not, and the time since some start. Out: what to do now. A pure value.
//! Invariant: what is given out ends later than [`limits::EXPIRY_MARGIN`] from now; a source that fails is not asked
//! again before its pause is over. Lengths of life are measured by uptime, so a clock that jumps ends nothing.
//! Not here: asking (provider).

use super::{Credentials, CredentialsError};
use crate::limits;
use crate::timestamp::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// What a source gave, and what time it said it was.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) credentials: Credentials,
    /// The Date of its answer; a source without one is believed to have this machine's clock.
    pub(super) time: Option<Timestamp>,
}

/// What the provider has to do.
#[derive(Debug)]
pub(super) enum Need {
    /// These are good.
    Nothing(Arc<Credentials>),
    /// These are good; it is time to ask for the next.
    Renewal(Arc<Credentials>),
    /// There are none: ask now.
    Credentials,
    /// There are none, and it is too early to ask again.
    Patience(CredentialsError),
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    held: Option<Held>,
    /// Name of the key that was fetched last.
    named: Option<String>,
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Held {
    credentials: Arc<Credentials>,
    /// Uptimes; nothing for what does not end.
    life: Option<(Duration, Duration)>,
}

#[derive(Debug)]
struct Failed {
    error: CredentialsError,
    times: u32,
    until: Duration,
}

impl Cache {
    pub(super) fn poll(&self, uptime: Duration) -> Need {
        let paused = self.failed.as_ref().filter(|failed| uptime < failed.until);
        match &self.held {
            Some(Held { credentials, life: None }) => Need::Nothing(Arc::clone(credentials)),
            Some(Held { credentials, life: Some((renew, end)) }) if uptime < *end => {
                let credentials = Arc::clone(credentials);
                let renews = uptime >= *renew && paused.is_none();
                if renews { Need::Renewal(credentials) } else { Need::Nothing(credentials) }
            }
            _ => paused.map_or(Need::Credentials, |failed| Need::Patience(failed.error.clone())),
        }
    }

    /// Keeps what a source gave; whether that is another key than before. `now` is the time where it gave none.
    pub(super) fn handle_fetched(&mut self, fetched: Fetched, now: Timestamp, uptime: Duration) -> bool {
        let life = fetched.credentials.expires().map(|expires| {
            let life = match fetched.time {
                Some(time) => expires.since(time),
                // Only this machine's clock says that they have ended, and it may be years ahead.
                None if expires <= now => limits::LIFE_UNKNOWN,
                None => expires.since(now),
            };
            let renew =
                life.saturating_sub(limits::REFRESH_AHEAD).max(life * limits::REFRESH_AFTER_PERCENT / 100);
            (uptime + renew, uptime + life.saturating_sub(limits::EXPIRY_MARGIN))
        });
        let name = Some(fetched.credentials.access_key_id().to_owned());
        let is_other = self.named != name;
        self.named = name;
        self.held = Some(Held { credentials: Arc::new(fetched.credentials), life });
        self.failed = None;
        is_other
    }

    pub(super) fn handle_failed(&mut self, error: CredentialsError, uptime: Duration) {
        let times = self.failed.as_ref().map_or(0, |failed| failed.times);
        let pause = limits::REFRESH_PAUSE.saturating_mul(1 << times.min(16)).min(limits::REFRESH_PAUSE_MAX);
        self.failed = Some(Failed { error, times: times + 1, until: uptime + pause });
    }

    /// The target found something wrong with these. Temporary ones stay until they end; lasting ones are asked for again, for a person
    /// may have mended them in their file meanwhile.
    pub(super) fn handle_doubted(&mut self, credentials: &Arc<Credentials>) {
        if credentials.expires().is_none() {
            self.handle_refused(credentials);
        }
    }

    /// The target does not take these any more. Others that came meanwhile stay.
    pub(super) fn handle_refused(&mut self, credentials: &Arc<Credentials>) {
        if self.held.as_ref().is_some_and(|held| Arc::ptr_eq(&held.credentials, credentials)) {
            self.held = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SourceError, SourceErrorKind};
    use super::*;

    const HOUR: u64 = 3_600;

    fn fetched(life: Option<u64>) -> Fetched {
        let asked = Timestamp::from_ms(1_800_000_000_000);
        let expires = life.map(|seconds| asked.after(Duration::from_secs(seconds)));
        Fetched { credentials: Credentials::new("A", "s", None).expiring(expires), time: Some(asked) }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn error() -> CredentialsError {
        SourceError::new("x", SourceErrorKind::Unreachable, "away").into()
    }

    // The machine believes it is 1970: only the source's own clock says how long they live.
    const WALL: Timestamp = Timestamp::EPOCH;

    #[test]
    fn renewed_ahead_of_their_end_and_never_used_after_it() {
        let mut cache = Cache::default();
        assert!(matches!(cache.poll(seconds(5)), Need::Credentials));
        cache.handle_fetched(fetched(Some(HOUR)), WALL, seconds(100));
        assert!(matches!(cache.poll(seconds(100 + 44 * 60)), Need::Nothing(_)));
        assert!(matches!(cache.poll(seconds(100 + 45 * 60)), Need::Renewal(_)));
        assert!(matches!(cache.poll(seconds(100 + HOUR - 31)), Need::Renewal(_)));
        assert!(matches!(cache.poll(seconds(100 + HOUR - 30)), Need::Credentials));
        // Fifteen minutes of life: most of it is used before the next are asked for.
        cache.handle_fetched(fetched(Some(900)), WALL, seconds(0));
        assert!(matches!(cache.poll(seconds(600)), Need::Nothing(_)));
        assert!(matches!(cache.poll(seconds(675)), Need::Renewal(_)));
        cache.handle_fetched(fetched(None), WALL, seconds(0));
        assert!(matches!(cache.poll(seconds(10_000_000)), Need::Nothing(_)));
    }

    #[test]
    fn a_failing_renewal_keeps_the_old_ones_until_they_end_and_pauses_longer_each_time() {
        let mut cache = Cache::default();
        cache.handle_fetched(fetched(Some(HOUR)), WALL, seconds(0));
        let mut at = seconds(2_700);
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            assert!(matches!(cache.poll(at), Need::Renewal(_)));
            cache.handle_failed(error(), at);
            assert!(matches!(cache.poll(at + seconds(pause - 1)), Need::Nothing(_)), "{pause}");
            at += seconds(pause);
        }
        cache.handle_failed(error(), seconds(HOUR));
        assert!(matches!(cache.poll(seconds(HOUR)), Need::Patience(said) if said == error()));
        assert!(matches!(cache.poll(seconds(HOUR + 60)), Need::Credentials));
    }

    #[test]
    fn a_clock_that_is_years_ahead_does_not_end_what_was_just_given() {
        let mut cache = Cache::default();
        let fetched = Fetched { time: None, ..fetched(Some(HOUR)) };
        cache.handle_fetched(fetched, Timestamp::from_ms(2_000_000_000_000), seconds(0));
        assert!(matches!(cache.poll(seconds(600)), Need::Nothing(_)));
        assert!(matches!(cache.poll(seconds(900)), Need::Credentials));
    }

    #[test]
    fn refused_ones_go_and_newer_ones_stay() {
        let mut cache = Cache::default();
        cache.handle_fetched(fetched(None), WALL, seconds(0));
        let Need::Nothing(old) = cache.poll(seconds(1)) else { panic!("they are there") };
        cache.handle_fetched(fetched(None), WALL, seconds(2));
        cache.handle_refused(&old);
        let Need::Nothing(new) = cache.poll(seconds(3)) else { panic!("the new ones are there") };
        cache.handle_refused(&new);
        assert!(matches!(cache.poll(seconds(3)), Need::Credentials));
    }
}
