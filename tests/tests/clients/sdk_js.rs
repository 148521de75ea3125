//! The AWS SDK for JavaScript over HTTP/2, which it takes by itself also without TLS, and over HTTP/1.1.

use system_tests::clients::{assert_claims, assert_refutes, node};
use system_tests::gateway::Gateway;
use system_tests::proxy::Proxy;
use system_tests::python::skip;

use crate::PATIENCE;

const ABSENT: &str = "no Node.js 20 with the packages of tests/clients/js; `tests/run` sets them up";

/// All claims of the main flow and of fan-out over one protocol, whose connections begin with `head`.
fn everything_holds(protocol: &str, head: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let gateway = Gateway::start(directory.path(), "");
    let link = Proxy::start(gateway.kinesis);
    let endpoint = format!("http://{}", link.address());
    for (script, claims) in [("flow.js", 6), ("fanout.js", 5)] {
        let name = format!("{script}-{protocol}");
        let Some(mut program) = node(&name, directory.path(), script, &[&endpoint, protocol]) else {
            return skip(&format!("sdk_js over {protocol}"), ABSENT);
        };
        assert_claims(&mut program, claims, PATIENCE);
    }
    let heads = link.heads();
    assert!(heads.len() > 1 && heads.iter().all(|said| said.starts_with(head)), "{heads:#?}");
}

#[test]
fn everything_holds_over_http_2() {
    everything_holds("h2", "PRI * HTTP/2.0\r\n");
}

#[test]
fn everything_holds_over_http_1() {
    everything_holds("h1", "POST / HTTP/1.1\r\n");
}

#[test]
fn a_record_that_is_missing_is_found_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let gateway = Gateway::start(directory.path(), "");
    for (script, claim) in [
        ("flow.js", "what_is_put_is_read_back_in_order"),
        ("fanout.js", "a_subscription_goes_on_beyond_its_first_batch"),
    ] {
        let args = [&gateway.endpoint(), "h1", claim];
        let Some(program) = node(&format!("{script}-control"), directory.path(), script, &args) else {
            return skip("the control of sdk_js", ABSENT);
        };
        assert_refutes(program, claim, PATIENCE);
    }
}
