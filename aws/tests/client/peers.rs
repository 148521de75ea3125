//! The contract against other people's servers, as far as they are installed: `PEER_KINESIS` has a line for each,
//! `NAME=COMMAND` with `{port}` and `{dir}`, as for the benches.

use crate::support::{skip, wait_for_port};
use crate::targets::keeps_the_contract;
use headwater_aws::{Format, FormatChoice};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// A process that ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// None of them writes CBOR as AWS does, so JSON is spoken; some read it all the same when they are told to.
async fn keeps(name: &str, also: FormatChoice) {
    let peers = std::env::var("PEER_KINESIS").unwrap_or_default();
    let Some(command) = peers.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}="))) else {
        return skip(&format!("peers::{name}"), &format!("PEER_KINESIS has no {name}"));
    };
    let dir = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let command =
        command.replace("{port}", &address.port().to_string()).replace("{dir}", dir.path().to_str().unwrap());
    let mut words = command.split_whitespace();
    let mut process = Command::new(words.next().unwrap());
    process.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _running = Killed(process.spawn().unwrap_or_else(|error| panic!("{command}: {error}")));
    wait_for_port(address).await;
    let url = format!("http://{address}");
    assert_eq!(keeps_the_contract(&url, FormatChoice::Learn).await, Format::Json);
    keeps_the_contract(&url, also).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ferrokinesis_keeps_the_contract_in_both_formats() {
    keeps("ferrokinesis", FormatChoice::Cbor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kinesalite_keeps_the_contract_in_json() {
    keeps("kinesalite", FormatChoice::Json).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_keeps_the_contract_in_json() {
    keeps("moto", FormatChoice::Json).await;
}
