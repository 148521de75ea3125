//! The targets of sinks: named in the DNS, credentials to be had, and allowed to be asked.
//!
//! In: the sinks of the configuration. Out: findings. Nothing is written anywhere: whether records may be put is asked with one
//! that no stream can hold.

use super::Subject;
use super::report::Finding;
use crate::forward::SinkSettings;
use headwater_aws::{
    CallError, Class, Environment, Kinesis, MayPut, StreamRef, StreamStatus, Thing, Timestamp,
};
use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// A person waits. Whatever answers later than this would hold up a sink, too.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Beyond, AWS refuses signatures until the sink has learned the time.
const CLOCK_OFF_MAX_MS: u64 = 5 * 60 * 1_000;

pub(super) fn skipped(subject: &Subject<'_>) -> Vec<Finding> {
    let sinks = subject.config.sinks.iter();
    sinks.map(|sink| Finding::ok(about(sink), "not asked (--offline)")).collect()
}

pub(super) async fn check(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for sink in &subject.config.sinks {
        findings.extend(one(sink, subject).await);
    }
    findings
}

fn about(sink: &SinkSettings) -> String {
    format!("sink {}", sink.name)
}

async fn one(sink: &SinkSettings, subject: &Subject<'_>) -> Vec<Finding> {
    let environment = Environment::of_process();
    let has_proxy = ["HTTPS_PROXY", "https_proxy"].iter().any(|name| environment.get(name).is_some());
    let client = match Kinesis::new(sink.client(environment, Timestamp::default())) {
        Ok(client) => client,
        Err(error) => {
            let remedy = format!("set region, endpoint or profile in [sinks.{}]", sink.name);
            return vec![Finding::fail(about(sink), error.to_string(), remedy)];
        }
    };
    let mut findings = vec![dns(sink, &client, has_proxy).await];
    match in_time(client.provider().credentials()).await {
        None => findings.push(late(sink, "credentials")),
        Some(Ok(_)) => {
            let from = client.provider().name();
            findings.push(Finding::ok(about(sink), format!("credentials: {from}")));
        }
        Some(Err(error)) => {
            let remedy =
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, a role or [sinks.<name>.iot]";
            findings.push(Finding::fail(about(sink), error.to_string(), remedy));
            return findings;
        }
    }
    let targets = targets(sink, subject);
    if targets.is_empty() {
        let found = "its streams are not known yet, so no target was asked for";
        findings.push(Finding::warn(about(sink), found, "run this again while the gateway runs"));
    }
    for target in targets {
        let stream = StreamRef::name(&target);
        let finding = match in_time(client.describe(&stream)).await {
            None => late(sink, &target),
            Some(Ok(info)) if info.status == StreamStatus::Deleting => Finding::fail(
                about(sink),
                format!("{target} is being deleted"),
                "make it anew, or set target",
            ),
            Some(Ok(info)) => {
                let found =
                    format!("{target} is there with {} open shards, may be described", info.open_shards);
                findings.push(Finding::ok(about(sink), found));
                may_put(sink, &client, &stream).await
            }
            Some(Err(error)) => refused(sink, &target, &error),
        };
        findings.push(finding);
    }
    findings.extend(clock(sink, &client));
    findings
}

/// Whether records may be put.
async fn may_put(sink: &SinkSettings, client: &Kinesis, stream: &StreamRef) -> Finding {
    let target = stream.as_str();
    match in_time(client.may_put(stream)).await {
        None => late(sink, target),
        Some(Ok(MayPut::Yes)) => Finding::ok(about(sink), format!("records may be put into {target}")),
        Some(Ok(MayPut::Unknown)) => Finding::warn(
            about(sink),
            format!(
                "whether records may be put into {target} was not tested: it took one that no stream can hold"
            ),
            "look whether the first records arrive",
        ),
        Some(Err(error)) => refused(sink, target, &error),
    }
}

async fn in_time<T>(asking: impl Future<Output = T>) -> Option<T> {
    timeout(TIMEOUT, asking).await.ok()
}

fn late(sink: &SinkSettings, what: &str) -> Finding {
    let found = format!("{what}: no answer within {} s", TIMEOUT.as_secs());
    Finding::fail(about(sink), found, "look at routes, firewalls and proxies between here and the target")
}

/// Host and port of `https://host:port/path`.
fn host_and_port(endpoint: &str) -> Option<(String, u16)> {
    let uri: hyper::Uri = endpoint.parse().ok()?;
    let usual = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some((host, uri.port_u16().unwrap_or(usual)))
}

async fn dns(sink: &SinkSettings, client: &Kinesis, has_proxy: bool) -> Finding {
    let endpoint = client.endpoint();
    let Some((host, port)) = host_and_port(endpoint) else {
        let found = format!("{endpoint} names no host");
        return Finding::fail(about(sink), found, format!("set endpoint in [sinks.{}]", sink.name));
    };
    let found: BTreeSet<_> = match in_time(lookup_host((host.as_str(), port))).await {
        Some(Ok(addresses)) => addresses.map(|address| address.ip()).collect(),
        Some(Err(error)) if has_proxy => {
            let found = format!("{host} has no address here: {error}");
            return Finding::warn(about(sink), found, "nothing, if the proxy of HTTPS_PROXY knows it");
        }
        Some(Err(error)) => {
            let found = format!("{host} has no address: {error}");
            let remedy = "look at /etc/resolv.conf and the connection, or set endpoint and region right";
            return Finding::fail(about(sink), found, remedy);
        }
        None => return late(sink, &host),
    };
    Finding::ok(about(sink), format!("{host} has {} addresses", found.len()))
}

/// The targets of the streams that are known: by their names, or because a gateway runs and has them.
fn targets(sink: &SinkSettings, subject: &Subject<'_>) -> BTreeSet<String> {
    let named = sink.streams.iter().filter(|name| !name.ends_with('*')).cloned();
    let mut streams: BTreeSet<String> = named.collect();
    if let Some(seen) = &subject.running {
        streams.extend(seen.streams().into_keys().filter(|stream| sink.carries(stream)));
    }
    streams.iter().map(|stream| sink.target_of(stream)).collect()
}

fn refused(sink: &SinkSettings, target: &str, error: &CallError) -> Finding {
    let remedy = match error.class {
        Class::Final(Thing::Stream) if sink.create => {
            return Finding::ok(
                about(sink),
                format!("{target} does not exist yet, and is made (create = true)"),
            );
        }
        Class::Final(Thing::Stream) => {
            format!("make it (`aws kinesis create-stream --stream-name {target}`), or set create = true")
        }
        Class::Final(Thing::Permission) => {
            "allow kinesis:DescribeStreamSummary, ListShards and PutRecords on it".to_owned()
        }
        Class::Final(Thing::Credentials) | Class::Expired => {
            "renew the credentials; these are not taken".to_owned()
        }
        Class::Final(Thing::Certificate) => {
            "set AWS_CA_BUNDLE to the authority that signed the target's certificate; look at the clock"
                .to_owned()
        }
        Class::Final(Thing::Endpoint) => {
            "set endpoint and region: what answers there is not this API".to_owned()
        }
        Class::Final(Thing::EncryptionKey) => "allow the use of the stream's key, or enable it".to_owned(),
        Class::Final(Thing::Request) => format!("look at target in [sinks.{}]", sink.name),
        Class::Skew => "set the clock".to_owned(),
        Class::Throttled | Class::Retry => {
            "wait, or look at the connection; records are kept meanwhile".to_owned()
        }
    };
    Finding::fail(about(sink), error.to_string(), remedy)
}

fn clock(sink: &SinkSettings, client: &Kinesis) -> Option<Finding> {
    let behind_ms = client.clock_behind_ms()?;
    let found = format!("its clock is {:.1} s from ours", seconds(behind_ms.unsigned_abs()));
    Some(match behind_ms.unsigned_abs() > CLOCK_OFF_MAX_MS {
        true => Finding::warn(
            about(sink),
            found,
            "set the clock; signatures are corrected, times of records are not",
        ),
        false => Finding::ok(about(sink), found),
    })
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_say_where_their_host_is() {
        let of = |endpoint| host_and_port(endpoint).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(
            of("https://kinesis.eu-west-1.amazonaws.com"),
            Some("kinesis.eu-west-1.amazonaws.com 443".to_owned())
        );
        assert_eq!(of("http://[::1]:4567/"), Some("::1 4567".to_owned()));
        assert_eq!(of("http://local"), Some("local 80".to_owned()));
        assert_eq!(of("/x"), None);
    }
}
