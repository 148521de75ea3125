//! A gateway with a budget of what it may write a day: it writes less, acknowledges later, and everything else is as ever.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod gateway_support;

use gateway_support::{get, until};
use headwater::{Gateway, config};
use headwater_engine::StreamName;
use headwater_engine::storage::Cursor;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const MESSAGES: usize = 80;

/// Two files of 4 MiB are written whole at first: two thirds of what this may be written at once.
const BUDGET: &str = "write_budget = \"100MB/day\"\n";

fn text(state: &Path, http: SocketAddr, budget: &str) -> String {
    format!(
        "[gateway]\nstate = {state:?}\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[kinesis]\nlisten = \"127.0.0.1:0\"\n\
         [http]\nlisten = \"{http}\"\n[[routes]]\nmatch = \"a/{{device}}\"\ncodec = \"raw\"\nstream = \"a\"\n\
         partition_key = \"{{device}}\"\n[journal]\nsegment = \"4MiB\"\nmax = \"64MiB\"\nreserve = \"0B\"\n{budget}"
    )
}

struct House {
    dir: tempfile::TempDir,
    gateway: Gateway,
}

impl House {
    async fn start(budget: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = text(&dir.path().join("state"), "127.0.0.1:0".parse().unwrap(), budget);
        let config = config::parse("h.toml", &text).unwrap().config;
        Self { gateway: Gateway::start(&config).await.unwrap(), dir }
    }

    async fn reload(&self, budget: &str) -> Vec<String> {
        let http = "127.0.0.1:0".parse().unwrap();
        let text = text(&self.dir.path().join("state"), http, budget);
        let loaded = config::parse("h.toml", &text).map_err(config::LoadError::from);
        self.gateway.reload(loaded).await.unwrap().changed
    }

    /// Publishes all messages of one client, one each 25 ms, and waits for their acknowledgements. The longest wait for one.
    async fn publish(&self, device: &str) -> Duration {
        let addr = self.gateway.mqtt_addr();
        let mut options = MqttOptions::new(device, addr.ip().to_string(), addr.port());
        options.set_keep_alive(Duration::from_secs(60)).set_inflight(200);
        let (client, mut events) = AsyncClient::new(options, 10);
        let topic = format!("a/{device}");
        let sender = tokio::spawn(async move {
            let mut sent = Vec::new();
            for number in 0..MESSAGES {
                sent.push(Instant::now());
                client.publish(&topic, QoS::AtLeastOnce, false, number.to_string()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            (client, sent)
        });
        let mut acked = Vec::new();
        while acked.len() < MESSAGES {
            if let Event::Incoming(Packet::PubAck(ack)) = events.poll().await.unwrap() {
                acked.push((usize::from(ack.pkid), Instant::now()));
            }
        }
        let (_client, sent) = sender.await.unwrap();
        acked.iter().map(|(id, at)| at.duration_since(sent[id - 1])).max().unwrap()
    }

    /// What the stream holds of one device, in order.
    async fn stored(&self, device: &str) -> Vec<usize> {
        let engine = self.gateway.engine();
        let stream = engine.stream(&StreamName::parse("a").unwrap()).unwrap();
        let shard = stream.state().shards.all().iter().next().unwrap().id;
        let from = engine.locate(&stream, shard, Cursor::TrimHorizon).await.unwrap();
        let page = engine.read(&stream, shard, from, (10_000, 1 << 20)).await.unwrap();
        let mut stored = Vec::new();
        for run in &page.runs {
            run.visit(&mut |record| {
                if record.key == device.as_bytes() {
                    stored.push(String::from_utf8_lossy(record.data).parse().unwrap());
                }
            });
        }
        stored
    }

    async fn metric(&self, name: &str) -> f64 {
        let metrics = get(self.gateway.http_addr(), "/metrics").await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or("0");
        line.parse().unwrap()
    }

    async fn health(&self) -> Value {
        let health: Value = serde_json::from_str(&get(self.gateway.http_addr(), "/health").await).unwrap();
        health["journal"]["write_budget"].clone()
    }

    async fn command(&self, name: &'static str) -> Output {
        let file = self.dir.path().join("headwater.toml");
        std::fs::write(&file, text(&self.dir.path().join("state"), self.gateway.http_addr(), BUDGET))
            .unwrap();
        let run = move || {
            Command::new(env!("CARGO_BIN_EXE_headwater")).args([name, "--config"]).arg(file).output().unwrap()
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }
}

/// Bytes and groups that all messages of two clients took, and the longest wait for an acknowledgement.
async fn measured(house: &House) -> (f64, f64, Duration) {
    // The first record opens the first file, and the next one is made.
    let first = house.publish("first").await;
    assert!(first < Duration::from_secs(5), "{first:?}");
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let (bytes, groups) = ("headwater_journal_bytes_written_total", "headwater_journal_groups_total");
    let before = (house.metric(bytes).await, house.metric(groups).await);
    let (one, two) = tokio::join!(house.publish("one"), house.publish("two"));
    for device in ["first", "one", "two"] {
        assert_eq!(house.stored(device).await, (0..MESSAGES).collect::<Vec<_>>(), "{device}");
    }
    (house.metric(bytes).await - before.0, house.metric(groups).await - before.1, one.max(two))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_budget_less_is_written_and_every_record_still_arrives_in_order_and_acknowledged() {
    let (free, held) = (House::start("").await, House::start(BUDGET).await);
    let (free_bytes, free_groups, _) = measured(&free).await;
    let (held_bytes, held_groups, waited) = measured(&held).await;
    assert!(free_groups >= 20.0, "{free_groups} commits without a budget");
    assert!(held_groups * 3.0 <= free_groups, "{held_groups} commits of {free_groups}");
    assert!(held_bytes * 2.0 <= free_bytes, "{held_bytes} bytes of {free_bytes}");
    assert!(waited > Duration::from_millis(200), "acknowledgements wait: {waited:?}");
    assert!(waited < Duration::from_secs(9), "and not for long: {waited:?}");

    let health = held.health().await;
    assert_eq!(health["bytes_a_day"], 100_000_000);
    assert!(health["linger_ms"].as_u64().unwrap() > 200, "{health}");
    assert!(held.metric("headwater_journal_write_budget_linger_seconds").await > 0.2);
    assert_eq!(held.metric("headwater_journal_write_budget_bytes").await, 100_000_000.0);
    let total = held.metric("headwater_journal_bytes_written_total").await;
    let of_the_day = held.metric("headwater_journal_written_day_bytes").await;
    // It is looked at once a second.
    assert!(of_the_day <= total && of_the_day > total - 100_000.0, "{of_the_day} of {total}");
    let said = String::from_utf8(held.command("status").await.stdout).unwrap();
    assert!(said.contains("disk: written ") && said.contains(" of 95.3 MiB a day, writes wait "), "{said}");
    let said = String::from_utf8(held.command("doctor").await.stdout).unwrap();
    assert!(said.contains("the budget is 95.3 MiB: written "), "{said}");

    let page = get(held.gateway.http_addr(), "/").await;
    assert!(page.contains(" of 95.3 MiB a day, ") && page.contains("; commits wait up to "), "{page}");
    assert!(page.contains("<meter min=\"0\" max=\"100000000\""), "{page}");
    assert!(get(free.gateway.http_addr(), "/").await.contains("there is no budget"));

    // Without a budget there is nothing to say but what was written.
    let health = free.health().await;
    assert!(health["bytes_a_day"].is_null() && health["state"].is_null(), "{health}");
    assert!(health["day_bytes"].as_u64().unwrap() > 8 << 20, "{health}");

    // A reload takes another budget up, and none.
    assert_eq!(held.reload("write_budget = \"100GB/day\"\n").await, ["journal.write_budget"]);
    assert_eq!(held.health().await["linger_ms"], 0);
    assert_eq!(held.reload("").await, ["journal.write_budget"]);
    assert!(held.health().await["bytes_a_day"].is_null());
    let waited = held.publish("three").await;
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    assert_eq!(held.stored("three").await.len(), MESSAGES);
    free.gateway.stop().await;
    held.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_cannot_be_held_is_said_and_the_gateway_goes_on() {
    let house = House::start("write_budget = \"5MB/day\"\n").await;
    house.publish("one").await;
    let mut health = house.health().await;
    until("it is exceeded", || {
        health = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(house.health()));
        health["state"] == "exceeded"
    })
    .await;
    assert!(health["warning"].as_str().unwrap().contains("raise it"), "{health}");
    let exceeded = "headwater_journal_write_budget_state{state=\"exceeded\"}";
    assert_eq!(house.metric(exceeded).await, 1.0);
    let answer = gateway_support::ask(house.gateway.http_addr(), "GET /health").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "it takes publishes");
    let page = get(house.gateway.http_addr(), "/").await;
    assert!(page.contains("<b>more is written than journal.write_budget allows"), "{page}");
    let status = house.command("status").await;
    let said = String::from_utf8(status.stdout).unwrap();
    assert_eq!(status.status.code(), Some(1), "{said}");
    assert!(said.contains("not well: more is written than journal.write_budget allows"), "{said}");
    assert!(health["linger_ms"].as_u64().unwrap() > 3_000, "{health}");
    // What an operator does to streams takes several commits, and none of them waits for company.
    let begun = Instant::now();
    for (operation, body) in [
        ("CreateStream", "{\"StreamName\":\"b\",\"ShardCount\":2}"),
        ("AddTagsToStream", "{\"StreamName\":\"b\",\"Tags\":{\"room\":\"barn\"}}"),
        (
            "UpdateShardCount",
            "{\"StreamName\":\"b\",\"TargetShardCount\":4,\"ScalingType\":\"UNIFORM_SCALING\"}",
        ),
        ("DeleteStream", "{\"StreamName\":\"b\"}"),
    ] {
        let answer = house.gateway.engine().call(operation, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{operation}: {}", String::from_utf8_lossy(&answer.body));
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let waited = house.publish("two").await;
    assert!(waited > Duration::from_secs(2), "records wait all the same: {waited:?}");
    assert!(!get(house.gateway.http_addr(), "/").await.contains("<script"), "it needs none");
    // Stopping does not wait for commits that linger.
    let begun = Instant::now();
    house.gateway.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_budget_below_what_files_take_is_warned_of() {
    let warnings = |text: &str| {
        let loaded = config::parse("h.toml", text).unwrap();
        loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        warnings("[journal]\nwrite_budget = \"100MB/day\""),
        [
            "h.toml:2: journal.write_budget is \"100MB/day\", expected at least \"192MiB/day\", eight times journal.segment, \
          for each new file of that size is written whole before it is used"
        ]
    );
    assert_eq!(warnings("[journal]\nwrite_budget = \"300MB/day\""), [""; 0]);
    assert_eq!(warnings("[journal]\nsegment = \"4MiB\"\nwrite_budget = \"40MB/day\""), [""; 0]);
}
