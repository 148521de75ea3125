//! What a sink is told: which streams, where to, how fast, and what to do when it does not get rid of them.

use headwater_aws::{
    Credentials, Environment, FormatChoice, IotSettings, KinesisSettings, RoleSettings, Source, Timestamp,
};
use headwater_relay::Delays;
use std::time::Duration;

/// `[sinks.<name>]`: streams on their way to Amazon Kinesis, or to whatever speaks its API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSettings {
    /// Its name: in logs, metrics, and where its checkpoints are kept.
    pub name: String,
    /// The streams it carries: names, and beginnings of names with a `*` behind them.
    pub streams: Vec<String>,
    /// Name or ARN of the target stream; `{stream}` stands for ours.
    pub target: String,
    /// Region; none: what environment and shared files say.
    pub region: Option<String>,
    /// URL of the endpoint; none: what environment and shared files say, else the region's.
    pub endpoint: Option<String>,
    /// Profile of the shared files.
    pub profile: Option<String>,
    /// Whose credentials.
    pub credentials: CredentialsFrom,
    /// A role to assume with them.
    pub role: Option<RoleSettings>,
    /// JSON or CBOR.
    pub format: FormatChoice,
    /// How long a call may take with all that it tries.
    pub timeout: Duration,
    /// Whether a target stream that does not exist is made, with as many shards as ours has.
    pub create: bool,
    /// Whether records are packed into those of the Kinesis Producer Library.
    pub aggregate: bool,
    /// Where a sink begins with a stream it never carried.
    pub start: Start,
    /// Whether records wait for this sink, past their retention.
    pub required: bool,
    /// Bytes on the disk that may wait for it, for each stream; 0: as many as the journal takes.
    pub waiting_bytes_max: u64,
    /// What happens when so many wait.
    pub when_full: WhenFull,
    /// Times a record is tried before it is a dead letter.
    pub tries: u32,
    /// Calls on their way at once.
    pub calls: usize,
    /// Whether the target's shards have AWS's rates: 1 MiB and 1,000 records a second each.
    pub is_paced: bool,
    /// Delays after failures.
    pub retry: Delays,
    /// How a backlog is drained.
    pub drain: Drain,
}

/// Whose credentials a sink signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialsFrom {
    /// What AWS's own tools would take.
    Auto,
    /// For targets that check none.
    Unchecked,
    /// AWS IoT Core's credentials endpoint.
    Iot(IotSettings),
}

/// What happens when as much waits for a sink as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The stream takes no records: publishers are not acknowledged and keep what they have.
    Block,
    /// The sink does without the oldest, counted and written down among the dead letters.
    DropOldest,
    /// The sink does without what comes from then on, until there is room again; counted and written down among the dead letters.
    DropNewest,
}

/// Where a sink begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record that is kept.
    Oldest,
    /// With what comes from now on.
    Newest,
}

/// How a backlog is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Percent of the link that fresh records may have before old ones.
    pub live_share_percent: u8,
    /// Bytes a second on the link at most; 0: no limit.
    pub rate_bytes: u64,
    /// Which records of a backlog go first.
    pub order: Order,
}

/// Which records of a backlog go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The oldest; each key stays in order.
    Oldest,
    /// The newest; what is behind comes later, so a key's records arrive in two rows.
    Newest,
}

impl SinkSettings {
    /// Whether it carries this stream.
    #[must_use]
    pub fn carries(&self, stream: &str) -> bool {
        self.streams.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => stream.starts_with(beginning),
            None => stream == pattern,
        })
    }

    /// The target of this stream.
    #[must_use]
    pub fn target_of(&self, stream: &str) -> String {
        self.target.replace("{stream}", stream)
    }

    /// Whether it carries the target of a stream it carries, by their names.
    #[must_use]
    pub fn circles(&self) -> bool {
        self.streams.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => self.carries(&self.target_of(&format!("{beginning}x"))),
            None => self.carries(&self.target_of(pattern)),
        })
    }

    /// The client for it. It is certainly not earlier than `not_before`.
    #[must_use]
    pub fn client(&self, environment: Environment, not_before: Timestamp) -> KinesisSettings {
        let base = match &self.credentials {
            CredentialsFrom::Auto => None,
            CredentialsFrom::Unchecked => {
                Some(Source::Fixed(Credentials::new("headwater", "headwater", None)))
            }
            CredentialsFrom::Iot(iot) => Some(Source::Iot(iot.clone())),
        };
        let source = match &self.role {
            None => base,
            Some(role) => {
                let usual = || match &self.profile {
                    Some(profile) => Source::Profile(Some(profile.clone())),
                    None => Source::chain(),
                };
                Some(Source::Role(role.clone(), Box::new(base.unwrap_or_else(usual))))
            }
        };
        KinesisSettings {
            // A board without a clock starts in 1970, when no certificate is valid yet.
            not_before,
            profile: self.profile.clone(),
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            source,
            format: self.format,
            timeout: self.timeout,
            ..KinesisSettings::of(environment)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config;

    #[test]
    fn a_sink_carries_the_streams_it_names() {
        let text = "[sinks.cloud]\nstreams = [\"telemetry\", \"barn-*\"]\ntarget = \"farm-{stream}\"";
        let loaded = config::parse("h.toml", text).unwrap();
        let sink = &loaded.config.sinks[0];
        assert!(sink.carries("telemetry") && sink.carries("barn-1"));
        assert!(!sink.carries("telemetry-2") && !sink.carries("barn"));
        assert_eq!(sink.target_of("barn-1"), "farm-barn-1");
    }
}
