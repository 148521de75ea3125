//! The AWS SDK for Rust: what it does by itself with an http endpoint, which is HTTP/1.1 and JSON, and over HTTP/2 with a
//! connector that knows it beforehand.

use system_tests::clients::{assert_claims, assert_refutes, sdk_rust};
use system_tests::gateway::Gateway;
use system_tests::proxy::Proxy;
use system_tests::python::skip;

use crate::PATIENCE;

const ABSENT: &str = "HEADWATER_RUST_CLIENT names no program; `tests/run` builds it";

/// All claims over one protocol; what the program says first on each of its connections.
fn everything_holds(protocol: &str) -> Option<Vec<String>> {
    let directory = tempfile::tempdir().expect("a directory");
    let gateway = Gateway::start(directory.path(), "");
    let link = Proxy::start(gateway.kinesis);
    let endpoint = format!("http://{}", link.address());
    let Some(mut program) = sdk_rust("sdk-rust", directory.path(), &[&endpoint, protocol]) else {
        skip(&format!("sdk_rust over {protocol}"), ABSENT);
        return None;
    };
    assert_claims(&mut program, 6, PATIENCE);
    Some(link.heads()).filter(|heads| !heads.is_empty())
}

#[test]
fn everything_holds_over_what_the_sdk_takes_by_itself() {
    let Some(heads) = everything_holds("h1") else { return };
    for head in heads {
        assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
        // JSON: it knows no CBOR for this service.
        assert!(head.contains("content-type: application/x-amz-json-1.1\r\n"), "{head}");
    }
}

#[test]
fn everything_holds_over_http_2() {
    let Some(heads) = everything_holds("h2") else { return };
    assert!(heads.iter().all(|head| head.starts_with("PRI * HTTP/2.0\r\n")), "{heads:#?}");
}

#[test]
fn a_record_that_is_missing_is_found_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let gateway = Gateway::start(directory.path(), "");
    for claim in ["what_is_put_is_read_back_in_order", "a_subscription_gives_records_as_they_come"] {
        match sdk_rust(&format!("control-{claim}"), directory.path(), &[&gateway.endpoint(), "h1", claim]) {
            Some(program) => assert_refutes(program, claim, PATIENCE),
            None => return skip("the control of sdk_rust", ABSENT),
        }
    }
}
