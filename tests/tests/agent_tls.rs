//! Devices behind an agent that speaks TLS to the gateway and is known by its certificate alone.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

use headwater_sim::{AgentAt, Fleet, Progress, SimConfig};
use std::process::Command;
use std::time::Duration;
use system_tests::agent::Agent;
use system_tests::gateway::Gateway;
use system_tests::{binaries, ports, wait_until};
use tokio::sync::watch;

const DEVICES: u32 = 5;

#[test]
fn an_agent_with_a_certificate_speaks_for_its_devices_once_the_gateway_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("certificates");
    for made in [&["authority"][..], &["server", "localhost", "127.0.0.1"], &["device", "walkthrough"]] {
        let mut command = Command::new(binaries::headwater());
        let output = command.arg("certificates").arg("--dir").arg(&path).args(made).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (tls, dir) = (ports::free(), path.display());
    let listener = format!(
        "[mqtt.tls]\nlisten = \"{tls}\"\ncertificate = \"{dir}/server.pem\"\nkey = \"{dir}/server.key.pem\"\n\
         clients = \"{dir}/authority.pem\"\n"
    );
    let gateway = Gateway::start(directory.path(), &listener);
    let uplink = format!(
        "retry = {{ max = \"500ms\" }}\ntls = {{ authority = \"{dir}/authority.pem\", certificate = \"{dir}/walkthrough.pem\", key = \"{dir}/walkthrough.key.pem\" }}"
    );
    let mut agent = Agent::start_with(directory.path(), tls, &uplink);
    let config = SimConfig {
        devices: DEVICES,
        rate_per_sec: 4.0,
        duration: Some(Duration::from_secs(5)),
        agent: AgentAt::External(agent.link),
        drain: Duration::from_secs(120),
        ..SimConfig::new(directory.path().join("fleet"), gateway.mqtt, gateway.kinesis)
    };
    let fleet = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (progress, _) = watch::channel(Progress::default());
        runtime.block_on(Fleet::run(config, progress, std::future::pending())).unwrap()
    });
    // A certificate is for the device that it names, and the agent is none of those it speaks for: it waits, and nothing is lost.
    let refused = wait_until(Duration::from_secs(60), || failures(&agent) >= 2);
    assert!(refused, "{}", gateway.tail());
    let listener = format!("{listener}agents = [\"walkthrough\"]\n");
    let text = std::fs::read_to_string(&gateway.config).unwrap();
    std::fs::write(&gateway.config, text + listener.lines().last().unwrap() + "\n").unwrap();
    gateway.hang_up();

    let summary = fleet.join().unwrap();
    assert!(
        summary.is_good() && summary.acked > 0 && summary.waiting == 0,
        "{summary}: {:#?}",
        summary.examples
    );
    agent.stop();
}

fn failures(agent: &Agent) -> u64 {
    let (_, text) = system_tests::kinesis::get(agent.http, "/metrics").unwrap();
    let line = text.lines().find(|line| line.starts_with("headwater_agent_uplink_failures_total")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
