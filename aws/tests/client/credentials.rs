//! Every source of credentials, asked as it wants to be asked.

mod container;
mod files;
mod instance;
mod renewal;
mod roles;

use crate::support::environment;
use headwater_aws::{Clock, Http, HttpSettings, Provider, ProviderSettings, Source, Timestamp};

pub(crate) fn provider_at(source: Source, pairs: &[(&str, &str)], clock: Clock) -> Provider {
    let http = Http::new(&HttpSettings { clock, ..HttpSettings::default() }).unwrap();
    Provider::new(ProviderSettings { source, environment: environment(pairs), region: None }, &http)
}

pub(crate) fn provider(source: Source, pairs: &[(&str, &str)]) -> Provider {
    provider_at(source, pairs, Clock::system())
}

/// `2015-08-30T12:36:00Z`
pub(crate) fn iso(time: Timestamp) -> String {
    let stamp = time.basic();
    let parts = [&stamp[..4], &stamp[4..6], &stamp[6..8], &stamp[9..11], &stamp[11..13], &stamp[13..15]];
    format!("{}-{}-{}T{}:{}:{}Z", parts[0], parts[1], parts[2], parts[3], parts[4], parts[5])
}

/// Credentials as ECS and EC2 write them, good for an hour from now.
pub(crate) fn written(id: &str) -> String {
    let end = iso(Timestamp::from_ms(Clock::system().now().wall.ms() + 3_600_000));
    format!(
        r#"{{"Code":"Success","AccessKeyId":"{id}","SecretAccessKey":"secret-{id}","Token":"token-{id}","Expiration":"{end}"}}"#
    )
}
