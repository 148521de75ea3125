//! What the file says, before anything is checked. Unknown keys are errors. The meaning, unit and default of each key
//! stand in `headwater-agent.sample.toml`, which a test parses.

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) agent: RawAgent,
    pub(super) links: Vec<RawLink>,
    pub(super) devices: RawDevices,
    pub(super) spool: RawSpool,
    pub(super) uplink: RawUplink,
    pub(super) http: RawHttp,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAgent {
    pub(super) name: Option<String>,
    pub(super) state: Option<String>,
    pub(super) log: Option<String>,
    pub(super) log_level: Option<String>,
    pub(super) status_every: Option<String>,
    pub(super) time_quality: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLink {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) listen: Option<String>,
    pub(super) connections_max: Option<usize>,
    pub(super) idle: Option<String>,
    pub(super) path: Option<String>,
    pub(super) ports: Option<Vec<String>>,
    pub(super) exclude: Option<Vec<String>>,
    pub(super) baud: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDevices {
    pub(super) allow: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSpool {
    pub(super) max: Option<String>,
    pub(super) reserve: Option<String>,
    pub(super) segment: Option<String>,
    pub(super) linger: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawUplink {
    pub(super) gateway: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) password_file: Option<String>,
    pub(super) tls: Option<RawTls>,
    pub(super) keep_alive: Option<String>,
    pub(super) connect_timeout: Option<String>,
    pub(super) in_flight: Option<u16>,
    pub(super) in_flight_bytes: Option<String>,
    pub(super) packet_max: Option<String>,
    pub(super) retry: RawRetry,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTls {
    pub(super) authority: Option<String>,
    pub(super) name: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRetry {
    pub(super) base: Option<String>,
    pub(super) max: Option<String>,
    pub(super) stable: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHttp {
    pub(super) listen: Option<String>,
}
