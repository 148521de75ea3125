//! Machines whose clock is wrong, against a server that checks signatures and times as AWS does.

use crate::support::{Act, Fixture, Seen, client_at};
use headwater_aws::{Class, Clock, Credentials, Now, Scope, Signable, StreamRef, Thing, Timestamp, sign};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SERVER_MS: u64 = 1_800_000_000_000;
const SUMMARY: &str = r#"{"StreamDescriptionSummary":{"StreamName":"s","StreamARN":"a","StreamStatus":"ACTIVE","OpenShardCount":1,"RetentionPeriodHours":24}}"#;

/// Takes a signature that is right and not older or newer than five minutes.
fn judge(seen: &Seen, now_ms: u64, code: &str) -> Act {
    let time = Timestamp::parse_basic(seen.header("x-amz-date")).unwrap();
    let headers: Vec<(&str, &str)> =
        ["host", "content-type", "x-amz-target"].iter().map(|name| (*name, seen.header(name))).collect();
    let request = Signable { method: &seen.method, path: &seen.target, headers: &headers, body: &seen.body };
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None);
    let signature = sign(&request, &credentials, Scope { region: "eu-west-1", service: "kinesis" }, time);
    assert_eq!(signature.authorization, seen.header("authorization"), "the signature itself is right");
    if time.ms().abs_diff(now_ms) > 300_000 {
        let body = format!(
            r#"{{"__type":"{code}","message":"Signature expired: {} is now earlier"}}"#,
            time.basic()
        );
        return Act::json(400, &body).dated(now_ms);
    }
    Act::json(200, SUMMARY).dated(now_ms)
}

fn clock_at(wall_ms: u64) -> Clock {
    Clock::new(move || Now { wall: Timestamp::from_ms(wall_ms), uptime: Clock::system().now().uptime })
}

#[tokio::test]
async fn a_clock_of_1970_or_of_the_future_is_learned_from_the_first_refusal_whatever_it_is_called() {
    let codes =
        ["InvalidSignatureException", "RequestExpired", "RequestTimeTooSkewed", "AccessDeniedException"];
    for (wall, code) in
        [60_000, SERVER_MS + 86_400_000 * 3_650, SERVER_MS - 10_800_000, 0].into_iter().zip(codes)
    {
        let fixture = Fixture::start(move |seen, _| judge(seen, SERVER_MS, code)).await;
        let client = client_at(&fixture.url(), clock_at(wall));
        let info = client.describe(&StreamRef::name("s")).await.unwrap();
        assert_eq!(info.name, "s");
        assert_eq!(fixture.seen().len(), 2, "refused, and signed again by the server's clock");
        let behind = client.clock_behind_ms().unwrap();
        let expected = i64::try_from(SERVER_MS).unwrap() - i64::try_from(wall).unwrap();
        assert!((behind - expected).abs() < 5_000, "{code}: {behind}, expected about {expected}");
        client.describe(&StreamRef::name("s")).await.unwrap();
        assert_eq!(fixture.seen().len(), 3, "what was learned is kept");
    }
}

#[tokio::test]
async fn a_clock_that_jumps_after_it_was_learned_signs_on_as_before() {
    let wall = Arc::new(AtomicU64::new(SERVER_MS));
    let read = Arc::clone(&wall);
    let clock = Clock::new(move || Now {
        wall: Timestamp::from_ms(read.load(Ordering::SeqCst)),
        uptime: Clock::system().now().uptime,
    });
    let fixture = Fixture::start(|seen, _| judge(seen, SERVER_MS, "RequestExpired")).await;
    let client = client_at(&fixture.url(), clock);
    client.describe(&StreamRef::name("s")).await.unwrap();
    let before = fixture.seen().len();
    for jump in [0, SERVER_MS * 2, SERVER_MS - 7_200_000] {
        wall.store(jump, Ordering::SeqCst);
        client.describe(&StreamRef::name("s")).await.unwrap();
    }
    assert_eq!(fixture.seen().len(), before + 3, "nothing had to be signed twice");
}

#[tokio::test]
async fn a_refusal_at_the_right_time_is_final_and_one_about_time_that_goes_on_is_said_so() {
    let wrong_key = Fixture::start(|_, _| {
        Act::json(403, r#"{"__type":"InvalidSignatureException","message":"does not match"}"#)
            .dated(SERVER_MS)
    })
    .await;
    let client = client_at(&wrong_key.url(), clock_at(SERVER_MS));
    let error = client.describe(&StreamRef::name("s")).await.unwrap_err();
    assert_eq!(error.class, Class::Final(Thing::Credentials), "{error}");

    // Its Date header is not the time it judges by: nothing that was learned helps.
    let confused =
        Fixture::start(|_, _| Act::json(400, r#"{"__type":"RequestTimeTooSkewed"}"#).dated(SERVER_MS)).await;
    let client = client_at(&confused.url(), clock_at(0));
    let error = client.describe(&StreamRef::name("s")).await.unwrap_err();
    assert_eq!(error.class, Class::Skew, "{error}");
    assert_eq!(confused.seen().len(), 2);
}
