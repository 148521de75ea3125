//! The contract against other people's servers, as far as they are installed: `PEER_KINESIS` has a line for each,
//! `NAME=COMMAND` with `{port}` and `{dir}`, as for the benches.

use crate::support::{PATIENCE, environment, python, settings, skip, wait_for_port};
use crate::targets::keeps_the_contract;
use headwater_aws::{
    Class, Credentials, Format, FormatChoice, Kinesis, KinesisSettings, NewStream, PutBody, RoleSettings,
    Source, StreamRef, Thing,
};
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

/// A server and where it listens; nothing, and said so, where it is not installed.
struct Peer {
    url: String,
    _process: Killed,
    _dir: tempfile::TempDir,
}

impl Peer {
    async fn start(name: &str, environment: &[(&str, &str)]) -> Option<Peer> {
        let peers = std::env::var("PEER_KINESIS").unwrap_or_default();
        let Some(command) = peers.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}=")))
        else {
            skip(&format!("peers::{name}"), &format!("PEER_KINESIS has no {name}"));
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let command = command.replace("{port}", &address.port().to_string());
        let command = command.replace("{dir}", dir.path().to_str().unwrap());
        let mut words = command.split_whitespace();
        let mut process = Command::new(words.next().unwrap());
        process.args(words).envs(environment.iter().copied());
        process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Killed(process.spawn().unwrap_or_else(|error| panic!("{command}: {error}")));
        wait_for_port(address).await;
        Some(Peer { url: format!("http://{address}"), _process: process, _dir: dir })
    }
}

/// None of them writes CBOR as AWS does, so JSON is spoken; some read it all the same when they are told to.
async fn keeps(name: &str, also: FormatChoice) {
    let Some(peer) = Peer::start(name, &[]).await else { return };
    assert_eq!(keeps_the_contract(&peer.url, FormatChoice::Learn).await, Format::Json);
    keeps_the_contract(&peer.url, also).await;
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

/// moto makes every signature again with botocore and compares, once its free calls are used up.
#[tokio::test(flavor = "multi_thread")]
async fn moto_checks_our_signatures_and_those_of_a_role_by_sts() {
    let Some(python) = python() else { return skip("peers::signatures", "there is no Python with boto3") };
    let Some(peer) = Peer::start("moto", &[("INITIAL_NO_AUTH_ACTION_COUNT", "5")]).await else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/client/peers/iam.py");
    let made = Command::new(python).args(["-B", script, &peer.url]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let text = |member: &str| made[member].as_str().unwrap();
    let user = Source::Fixed(Credentials::new(text("id"), text("secret"), None));
    let role = Source::Role(RoleSettings::new(text("role")), Box::new(user.clone()));
    let client = |source| {
        let environment = environment(&[("AWS_ENDPOINT_URL", &peer.url)]);
        Kinesis::new(KinesisSettings { environment, source: Some(source), ..settings(&peer.url) }).unwrap()
    };

    let stream = StreamRef::name("signed");
    let by_user = client(user);
    by_user.create_stream("signed", NewStream { shards: Some(1), record_kib_max: None }).await.unwrap();
    by_user.wait_until_active(&stream, PATIENCE).await.unwrap();
    let by_role = client(role);
    for client in [&by_user, &by_role] {
        let mut body = PutBody::new(&stream, client.format(), 1 << 20, 100);
        body.put("k", None, b"signed").unwrap();
        assert_eq!(client.put_records(body).await.unwrap().failed(), 0);
    }
    let session = by_role.provider().credentials().await.unwrap();
    assert!(session.session_token().is_some() && session.expires().is_some());

    let forged = client(Source::Fixed(Credentials::new(text("id"), "another secret", None)));
    let error = forged.describe(&stream).await.unwrap_err();
    assert_eq!(error.class, Class::Final(Thing::Credentials), "{error}");
}
