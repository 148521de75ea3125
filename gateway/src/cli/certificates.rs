//! `headwater certificates`: an authority, and certificates that it signs, for the TLS listener and its devices.
//!
//! In: a directory, names. Out: PEM files; private keys are readable by their owner alone. Invariants: nothing is overwritten;
//! all keys are P-256 and certificates small, because devices have room for 2 KiB of both together.
//! Not here: bringing them to a device (`headwater-agent provision`), the listener (`mqtt::tls`).

use super::{Exit, say};
use clap::{Args, Subcommand};
use headwater_telemetry::DeviceId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The subject of every authority made here: what it signs names it, so it must not change. Authorities differ by their keys.
const AUTHORITY: &str = "Headwater authority";

/// Certificates hold until the last day whose year two digits can tell, which is what small parsers read. An authority of one
/// house that ends sooner ends a gateway that nobody has touched for years.
const UNTIL: (i32, u8, u8) = (2049, 12, 31);

/// And from before any device was made, so that a clock that is some days behind does no harm.
const FROM: (i32, u8, u8) = (2024, 1, 1);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The directory of the files.
    #[arg(long, value_name = "DIRECTORY", default_value = "certificates")]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the authority: authority.pem, which everybody trusts, and authority.key.pem, which signs. Once.
    Authority,
    /// Make the gateway's certificate: server.pem and server.key.pem.
    Server {
        /// Names and addresses by which devices reach it. The first is the one to provision them with.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Make the certificate of a device: <device>.pem and <device>.key.pem.
    Device {
        /// Its name, which is also its MQTT client identifier.
        device: String,
    },
}

/// Why nothing was made.
enum Failed {
    Name(String),
    Exists(PathBuf),
    NoAuthority(PathBuf),
    Io(PathBuf, io::Error),
    Signing(rcgen::Error),
}

impl From<rcgen::Error> for Failed {
    fn from(error: rcgen::Error) -> Self {
        Failed::Signing(error)
    }
}

pub(super) fn certificates(options: &Options) -> Exit {
    let made = match &options.command {
        Command::Authority => authority(&options.dir),
        Command::Server { names } => server(&options.dir, names),
        Command::Device { device } => device_certificate(&options.dir, device),
    };
    match made {
        Ok(next) => {
            say(next);
            Exit::Ok
        }
        Err(Failed::Name(what)) => {
            eprintln!("{what}");
            Exit::Usage
        }
        Err(Failed::Exists(path)) => {
            eprintln!(
                "{} exists and is not overwritten; move it away or choose another --dir",
                path.display()
            );
            Exit::Data
        }
        Err(Failed::NoAuthority(path)) => {
            eprintln!(
                "{} does not exist; make the authority first: headwater certificates authority",
                path.display()
            );
            Exit::Data
        }
        Err(Failed::Io(path, error)) => {
            eprintln!("{}: {error}", path.display());
            Exit::Io
        }
        Err(Failed::Signing(error)) => {
            eprintln!("cannot make the certificate: {error}");
            Exit::Data
        }
    }
}

fn authority(dir: &Path) -> Result<String, Failed> {
    let key = new_key()?;
    let certificate = authority_params()?.self_signed(&key)?;
    write(dir, "authority", &certificate.pem(), &key)?;
    Ok(format!(
        "made {0}/authority.pem and {0}/authority.key.pem; keep the key where no device and no gateway is\n\
         next: headwater certificates --dir {0} server <name of the gateway>",
        dir.display()
    ))
}

fn server(dir: &Path, names: &[String]) -> Result<String, Failed> {
    let mut params = params(names)?;
    params.distinguished_name.push(DnType::CommonName, names[0].as_str());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(dir, "server", params)?;
    Ok(format!(
        "made {0}/server.pem and {0}/server.key.pem; in headwater.toml:\n\
         [mqtt.tls]\n\
         listen = \"0.0.0.0:8883\"\n\
         certificate = \"{0}/server.pem\"\n\
         key = \"{0}/server.key.pem\"\n\
         clients = \"{0}/authority.pem\"",
        dir.display()
    ))
}

fn device_certificate(dir: &Path, device: &str) -> Result<String, Failed> {
    let id = DeviceId::parse(device)
        .map_err(|error| Failed::Name(format!("device name \"{device}\": {error}")))?;
    if ["authority", "server"].contains(&device) {
        return Err(Failed::Name(format!(
            "device name \"{device}\" is that of another file here, expected another"
        )));
    }
    let mut params = params(&[id.as_str().to_owned()])?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    sign(dir, device, params)?;
    Ok(format!(
        "made {0}/{device}.pem and {0}/{device}.key.pem; give them to the device:\n\
         headwater-agent provision --port <port> --device {device} --gateway <name of the gateway>:8883 \
         --ca {0}/authority.pem --certificate {0}/{device}.pem --key {0}/{device}.key.pem",
        dir.display()
    ))
}

fn new_key() -> Result<KeyPair, Failed> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

fn params(names: &[String]) -> Result<CertificateParams, Failed> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = date_time_ymd(FROM.0, FROM.1, FROM.2);
    params.not_after = date_time_ymd(UNTIL.0, UNTIL.1, UNTIL.2);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

/// What the authority's own certificate says; all of it follows from its key.
fn authority_params() -> Result<CertificateParams, Failed> {
    let mut params = params(&[])?;
    params.distinguished_name.push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn sign(dir: &Path, name: &str, params: CertificateParams) -> Result<(), Failed> {
    let path = dir.join("authority.key.pem");
    let pem = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failed::NoAuthority(path.clone()),
        _ => Failed::Io(path.clone(), error),
    })?;
    let issuer = Issuer::new(authority_params()?, KeyPair::from_pem(&pem)?);
    let key = new_key()?;
    let certificate = params.signed_by(&key, &issuer)?;
    write(dir, name, &certificate.pem(), &key)
}

/// The key first: a certificate without its key is of no use, a key without a certificate does no harm.
fn write(dir: &Path, name: &str, certificate: &str, key: &KeyPair) -> Result<(), Failed> {
    std::fs::create_dir_all(dir).map_err(|error| Failed::Io(dir.to_owned(), error))?;
    let (key_path, path) = (dir.join(format!("{name}.key.pem")), dir.join(format!("{name}.pem")));
    if path.exists() {
        return Err(Failed::Exists(path));
    }
    create(&key_path, 0o600, &key.serialize_pem())?;
    create(&path, 0o644, certificate)
}

fn create(path: &Path, mode: u32, text: &str) -> Result<(), Failed> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::AlreadyExists => Failed::Exists(path.to_owned()),
        _ => Failed::Io(path.to_owned(), error),
    };
    let mut file = file.map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
