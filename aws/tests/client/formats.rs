//! Which format is spoken, and what happens when it is not understood.

use crate::support::{Act, Fixture, Seen, client, client_in};
use headwater_aws::{Class, Format, FormatChoice, PutBody, RecordOutcome, StreamRef, Thing};
use serde_json::Value;

const SUMMARY: &str =
    r#"{"StreamDescriptionSummary":{"StreamName":"s","StreamARN":"a","StreamStatus":"ACTIVE"}}"#;
const STORED: &str =
    r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"shardId-000000000000"}]}"#;
/// {"StreamDescriptionSummary": {"StreamName": "s", "StreamARN": "a", "StreamStatus": "ACTIVE", "StreamCreationTimestamp": 1(1500)}}
const SUMMARY_CBOR: &[u8] = b"\xa1\x78\x18StreamDescriptionSummary\xa4\x6aStreamName\x61s\x69StreamARN\x61a\
    \x6cStreamStatus\x66ACTIVE\x77StreamCreationTimestamp\xc1\x19\x05\xdc";
/// The same with a time that is seconds in a float: JSON by other means.
const SUMMARY_FLOAT: &[u8] = b"\xa1\x78\x18StreamDescriptionSummary\xa4\x6aStreamName\x61s\x69StreamARN\x61a\
    \x6cStreamStatus\x66ACTIVE\x77StreamCreationTimestamp\xfb\x41\xda\xc0\x53\xd9\x45\xa1\xcb";

fn cbor(body: &[u8]) -> Act {
    Act::Answer(
        200,
        vec![("content-type".to_owned(), "application/x-amz-cbor-1.1".to_owned())],
        body.to_vec(),
    )
}

fn json_only(seen: &Seen, refusal: &Act) -> Act {
    match (seen.is_cbor(), seen.operation()) {
        (true, _) => refusal.clone(),
        (false, "PutRecords") => Act::json(200, STORED),
        (false, _) => Act::json(200, SUMMARY),
    }
}

fn body(format: Format) -> PutBody {
    let mut body = PutBody::new(&StreamRef::name("s"), format, 1 << 20, 0);
    body.put("k", Some(7), b"\x00\xffdata").unwrap();
    body
}

#[tokio::test]
async fn cbor_is_spoken_where_it_is_answered_in() {
    let fixture = Fixture::start(|_, _| cbor(SUMMARY_CBOR)).await;
    let client = client(&fixture.url());
    assert_eq!(client.format(), Format::Json, "what everybody reads, until something is known");
    assert_eq!(client.describe(&StreamRef::name("s")).await.unwrap().name, "s");
    assert_eq!(client.format(), Format::Cbor);
    assert_eq!(fixture.seen().len(), 1);
}

#[tokio::test]
async fn json_is_spoken_where_cbor_is_refused_in_whatever_way() {
    let refusals = [
        Act::json(400, r#"{"__type":"SerializationException"}"#),
        Act::with(500, &[("content-type", "text/html")], "<title>500</title>"),
        Act::with(415, &[], ""),
        Act::with(404, &[], ""),
        // One that takes no notice, and answers in JSON.
        Act::json(200, SUMMARY),
        // One that answers in CBOR and has not read how AWS writes it: it would not know what a blob is.
        cbor(SUMMARY_FLOAT),
    ];
    for refusal in refusals {
        let fixture = Fixture::start(move |seen, _| json_only(seen, &refusal)).await;
        let client = client(&fixture.url());
        client.describe(&StreamRef::name("s")).await.unwrap();
        client.describe(&StreamRef::name("s")).await.unwrap();
        assert_eq!(client.format(), Format::Json);
        let asked: Vec<bool> = fixture.seen().iter().map(Seen::is_cbor).collect();
        assert_eq!(asked, [true, false, false]);
    }
}

#[tokio::test]
async fn nothing_is_learned_from_nobody_or_from_a_refusal_of_both() {
    let fixture = Fixture::start(|_, number| match number {
        0..=1 => Act::with(503, &[], ""),
        _ => cbor(SUMMARY_CBOR),
    })
    .await;
    let client = client(&fixture.url());
    let error = client.describe(&StreamRef::name("s")).await.unwrap_err();
    assert_eq!(error.class, Class::Retry);
    client.describe(&StreamRef::name("s")).await.unwrap();
    assert_eq!(client.format(), Format::Cbor);
}

#[tokio::test]
async fn records_in_cbor_that_are_not_understood_are_sent_once_more_in_json() {
    let refusal = Act::json(400, r#"{"__type":"SerializationException"}"#);
    let fixture = Fixture::start(
        move |seen, number| if number == 0 { cbor(SUMMARY_CBOR) } else { json_only(seen, &refusal) },
    )
    .await;
    let client = client(&fixture.url());
    client.describe(&StreamRef::name("s")).await.unwrap();
    let answer = client.put_records(body(client.format())).await.unwrap();
    assert!(matches!(answer.outcomes[..], [RecordOutcome::Stored { .. }]));
    assert_eq!(client.format(), Format::Json);
    let sent: Value = serde_json::from_slice(&fixture.seen()[2].body).unwrap();
    assert_eq!(sent["Records"][0]["Data"], "AP9kYXRh");
    assert_eq!(sent["Records"][0]["ExplicitHashKey"], "7");
    assert_eq!(sent["StreamName"], "s");
}

#[tokio::test]
async fn a_choice_is_kept_and_a_request_that_is_wrong_in_both_does_not_change_what_is_spoken() {
    let wrong = Act::json(400, r#"{"__type":"SerializationException"}"#);
    let always = wrong.clone();
    let fixture = Fixture::start(move |_, _| always.clone()).await;
    let chosen = client_in(&fixture.url(), FormatChoice::Cbor);
    let error = chosen.put_records(body(Format::Cbor)).await.unwrap_err();
    assert_eq!((error.class, fixture.seen().len()), (Class::Final(Thing::Endpoint), 1));

    let fixture =
        Fixture::start(move |_, number| if number == 0 { cbor(SUMMARY_CBOR) } else { wrong.clone() }).await;
    let learning = client(&fixture.url());
    learning.describe(&StreamRef::name("s")).await.unwrap();
    assert!(learning.put_records(body(Format::Cbor)).await.is_err());
    assert_eq!((learning.format(), fixture.seen().len()), (Format::Cbor, 3));
}

#[tokio::test]
async fn records_are_not_sent_again_after_a_failure_that_may_have_stored_them() {
    let failure = Act::with(500, &[], "");
    let fixture =
        Fixture::start(move |_, number| if number == 0 { cbor(SUMMARY_CBOR) } else { failure.clone() }).await;
    let client = client(&fixture.url());
    client.describe(&StreamRef::name("s")).await.unwrap();
    let error = client.put_records(body(Format::Cbor)).await.unwrap_err();
    assert_eq!((error.class, error.may_be_done), (Class::Retry, true));
    assert_eq!(fixture.seen().len(), 2);
}
