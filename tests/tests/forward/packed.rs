//! Packed as the Kinesis Producer Library does it, while the gateway is killed, and taken apart by AWS's own library.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use system_tests::gateway::Gateway;
use system_tests::python;
use system_tests::target::{Peer, Seen, read_unpacked};
use system_tests::target_http::Fault;

use crate::check::assert_forwarded;
use crate::peers::created;
use crate::world::{Harm, World};

const HARMS: [Harm; 6] = [
    Harm::Kill,
    Harm::Down,
    Harm::Call(Fault::LoseAnswer),
    Harm::Kill,
    Harm::HalfClose,
    Harm::Call(Fault::Error),
];

/// The whole story, with a target of any kind.
fn nothing_is_missing(target: SocketAddr, directory: &Path, seed: u64, more: &str) {
    let mut world = World::start(target, seed, &format!("aggregate = \"kpl\"\n{more}"));
    let acked = world.suffer(&HARMS, |_| {});
    let far = assert_forwarded(&mut world.near, acked, || read_unpacked(target, "telemetry", directory));
    // A sequence number of the target is that of an aggregate, or of a record that was alone.
    let place = |seen: &Seen| seen.record.sequence.split(':').next().map(str::to_owned);
    let put: BTreeSet<Option<String>> = far.iter().map(place).collect();
    let packed = far.iter().filter(|seen| seen.record.sequence.contains(':')).count();
    println!("{} records in {} of the target, {packed} of them in aggregates", far.len(), put.len());
    assert!(put.len() * 2 < far.len(), "{} records of the target hold {}", put.len(), far.len());
}

fn nothing_is_missing_at_a_peer(name: &str, seed: u64) {
    if python::interpreter().is_none() {
        return python::skip(&format!("packed to {name}"), "no Python with boto3; `tests/run` sets one up");
    }
    let directory = tempfile::tempdir().unwrap();
    let Some(peer) = Peer::start(name, directory.path()) else {
        let why = format!("PEER_KINESIS has no {name}; `tests/run` sets one up");
        return python::skip(&format!("packed to {name}"), &why);
    };
    nothing_is_missing(peer.address, directory.path(), seed, created(name));
}

#[test]
fn nothing_that_was_packed_is_missing_at_a_second_headwater() {
    if python::interpreter().is_none() {
        return python::skip("packed to headwater", "no Python with boto3; `tests/run` sets one up");
    }
    let directory = tempfile::tempdir().unwrap();
    let mut far = Gateway::start(directory.path(), "[streams.telemetry]\nshards = 3\n");
    nothing_is_missing(far.kinesis, directory.path(), 91, "");
    far.stop();
}

#[test]
fn nothing_that_was_packed_is_missing_at_moto() {
    nothing_is_missing_at_a_peer("moto", 92);
}

#[test]
fn nothing_that_was_packed_is_missing_at_kinesalite() {
    nothing_is_missing_at_a_peer("kinesalite", 93);
}
