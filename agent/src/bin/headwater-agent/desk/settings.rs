//! Settings of a device as the command line has them; secrets come from files and from people, never from arguments.

use super::secret::{passphrase, secret};
use clap::Args;
use headwater_agent::tools::{Files, Provisioning, load};
use headwater_telemetry::{Config, DeviceId, Network, Secret, TooLong, Uplink, bounded};
use std::path::PathBuf;
use std::time::Duration;

use crate::{EX_USAGE, Failure};

#[derive(Args)]
pub(crate) struct Settings {
    /// Its name: up to 32 letters, digits, . _ -
    #[arg(long, value_name = "NAME")]
    device: String,
    /// Where a networked device sends. Default port: 1883, with --ca 8883
    #[arg(long, value_name = "HOST[:PORT]")]
    gateway: Option<String>,
    /// Its user name at the gateway; the password is asked for, or read from --password-file
    #[arg(long, value_name = "NAME", requires = "gateway")]
    user: Option<String>,
    /// A file with the password; - is a line of standard input, after that of the passphrase
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// The Wi-Fi network; its passphrase is asked for, or read from --wifi-password-file
    #[arg(long, value_name = "SSID", requires = "gateway")]
    wifi: Option<String>,
    /// A file with the passphrase; - is a line of standard input. An empty one is for an open network
    #[arg(long, value_name = "FILE", requires = "wifi")]
    wifi_password_file: Option<PathBuf>,
    /// Time between two readings of a channel, such as 10s; 10ms to 24h. Default: the firmware's
    #[arg(long, value_name = "TIME", value_parser = duration)]
    period: Option<Duration>,
    /// Age at which a batch is stored: what a power cut takes; up to 1h. Default: the firmware's
    #[arg(long, value_name = "TIME", value_parser = duration)]
    batch_age: Option<Duration>,
    /// The authority that signed the gateway's certificate, PEM or DER. With --certificate and --key: TLS
    #[arg(long, value_name = "FILE", requires_all = ["certificate", "key", "gateway"])]
    ca: Option<PathBuf>,
    /// The device's certificate, PEM or DER
    #[arg(long, value_name = "FILE", requires = "ca")]
    certificate: Option<PathBuf>,
    /// Its private key, P-256, without passphrase, PEM or DER
    #[arg(long, value_name = "FILE", requires = "ca")]
    key: Option<PathBuf>,
    /// The name that the gateway's certificate must have. Default: the host of --gateway
    #[arg(long, value_name = "NAME", requires = "ca")]
    server_name: Option<String>,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: Option<u64> = text[..digits].parse().ok();
    let unit_ms = match &text[digits..] {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let millis = number.zip(unit_ms).and_then(|(number, unit)| number.checked_mul(unit));
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| "expected a number with its unit: 500ms, 10s, 5m, 1h".to_owned())
}

pub(super) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// What the settings mean; secrets are asked for where they are not in files.
pub(super) fn provisioning(settings: &Settings, removes_credentials: bool) -> Result<Provisioning, Failure> {
    let usage = |text: String| (EX_USAGE, text);
    let device = DeviceId::parse(&settings.device)
        .map_err(|error| usage(format!("--device \"{}\": {error}", settings.device)))?;
    let too_long = |what: &'static str| {
        move |error: TooLong| usage(format!("{what} has {} bytes, expected at most {}", error.len, error.max))
    };
    let default_port = if settings.ca.is_some() { 8883 } else { 1883 };
    let gateway = settings.gateway.as_deref().map(|text| host_and_port(text, default_port)).transpose()?;
    // Before a person is asked for secrets.
    let credentials = credentials(settings, gateway.map(|(host, _)| host))?;
    let network = match &settings.wifi {
        None => None,
        Some(ssid) => Some(Network {
            ssid: bounded(ssid).map_err(too_long("--wifi"))?,
            passphrase: passphrase(settings.wifi_password_file.as_deref(), ssid)?,
        }),
    };
    let uplink = match gateway {
        None => None,
        Some((host, port)) => Some(Uplink {
            host: bounded(host).map_err(too_long("--gateway"))?,
            port,
            user: bounded(settings.user.as_deref().unwrap_or("")).map_err(too_long("--user"))?,
            password: match &settings.user {
                Some(user) => secret(settings.password_file.as_deref(), &format!("password of {user}"))?,
                None => Secret::default(),
            },
        }),
    };
    let (period_ms, batch_age_ms) = (settings.period.map_or(0, millis), settings.batch_age.map_or(0, millis));
    let config = Config { device, network, uplink, period_ms, batch_age_ms };
    Provisioning::new(config, credentials, removes_credentials).map_err(|error| usage(error.to_string()))
}

/// A name or an IPv4 address, which is what devices can look up.
fn host_and_port(text: &str, default_port: u16) -> Result<(&str, u16), Failure> {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let port = port.map_or(Some(default_port), |port| port.parse().ok()).filter(|&port| port > 0);
    let is_host = |host: &str| {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
        !host.is_empty() && host.chars().all(allowed)
    };
    port.filter(|_| is_host(host)).map(|port| (host, port)).ok_or_else(|| {
        (EX_USAGE, format!("--gateway \"{text}\": expected a name or an IPv4 address, and maybe :port"))
    })
}

fn credentials(settings: &Settings, host: Option<&str>) -> Result<Option<(Files, String)>, Failure> {
    let (Some(ca), Some(certificate), Some(key)) = (&settings.ca, &settings.certificate, &settings.key)
    else {
        return Ok(None);
    };
    let files = load(ca, certificate, key).map_err(|error| (EX_USAGE, error.to_string()))?;
    let name = settings.server_name.as_deref().or(host).unwrap_or_default();
    Ok(Some((files, name.to_owned())))
}
