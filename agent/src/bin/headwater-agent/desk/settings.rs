//! Settings of a device as the command line has them; secrets come from files and from people, never from arguments.

use clap::Args;
use headwater_agent::tools::{Files, Provisioning, load};
use headwater_telemetry::{Config, DeviceId, Network, Secret, Uplink, bounded};
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{EX_IOERR, EX_USAGE, Failure};

#[derive(Args)]
pub(crate) struct Settings {
    /// Its name: letters, digits, . _ -
    #[arg(long)]
    device: String,
    /// Where a networked device sends: host, or host:port (1883, with credentials 8883)
    #[arg(long, value_name = "HOST[:PORT]")]
    gateway: Option<String>,
    /// Its user name at the gateway; the password is asked for, or read from --password-file
    #[arg(long, requires = "gateway")]
    user: Option<String>,
    /// A file with the password; - is standard input
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// The Wi-Fi network; its passphrase is asked for, or read from --wifi-password-file
    #[arg(long, value_name = "SSID")]
    wifi: Option<String>,
    /// A file with the passphrase; - is standard input. An empty one is for an open network
    #[arg(long, value_name = "FILE", requires = "wifi")]
    wifi_password_file: Option<PathBuf>,
    /// Time between two readings of a channel, such as 10s. Default: the firmware's
    #[arg(long, value_parser = duration)]
    period: Option<Duration>,
    /// Age at which a batch is stored: what a power cut takes. Default: the firmware's
    #[arg(long, value_parser = duration)]
    batch_age: Option<Duration>,
    /// The authority that signed the gateway's certificate, PEM or DER. With --certificate and --key: TLS
    #[arg(long, value_name = "FILE", requires_all = ["certificate", "key", "gateway"])]
    ca: Option<PathBuf>,
    /// The device's certificate
    #[arg(long, value_name = "FILE", requires = "ca")]
    certificate: Option<PathBuf>,
    /// Its private key, P-256
    #[arg(long, value_name = "FILE", requires = "ca")]
    key: Option<PathBuf>,
    /// The name in the gateway's certificate. Default: the host
    #[arg(long, value_name = "NAME", requires = "ca")]
    server_name: Option<String>,
    /// Removes credentials that the device has
    #[arg(long, conflicts_with = "ca")]
    no_credentials: bool,
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

pub(super) fn provisioning(settings: &Settings) -> Result<Provisioning, Failure> {
    let usage = |text: String| (EX_USAGE, text);
    let device = DeviceId::parse(&settings.device)
        .map_err(|error| usage(format!("--device \"{}\": {error}", settings.device)))?;
    let too_long = |what: &'static str| move |error| usage(format!("{what}: {error:?}"));
    let network = match &settings.wifi {
        None => None,
        Some(ssid) => Some(Network {
            ssid: bounded(ssid).map_err(too_long("--wifi"))?,
            passphrase: secret(settings.wifi_password_file.as_deref(), &format!("passphrase of {ssid}"))?,
        }),
    };
    let default_port = if settings.ca.is_some() { 8883 } else { 1883 };
    let gateway = settings.gateway.as_deref().map(|text| {
        let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        let port = port.map_or(Ok(default_port), str::parse::<u16>);
        port.map(|port| (host, port))
            .map_err(|_| usage(format!("--gateway \"{text}\": expected host or host:port")))
    });
    let gateway = gateway.transpose()?;
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
    let credentials = credentials(settings, gateway.map(|(host, _)| host))?;
    let (period_ms, batch_age_ms) = (settings.period.map_or(0, millis), settings.batch_age.map_or(0, millis));
    let config = Config { device, network, uplink, period_ms, batch_age_ms };
    Ok(Provisioning { config, credentials, without_credentials: settings.no_credentials })
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

/// A secret from a file, or from the person at the terminal, who does not see it.
fn secret(file: Option<&Path>, what: &str) -> Result<Secret, Failure> {
    let text = match file {
        Some(path) if path == Path::new("-") => {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).map_err(|error| (EX_IOERR, error.to_string()))?;
            line
        }
        Some(path) => {
            let mut text = String::new();
            let read = std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text));
            read.map_err(|error| (EX_IOERR, format!("{}: {error}", path.display())))?;
            text
        }
        None => asked(what)?,
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Secret::new(text).map_err(|error| {
        (EX_USAGE, format!("{what} has {} bytes, expected at most {}", error.len, error.max))
    })
}

fn asked(what: &str) -> Result<String, Failure> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err((
            EX_USAGE,
            format!("{what} is asked for on a terminal, expected one, or a file with it"),
        ));
    }
    let failed = |error: rustix::io::Errno| (EX_IOERR, format!("terminal: {error}"));
    let before = tcgetattr(&stdin).map_err(failed)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let _ = write!(std::io::stderr(), "{what}: ");
    tcsetattr(&stdin, OptionalActions::Now, &silent).map_err(failed)?;
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Now, &before).map_err(failed)?;
    let _ = writeln!(std::io::stderr());
    read.map(|_| line).map_err(|error| (EX_IOERR, error.to_string()))
}
