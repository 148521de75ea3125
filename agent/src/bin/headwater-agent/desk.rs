//! What the command line says about devices on the desk: `devices`, `identify`, `monitor`, `command`, `provision`, `image`.

mod secret;
mod settings;
mod show;

use self::settings::{Settings, duration, millis, provisioning};
use self::show::{note, say, show_batch, show_hello, show_log, show_port};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use headwater_agent::tools::{HELLO_TIMEOUT, Line, TalkError, image_bytes, plugged_in, provision, uf2};
use headwater_device::partition::{self, Partition};
use headwater_telemetry::{ChannelId, Hello, Order, Up};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

use crate::{EX_CANTCREAT, EX_IOERR, EX_UNAVAILABLE, EX_USAGE, Failure};

#[derive(Subcommand)]
pub(crate) enum Desk {
    /// Lists the devices on serial ports, with name, firmware and channels. A port that the agent holds is said to be in use
    Devices {
        /// A port, and another; without any all USB serial ports, by their names under /dev/serial/by-id
        #[arg(long = "port", value_name = "PORT")]
        ports: Vec<PathBuf>,
        #[command(flatten)]
        baud: Baud,
        #[command(flatten)]
        form: Form,
    },
    /// Makes a device blink
    Identify(Port),
    /// Shows what a device says, until Ctrl-C. Its data stays its own: only the oldest batch is seen, unless --take
    Monitor {
        #[command(flatten)]
        port: Port,
        #[command(flatten)]
        form: Form,
        /// Takes the batches from the device: they are shown here and kept nowhere
        #[arg(long)]
        take: bool,
    },
    /// Has a device do something
    Command {
        #[command(subcommand)]
        what: Asked,
    },
    /// Gives a device its name, periods, network and gateway, all of them anew, and restarts it; its credentials stay
    Provision {
        #[command(flatten)]
        port: Port,
        #[command(flatten)]
        settings: Settings,
        /// Removes certificate and key that the device has; without this and --ca it keeps them
        #[arg(long, conflicts_with = "ca")]
        no_credentials: bool,
    },
    /// Makes an image of such settings for a board that was never used, to be flashed beside its firmware
    Image {
        /// The board, as its folder under firmware/boards is called
        #[arg(long, value_parser = board())]
        board: &'static Partition,
        /// Where to; it holds secrets and is readable by its owner alone
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
        /// Bytes as they are, or a file for boot loaders that are drives
        #[arg(long, default_value = "raw")]
        format: Format,
        #[command(flatten)]
        settings: Settings,
    },
}

fn board() -> impl TypedValueParser<Value = &'static Partition> {
    let names = PossibleValuesParser::new(partition::ALL.map(|partition| partition.board));
    names.try_map(|name| partition::of(&name).ok_or("no such board"))
}

#[derive(Subcommand)]
pub(crate) enum Asked {
    /// Store what is open and start anew
    Reboot(Port),
    /// Read this often from now on, over restarts as well
    Period {
        #[command(flatten)]
        port: Port,
        /// 10ms to 24h, such as 500ms, 10s, 5m; 0s takes it back, so that the provisioned period holds, or the firmware's own
        #[arg(value_name = "TIME", value_parser = duration)]
        period: Duration,
        /// One channel, by its name; without it all
        #[arg(long, value_name = "NAME")]
        channel: Option<String>,
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
pub(crate) struct Baud {
    /// Bits a second; USB devices take any
    #[arg(long, value_name = "RATE", default_value_t = 115_200)]
    baud: u32,
}

#[derive(Args)]
pub(crate) struct Port {
    /// The serial port, best by its name under /dev/serial/by-id
    #[arg(long, value_name = "PORT")]
    port: PathBuf,
    #[command(flatten)]
    baud: Baud,
}

impl Port {
    fn open(&self) -> Result<Line, Failure> {
        Line::open(&self.port, self.baud.baud).map_err(failure)
    }
}

pub(crate) fn run(desk: Desk) -> Result<(), Failure> {
    // What a person says is judged, and asked for, before a port is touched.
    let (desk, settings) = match desk {
        Desk::Image { board, output, format, settings } => {
            return make_image(board, &output, format, &settings);
        }
        Desk::Provision { ref settings, no_credentials, .. } => {
            let settings = provisioning(settings, no_credentials)?;
            (desk, Some(settings))
        }
        other => (other, None),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| (EX_IOERR, format!("no runtime: {error}")))?;
    runtime.block_on(async {
        match (desk, settings) {
            (Desk::Devices { ports, baud, form }, _) => devices(ports, baud.baud, &form).await,
            (Desk::Identify(port), _) => identify(&port).await,
            (Desk::Monitor { port, form, take }, _) => monitor(&port, &form, take).await,
            (Desk::Command { what: Asked::Reboot(port) }, _) => reboot(&port).await,
            (Desk::Command { what: Asked::Period { port, period, channel } }, _) => {
                set_period(&port, period, channel.as_deref()).await
            }
            (Desk::Provision { port, .. }, Some(settings)) => {
                let hello = provision(&mut port.open()?, &settings).await.map_err(failure)?;
                say("provisioned");
                show_hello(&hello, false);
                Ok(())
            }
            (Desk::Provision { .. } | Desk::Image { .. }, _) => unreachable!("handled above"),
        }
    })
}

fn failure(error: TalkError) -> Failure {
    let code = match error {
        TalkError::Io(_) => EX_IOERR,
        TalkError::Channel { .. } => EX_USAGE,
        _ => EX_UNAVAILABLE,
    };
    (code, error.to_string())
}

async fn identify(port: &Port) -> Result<(), Failure> {
    let mut line = port.open()?;
    let hello = line.hello().await.map_err(failure)?;
    line.order(&hello, Order::Identify, "to show itself").await.map_err(failure)?;
    say(&format!("{} blinks", hello.device));
    Ok(())
}

async fn reboot(port: &Port) -> Result<(), Failure> {
    let mut line = port.open()?;
    let hello = line.hello().await.map_err(failure)?;
    let hello = line.reboot(&hello).await.map_err(failure)?;
    say("restarted");
    show_hello(&hello, false);
    Ok(())
}

async fn set_period(port: &Port, period: Duration, channel: Option<&str>) -> Result<(), Failure> {
    let mut line = port.open()?;
    let hello = line.hello().await.map_err(failure)?;
    let id = channel.map(|name| channel_of(&hello, name)).transpose().map_err(failure)?;
    let order = Order::Period { channel: id, period_ms: millis(period) };
    line.order(&hello, order, "this period, expected 10 ms to a day").await.map_err(failure)?;
    let what = channel.unwrap_or("everything");
    say(&match period.as_millis() {
        0 => format!("{} reads {what} by its own period again", hello.device),
        period_ms => format!("{} reads {what} every {period_ms} ms", hello.device),
    });
    Ok(())
}

fn channel_of(hello: &Hello, wanted: &str) -> Result<ChannelId, TalkError> {
    let found = hello.channels.iter().position(|channel| channel.name == wanted);
    found.and_then(|index| u8::try_from(index).ok()).map(ChannelId).ok_or_else(|| TalkError::Channel {
        device: hello.device.clone(),
        wanted: wanted.to_owned(),
        channels: hello.channels.iter().map(|channel| channel.name.to_string()).collect(),
    })
}

async fn devices(ports: Vec<PathBuf>, baud: u32, form: &Form) -> Result<(), Failure> {
    let ports = if ports.is_empty() { plugged_in(Path::new("/dev")) } else { ports };
    if ports.is_empty() {
        let text = "no USB serial port is there, expected one under /dev/serial/by-id, or --port";
        return Err((EX_UNAVAILABLE, text.to_owned()));
    }
    note(&format!("listening for up to {} s", HELLO_TIMEOUT.as_secs()));
    let mut found = tokio::task::JoinSet::new();
    for port in ports {
        found.spawn(async move {
            let heard = match Line::open(&port, baud) {
                Ok(mut line) => line.overhear().await,
                Err(error) => Err(error),
            };
            (port, heard)
        });
    }
    while let Some(done) = found.join_next().await {
        let (port, heard) = done.expect("listening does not panic");
        let heard = heard.map_err(|error| match error {
            // The port is said already.
            TalkError::Busy(_) => "in use by another program, the agent most likely".to_owned(),
            TalkError::Open { source, .. } => source.to_string(),
            other => other.to_string(),
        });
        show_port(&port, heard, form.json);
    }
    Ok(())
}

async fn monitor(port: &Port, form: &Form, take: bool) -> Result<(), Failure> {
    let mut line = port.open()?;
    note(if take {
        "batches are taken from the device: they are shown here and kept nowhere else"
    } else {
        "nothing is taken from the device: it offers its oldest batch again and again, which is shown once; --take takes it, and what follows"
    });
    let mut hello = line.hello().await.map_err(failure)?;
    show_hello(&hello, form.json);
    let mut last = None;
    loop {
        let far = Instant::now() + Duration::from_secs(3_600);
        let heard = match line.hear(far).await {
            Err(TalkError::Io(error)) => {
                note(&format!("port is gone ({error}), waiting for it"));
                line.reopen(far).await.map_err(failure)?;
                continue;
            }
            heard => heard.map_err(failure)?,
        };
        match heard {
            Some(Up::Hello(news)) => {
                if news != hello {
                    show_hello(&news, form.json);
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
            Some(Up::Log(log)) => show_log(&log, form.json),
            _ => {}
        }
    }
}

fn make_image(
    partition: &Partition,
    output: &Path,
    format: Format,
    settings: &Settings,
) -> Result<(), Failure> {
    let board = partition.board;
    if matches!((format, partition.uf2_family), (Format::Uf2, None)) {
        return Err((EX_USAGE, format!("board {board} takes no UF2, expected --format raw")));
    }
    let what = provisioning(settings, false)?;
    let image = image_bytes(partition, &what).map_err(|error| (EX_USAGE, error.to_string()))?;
    let bytes = match (format, partition.uf2_family) {
        (Format::Uf2, Some(family)) => uf2(&image.bytes, image.address, family),
        _ => image.bytes.clone(),
    };
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(output);
    let failed = |error: std::io::Error| (EX_CANTCREAT, format!("{}: {error}", output.display()));
    let mut file = file.map_err(failed)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    let (path, address) = (output.display(), image.address);
    let next = match (format, board) {
        (Format::Uf2, _) => format!("copy {path} to the drive of the boot loader"),
        (Format::Raw, "esp32c3") => format!("espflash write-bin {address:#x} {path}"),
        (Format::Raw, "nrf52840") => format!(
            "probe-rs download --chip nRF52840_xxAA --binary-format bin --base-address {address:#x} {path}"
        ),
        (Format::Raw, "pico-w") => {
            format!("probe-rs download --chip RP2040 --binary-format bin --base-address {address:#x} {path}")
        }
        // A file stands for the flash of boards in QEMU.
        (Format::Raw, _) => format!(
            "start {board} once, which makes flash.bin in its folder, end it, and there: \
             dd if={path} of=flash.bin bs=4096 seek={} conv=notrunc",
            address / 4096
        ),
    };
    say(&format!("wrote {path}, which holds the device's secrets; next: {next}"));
    Ok(())
}
