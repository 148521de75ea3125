//! Renewing ahead of the end, and what happens when that fails.

use super::{iso, provider_at};
use crate::support::{Act, Fixture, PATIENCE};
use headwater_aws::{Clock, Now, Source, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const START_MS: u64 = 1_800_000_000_000;

/// A clock that stands still unless it is moved; the wall's part of it is wrong by decades.
#[derive(Clone, Default)]
struct Moved(Arc<AtomicU64>);

impl Moved {
    fn clock(&self) -> Clock {
        let moved = self.clone();
        Clock::new(move || Now { wall: Timestamp::EPOCH, uptime: moved.uptime() })
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

/// An agent that gives an hour each time, by its own clock, unless it is broken.
async fn agent(moved: &Moved, is_broken: &Arc<AtomicBool>) -> Fixture {
    let (moved, is_broken) = (moved.clone(), Arc::clone(is_broken));
    Fixture::start(move |_, number| {
        let now = START_MS + u64::try_from(moved.uptime().as_millis()).unwrap();
        if is_broken.load(Ordering::SeqCst) {
            return Act::with(500, &[], "").dated(now);
        }
        let end = iso(Timestamp::from_ms(now + 3_600_000));
        let body = format!(
            r#"{{"AccessKeyId":"ASIA{number}","SecretAccessKey":"s","Token":"t","Expiration":"{end}"}}"#
        );
        Act::with(200, &[], &body).dated(now)
    })
    .await
}

#[tokio::test]
async fn credentials_are_renewed_in_the_background_and_kept_while_that_fails() {
    let (moved, is_broken) = (Moved::default(), Arc::default());
    let fixture = agent(&moved, &is_broken).await;
    let url = fixture.url();
    let provider =
        provider_at(Source::Container, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)], moved.clock());
    let id = async || provider.credentials().await.map(|credentials| credentials.access_key_id().to_owned());
    assert_eq!(id().await.unwrap(), "ASIA0");
    moved.advance(44 * 60);
    assert_eq!(id().await.unwrap(), "ASIA0");
    assert_eq!(fixture.seen().len(), 1, "not asked before three quarters of their life");

    // Due: the old ones are given out at once while the next are fetched.
    moved.advance(2 * 60);
    assert_eq!(id().await.unwrap(), "ASIA0");
    fixture.wait_for(2).await;
    tokio::time::timeout(PATIENCE, async {
        while id().await.unwrap() != "ASIA1" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the new ones come");

    // The source breaks: the old ones serve until they end.
    is_broken.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        moved.advance(11 * 60);
        assert_eq!(id().await.unwrap(), "ASIA1");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // And is asked again meanwhile.
    fixture.wait_for(3).await;
    moved.advance(10 * 60);
    let error = id().await.unwrap_err();
    assert_eq!(error.to_string(), "no credentials: container: answered with status 500");
    assert!(!error.is_final());
    // And is not asked all the time.
    let asked = fixture.seen().len();
    for _ in 0..20 {
        assert!(id().await.is_err());
    }
    assert_eq!(fixture.seen().len(), asked);
    is_broken.store(false, Ordering::SeqCst);
    moved.advance(61);
    assert!(id().await.unwrap().starts_with("ASIA"));
}

#[tokio::test]
async fn many_who_want_credentials_at_once_ask_once() {
    let (moved, is_broken) = (Moved::default(), Arc::default());
    let fixture = agent(&moved, &is_broken).await;
    let url = fixture.url();
    let provider =
        provider_at(Source::Container, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)], moved.clock());
    let all: Vec<_> = (0..50)
        .map(|_| {
            let provider = provider.clone();
            tokio::spawn(async move { provider.credentials().await.unwrap() })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap().access_key_id(), "ASIA0");
    }
    assert_eq!(fixture.seen().len(), 1);
}
