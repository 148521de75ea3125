//! What the command line says about devices on the desk: `devices`, `identify`, `monitor`, `command`, `provision`, `image`.

mod settings;
mod show;

use self::settings::{Settings, duration, millis, provisioning};
use self::show::{escaped, members, say, show_batch, shown};
use clap::{Args, Subcommand, ValueEnum};
use headwater_agent::tools::{Line, Provisioning, TalkError, image_bytes, open_serial, provision, uf2};
use headwater_device::partition;
use headwater_telemetry::{ChannelId, Hello, Order, Up};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

use crate::{EX_CANTCREAT, EX_IOERR, EX_UNAVAILABLE, EX_USAGE, Failure};

/// How long `devices` listens to each port: a device that nobody answers says hello every four seconds.
const LISTEN: Duration = Duration::from_secs(25);

#[derive(Subcommand)]
pub(crate) enum Desk {
    /// Lists the devices on serial ports; the agent must not hold them
    Devices {
        /// Ports; without any, all USB serial ports
        #[arg(long = "port", value_name = "PORT")]
        ports: Vec<PathBuf>,
        #[command(flatten)]
        form: Form,
    },
    /// Makes a device blink
    Identify(Port),
    /// Shows what a device says. Its data stays its own: only the oldest batch is seen, unless --take
    Monitor {
        #[command(flatten)]
        port: Port,
        #[command(flatten)]
        form: Form,
        /// Takes the batches from the device: they are shown here and kept nowhere
        #[arg(long)]
        take: bool,
    },
    /// Asks a device for something
    Command {
        #[command(flatten)]
        port: Port,
        #[command(subcommand)]
        what: Asked,
    },
    /// Gives a device a name and, for one with a network, a gateway; then restarts it
    Provision {
        #[command(flatten)]
        port: Port,
        #[command(flatten)]
        settings: Settings,
    },
    /// Makes an image of the same settings, to be flashed
    Image {
        /// The board, as its folder under firmware/boards is called
        #[arg(long)]
        board: String,
        /// Where to; it holds secrets and is readable by its owner alone
        #[arg(long, short)]
        output: PathBuf,
        /// Bytes as they are, or a file for boot loaders that are drives
        #[arg(long, default_value = "raw")]
        format: Format,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Subcommand)]
pub(crate) enum Asked {
    /// Store what is open and start anew
    Reboot,
    /// Read this often from now on
    Period {
        /// Such as 500ms, 10s, 5m; 0s is the firmware's own
        #[arg(value_parser = duration)]
        period: Duration,
        /// One channel, by its number; without it all
        #[arg(long)]
        channel: Option<u8>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    Raw,
    Uf2,
}

#[derive(Args)]
pub(crate) struct Form {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct Port {
    /// The serial port, best by its name under /dev/serial/by-id
    #[arg(long)]
    port: PathBuf,
    #[arg(long, default_value_t = 115_200)]
    baud: u32,
}

pub(crate) fn run(desk: Desk) -> Result<(), Failure> {
    if let Desk::Image { board, output, format, settings } = &desk {
        return make_image(board, output, *format, &provisioning(settings)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| (EX_IOERR, format!("no runtime: {error}")))?;
    runtime.block_on(async {
        match desk {
            Desk::Devices { ports, form } => devices(ports, &form).await,
            Desk::Identify(port) => {
                with(&port, async |line, hello| line.order(hello, Order::Identify, "identify").await).await
            }
            Desk::Monitor { port, form, take } => monitor(&port, &form, take).await,
            Desk::Command { port, what } => {
                with(&port, async |line, hello| match what {
                    Asked::Reboot => line.reboot(hello).await.map(|hello| say(&shown(&hello))),
                    Asked::Period { period, channel } => {
                        let order =
                            Order::Period { channel: channel.map(ChannelId), period_ms: millis(period) };
                        line.order(hello, order, "a period of 10 ms to a day, for a channel it has").await
                    }
                })
                .await
            }
            Desk::Provision { port, settings } => {
                let what = provisioning(&settings)?;
                let (stream, _lock) = open_serial(&port.port, port.baud).map_err(failure)?;
                let hello = provision(&mut Line::new(stream), &what).await.map_err(failure)?;
                say(&format!("provisioned\n{}", shown(&hello)));
                Ok(())
            }
            Desk::Image { .. } => unreachable!("handled above, it needs no runtime"),
        }
    })
}

type Serial = serial2_tokio::SerialPort;

/// Opens the port, learns who is there, and asks.
async fn with(
    port: &Port,
    ask: impl AsyncFnOnce(&mut Line<Serial>, &Hello) -> Result<(), TalkError>,
) -> Result<(), Failure> {
    let (stream, _lock) = open_serial(&port.port, port.baud).map_err(failure)?;
    let mut line = Line::new(stream);
    let hello = line.hello().await.map_err(failure)?;
    ask(&mut line, &hello).await.map_err(failure)?;
    say(&format!("{}: done", hello.device));
    Ok(())
}

fn failure(error: TalkError) -> Failure {
    let code = match error {
        TalkError::Io(_) => EX_IOERR,
        _ => EX_UNAVAILABLE,
    };
    (code, error.to_string())
}

async fn devices(ports: Vec<PathBuf>, form: &Form) -> Result<(), Failure> {
    let ports = if ports.is_empty() { plugged_in() } else { ports };
    if ports.is_empty() {
        return Err((
            EX_UNAVAILABLE,
            "no serial port is there, expected /dev/serial/by-id/… or --port".to_owned(),
        ));
    }
    let mut found = tokio::task::JoinSet::new();
    for port in ports {
        found.spawn(async move {
            let heard = match open_serial(&port, 115_200) {
                Ok((stream, _lock)) => {
                    let mut line = Line::new(stream);
                    tokio::time::timeout(LISTEN, line.hello())
                        .await
                        .unwrap_or(Err(TalkError::Silent(LISTEN.as_secs())))
                }
                Err(error) => Err(error),
            };
            (port, heard)
        });
    }
    while let Some(done) = found.join_next().await {
        let Ok((port, heard)) = done else { continue };
        let port = port.display();
        match (heard, form.json) {
            (Ok(hello), false) => say(&format!("{port}\n  {}", shown(&hello))),
            (Ok(hello), true) => say(&format!("{{\"port\":\"{port}\",{}}}", members(&hello))),
            (Err(error), false) => say(&format!("{port}\n  {error}")),
            (Err(error), true) => {
                say(&format!("{{\"port\":\"{port}\",\"error\":\"{}\"}}", escaped(&error.to_string())))
            }
        }
    }
    Ok(())
}

/// USB serial ports by the names that survive another socket; without such names those that look like it.
fn plugged_in() -> Vec<PathBuf> {
    let list = |folder: &str, wanted: fn(&str) -> bool| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut ports: Vec<PathBuf> = entries
            .filter(|entry| entry.file_name().to_str().is_some_and(wanted))
            .map(|entry| entry.path())
            .collect();
        ports.sort();
        ports
    };
    let by_id = list("/dev/serial/by-id", |_| true);
    if by_id.is_empty() {
        list("/dev", |name| name.starts_with("ttyACM") || name.starts_with("ttyUSB"))
    } else {
        by_id
    }
}

async fn monitor(port: &Port, form: &Form, take: bool) -> Result<(), Failure> {
    let (stream, _lock) = open_serial(&port.port, port.baud).map_err(failure)?;
    let mut line = Line::new(stream);
    let mut hello = line.hello().await.map_err(failure)?;
    say(&if form.json { format!("{{{}}}", members(&hello)) } else { shown(&hello) });
    let mut last = None;
    loop {
        let far = Instant::now() + Duration::from_secs(3_600);
        match line.hear(far).await.map_err(failure)? {
            Some(Up::Hello(news)) => {
                if news.boot != hello.boot {
                    say(&if form.json { format!("{{{}}}", members(&news)) } else { shown(&news) });
                }
                hello = news;
            }
            Some(Up::Batch(batch)) => {
                // The same again, as long as nobody takes it.
                if last.replace((batch.boot, batch.first)) != Some((batch.boot, batch.first)) {
                    show_batch(&hello, &batch, form.json);
                }
                if take {
                    line.take(&batch).await.map_err(failure)?;
                }
            }
            Some(Up::Log(log)) => {
                let text = escaped(&log.text);
                say(&if form.json {
                    format!("{{\"log\":\"{text}\"}}")
                } else {
                    format!("log: {}", log.text)
                });
            }
            _ => {}
        }
    }
}

fn make_image(board: &str, output: &Path, format: Format, what: &Provisioning) -> Result<(), Failure> {
    let partition = partition::of(board).ok_or_else(|| {
        let known: Vec<&str> = partition::ALL.iter().map(|partition| partition.board).collect();
        (EX_USAGE, format!("--board \"{board}\" is not known, expected one of {}", known.join(", ")))
    })?;
    let image = image_bytes(partition, what).map_err(|error| (EX_USAGE, error.to_string()))?;
    let bytes = match (format, partition.uf2_family) {
        (Format::Raw, _) => image.bytes.clone(),
        (Format::Uf2, Some(family)) => uf2(&image.bytes, image.address, family),
        (Format::Uf2, None) => {
            return Err((EX_USAGE, format!("board {board} takes no UF2, expected --format raw")));
        }
    };
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(output);
    let failed = |error: std::io::Error| (EX_CANTCREAT, format!("{}: {error}", output.display()));
    let mut file = file.map_err(failed)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    let (path, address) = (output.display(), image.address);
    say(&match (format, board) {
        (Format::Uf2, _) => format!("copy {path} to the drive of the boot loader"),
        (Format::Raw, "esp32c3") => format!("espflash write-bin {address:#x} {path}"),
        (Format::Raw, "nrf52840") => format!(
            "probe-rs download --chip nRF52840_xxAA --binary-format bin --base-address {address:#x} {path}"
        ),
        (Format::Raw, "pico-w") => {
            format!("probe-rs download --chip RP2040 --binary-format bin --base-address {address:#x} {path}")
        }
        (Format::Raw, _) => format!("dd if={path} of=flash.bin bs=1 seek={address} conv=notrunc"),
    });
    Ok(())
}
