//! Connections that break, servers that fail, and answers that mean harm.

use crate::support::{Act, Fixture, client_in, settings};
use headwater_aws::{
    CallError, Class, Credentials, Format, FormatChoice, Kinesis, KinesisSettings, MayPut, PutAnswer,
    PutBody, RecordOutcome, Source, StreamRef, Thing,
};
use std::time::{Duration, Instant};

const STORED: &str =
    r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"shardId-000000000000"}]}"#;

async fn put(client: &Kinesis) -> Result<PutAnswer, CallError> {
    let mut body = PutBody::new(&StreamRef::name("s"), Format::Json, 1 << 20, 0);
    body.put("k", None, b"data").unwrap();
    client.put_records(body).await
}

fn impatient(endpoint: &str) -> Kinesis {
    let quick = Duration::from_secs(1);
    Kinesis::new(KinesisSettings { timeout: quick, format: FormatChoice::Json, ..settings(endpoint) })
        .unwrap()
}

#[tokio::test]
async fn connections_are_used_again_and_one_that_was_closed_while_idle_does_no_harm() {
    let fixture = Fixture::start(|_, number| match number {
        2 => Act::AnswerAndClose(200, vec![], STORED.as_bytes().to_vec()),
        _ => Act::json(200, STORED),
    })
    .await;
    let client = client_in(&fixture.url(), FormatChoice::Json);
    for _ in 0..6 {
        assert_eq!(put(&client).await.unwrap().failed(), 0);
        // Time for the end of the connection to arrive.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let connections: Vec<usize> = fixture.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0, 1, 1, 1]);
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_may_have_done_it() {
    let broken: [&[u8]; 5] = [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"Records\":[",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"Rec",
        b"nonsense that is no HTTP\r\n\r\n",
    ];
    for bytes in broken {
        let fixture = Fixture::start(move |_, _| Act::Raw(bytes.to_vec())).await;
        let error = put(&client_in(&fixture.url(), FormatChoice::Json)).await.unwrap_err();
        assert_eq!((error.class, error.may_be_done, error.status), (Class::Retry, true, None), "{error}");
        assert_eq!(fixture.seen().len(), 1, "sent once and not again: {error}");
    }
}

#[tokio::test]
async fn nobody_there_has_done_nothing() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = put(&client_in(&format!("http://{gone}"), FormatChoice::Json)).await.unwrap_err();
    assert_eq!((error.class, error.may_be_done), (Class::Retry, false), "{error}");
    let error = put(&client_in("http://host.invalid", FormatChoice::Json)).await.unwrap_err();
    assert_eq!((error.class, error.may_be_done), (Class::Retry, false), "{error}");
    assert!(error.to_string().starts_with("PutRecords of s at http://host.invalid: "), "{error}");
}

#[tokio::test]
async fn no_answer_in_time_may_have_done_it_and_the_next_call_has_a_connection_of_its_own() {
    let fixture =
        Fixture::start(|_, number| if number == 0 { Act::Stall } else { Act::json(200, STORED) }).await;
    let client = impatient(&fixture.url());
    let begun = Instant::now();
    let error = put(&client).await.unwrap_err();
    assert_eq!((error.class, error.may_be_done), (Class::Retry, true), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(8));
    put(&client).await.unwrap();
    assert_eq!(fixture.seen()[1].connection, 1);
}

#[tokio::test]
async fn a_server_that_listens_and_never_reads_a_byte_is_not_waited_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let error = put(&impatient(&url)).await.unwrap_err();
    assert_eq!(error.class, Class::Retry, "{error}");
}

#[tokio::test]
async fn failures_of_the_server_are_classed_and_keep_its_name_for_the_call() {
    let cases = [
        (500, r#"{"__type":"InternalFailure"}"#, Class::Retry, true),
        (503, "<html>busy</html>", Class::Retry, true),
        (
            400,
            r#"{"__type":"ProvisionedThroughputExceededException","message":"Rate"}"#,
            Class::Throttled,
            false,
        ),
        (
            400,
            r#"{"__type":"ResourceNotFoundException","message":"Stream s"}"#,
            Class::Final(Thing::Stream),
            false,
        ),
        (400, r#"{"__type":"AccessDeniedException"}"#, Class::Final(Thing::Permission), false),
        (400, r#"{"__type":"KMSAccessDeniedException"}"#, Class::Final(Thing::EncryptionKey), false),
        (400, r#"{"__type":"ValidationException"}"#, Class::Final(Thing::Request), false),
        (301, "moved", Class::Final(Thing::Endpoint), false),
        (
            400,
            "<html>The plain HTTP request was sent to HTTPS port</html>",
            Class::Final(Thing::Endpoint),
            false,
        ),
        (407, "<html>Proxy Authentication Required</html>", Class::Final(Thing::Endpoint), false),
    ];
    for (status, body, class, may_be_done) in cases {
        let fixture = Fixture::start(move |_, _| {
            Act::with(status, &[("x-amzn-requestid", "id-7"), ("location", "http://elsewhere.test/")], body)
        })
        .await;
        let error = put(&client_in(&fixture.url(), FormatChoice::Json)).await.unwrap_err();
        assert_eq!(
            (error.class, error.may_be_done, error.status),
            (class, may_be_done, Some(status)),
            "{error}"
        );
        assert!(error.to_string().ends_with("(request id-7)"), "{error}");
        assert_eq!(fixture.seen().len(), 1);
    }
}

#[tokio::test]
async fn outcomes_are_those_of_the_records_one_by_one() {
    let body = r#"{"FailedRecordCount":1,"Records":[{"SequenceNumber":"1","ShardId":"shardId-000000000001"},
        {"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"Rate exceeded"}]}"#;
    let fixture = Fixture::start(move |_, _| Act::json(200, body)).await;
    let client = client_in(&fixture.url(), FormatChoice::Json);
    let mut records = PutBody::new(&StreamRef::name("s"), Format::Json, 1 << 20, 0);
    records.put("a", None, b"1").unwrap();
    records.put("b", None, b"2").unwrap();
    let answer = client.put_records(records).await.unwrap();
    assert!(matches!(&answer.outcomes[0], RecordOutcome::Stored { shard, .. } if shard.number() == 1));
    assert!(matches!(&answer.outcomes[1], RecordOutcome::Failed { class: Class::Throttled, .. }));
}

#[tokio::test]
async fn an_answer_without_an_end_costs_no_more_memory_than_the_largest_that_may_be() {
    let heads: [&[u8]; 2] = [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
    ];
    for head in heads {
        let fixture = Fixture::start(move |_, _| {
            Act::Endless(
                head.to_vec(),
                [b"100000\r\n".to_vec(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat(),
            )
        })
        .await;
        let error = put(&client_in(&fixture.url(), FormatChoice::Json)).await.unwrap_err();
        assert!(error.to_string().contains("more than 16777216 bytes"), "{error}");
        assert!(error.may_be_done);
    }
    let fields =
        Fixture::start(|_, _| Act::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"x-more: y\r\n".to_vec())).await;
    assert!(put(&client_in(&fields.url(), FormatChoice::Json)).await.is_err());
}

#[tokio::test]
async fn ended_credentials_are_replaced_once_and_the_call_goes_on() {
    let fixture = Fixture::start(|seen, _| {
        if seen.header("authorization").contains("Credential=AKIANEW/") {
            Act::json(200, STORED)
        } else {
            Act::json(400, r#"{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}"#)
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let keys = |id: &str| {
        let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = s\n");
        crate::support::file(dir.path(), "credentials", &text)
    };
    let path = keys("AKIAOLD");
    let with = |source| KinesisSettings {
        environment: crate::support::environment(&[("AWS_SHARED_CREDENTIALS_FILE", &path)]),
        source: Some(source),
        format: FormatChoice::Json,
        ..settings(&fixture.url())
    };
    let client = Kinesis::new(with(Source::Profile(None))).unwrap();
    client.provider().credentials().await.unwrap();
    keys("AKIANEW");
    put(&client).await.unwrap();
    assert_eq!(fixture.seen().len(), 2);

    // Nothing else comes from the source: that is for a person.
    let fixed = Kinesis::new(with(Source::Fixed(Credentials::new("AKIAOLD", "s", None)))).unwrap();
    let error = put(&fixed).await.unwrap_err();
    assert_eq!(error.class, Class::Final(Thing::Credentials), "{error}");
    assert_eq!(fixture.seen().len(), 3);
}

#[tokio::test]
async fn keys_that_were_wrong_are_read_again_from_a_file_that_was_mended() {
    let refusals = [
        r#"{"__type":"InvalidSignatureException","message":"does not match"}"#,
        r#"{"__type":"AccessDeniedException","message":"not authorized"}"#,
    ];
    for refusal in refusals {
        let fixture = Fixture::start(move |seen, _| {
            let is_right = seen.header("authorization").contains("Credential=AKIARIGHT/");
            if is_right { Act::json(200, STORED) } else { Act::json(400, refusal) }
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let keys = |id: &str| {
            let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = s\n");
            crate::support::file(dir.path(), "credentials", &text)
        };
        let path = keys("AKIAWRONG");
        let client = Kinesis::new(KinesisSettings {
            environment: crate::support::environment(&[("AWS_SHARED_CREDENTIALS_FILE", &path)]),
            source: Some(Source::Profile(None)),
            format: FormatChoice::Json,
            ..settings(&fixture.url())
        })
        .unwrap();
        assert!(put(&client).await.is_err());
        keys("AKIARIGHT");
        put(&client).await.unwrap();
        assert_eq!(fixture.seen().len(), 2, "{refusal}");
    }
}

#[tokio::test]
async fn whether_records_may_be_put_is_asked_with_one_that_cannot_be() {
    let stream = StreamRef::name("s");
    let answers = [
        (400, r#"{"__type":"InvalidArgumentException","message":"Invalid ExplicitHashKey"}"#),
        (400, r#"{"__type":"AccessDeniedException","message":"not authorized"}"#),
        (200, STORED),
    ];
    for (number, (status, body)) in answers.into_iter().enumerate() {
        let fixture = Fixture::start(move |_, _| Act::json(status, body)).await;
        let asked = client_in(&fixture.url(), FormatChoice::Json).may_put(&stream).await;
        match number {
            0 => assert_eq!(asked.unwrap(), MayPut::Yes),
            1 => assert_eq!(asked.unwrap_err().class, Class::Final(Thing::Permission)),
            _ => assert_eq!(asked.unwrap(), MayPut::Unknown),
        }
        let seen = &fixture.seen()[0];
        assert_eq!(seen.operation(), "PutRecords");
        assert!(seen.text().contains(r#""ExplicitHashKey":"399999999999999999999999999999999999999""#));
    }
}

#[tokio::test]
async fn without_credentials_nothing_is_sent() {
    let fixture = Fixture::start(|_, _| Act::json(200, STORED)).await;
    let client = Kinesis::new(KinesisSettings { source: None, ..settings(&fixture.url()) }).unwrap();
    let error = put(&client).await.unwrap_err();
    assert_eq!((error.class, error.may_be_done), (Class::Final(Thing::Credentials), false));
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID is not set"), "{error}");
    assert!(fixture.seen().is_empty());
}

#[tokio::test]
async fn a_list_of_shards_that_never_ends_ends() {
    let fixture = Fixture::start(|_, _| Act::json(200, r#"{"Shards":[],"NextToken":"again"}"#)).await;
    let error =
        client_in(&fixture.url(), FormatChoice::Json).list_shards(&StreamRef::name("s")).await.unwrap_err();
    assert!(error.to_string().contains("does not end"), "{error}");
    assert_eq!(fixture.seen().len(), 1_000);
    assert_eq!(fixture.seen()[1].text(), r#"{"NextToken":"again"}"#);
}
