//! To servers that other people wrote. Their streams are made by the sink itself.

use system_tests::python;
use system_tests::target::{Peer, read_once};
use system_tests::target_http::Fault;

use crate::check::assert_forwarded;
use crate::world::{Harm, World};

/// What a sink is told that makes its stream itself.
pub(crate) fn created(name: &str) -> &'static str {
    match name {
        // Two calls at once can get the same sequence number there, and the later record replaces the earlier: its source says so.
        "moto" => "create = true\ncalls = 1\n",
        _ => "create = true\n",
    }
}

/// The whole story with one of them.
fn nothing_is_missing_at(name: &str, seed: u64) {
    if python::interpreter().is_none() {
        return python::skip(&format!("forward to {name}"), "no Python with boto3; `tests/run` sets one up");
    }
    let directory = tempfile::tempdir().unwrap();
    let Some(peer) = Peer::start(name, directory.path()) else {
        return python::skip(
            &format!("forward to {name}"),
            &format!("PEER_KINESIS has no {name}; `tests/run` sets one up"),
        );
    };
    let mut world = World::start(peer.address, seed, created(name));
    let harms = [
        Harm::Kill,
        Harm::Cut,
        Harm::Call(Fault::LoseAnswer),
        Harm::Call(Fault::Throttle),
        Harm::Silent,
        Harm::Down,
        Harm::HalfClose,
        Harm::Kill,
        Harm::Call(Fault::Error),
        Harm::Slow,
    ];
    let acked = world.suffer(&harms, |_| {});
    let kinds = world.way.kinds();
    assert_forwarded(&mut world.near, acked, || read_once(peer.address, "telemetry", directory.path()));
    // None of them writes CBOR as AWS does, so none is trusted to read it.
    assert_eq!(kinds.keys().collect::<Vec<_>>(), ["application/x-amz-json-1.1"], "{kinds:?}");
}

#[test]
fn nothing_is_missing_at_moto() {
    nothing_is_missing_at("moto", 61);
}

#[test]
fn nothing_is_missing_at_kinesalite() {
    nothing_is_missing_at("kinesalite", 62);
}

#[test]
fn nothing_is_missing_at_ferrokinesis() {
    nothing_is_missing_at("ferrokinesis", 63);
}
