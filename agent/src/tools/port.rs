//! Serial ports of this machine: which there are, and having one for oneself.
//!
//! In: paths. Out: open ports with the lock that keeps others out. Invariant: whoever opens ports here has them alone, the agent's links
//! as well. Not here: what is said on them (`line`).

use super::line::TalkError;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use serial2_tokio::SerialPort;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Opens a serial port for oneself; it is one's own as long as the second value lives. Who opens ports so does not get in each other's
/// way: the agent does. Must be called inside a tokio runtime.
///
/// # Errors
/// It is not there, not permitted, or another program has it.
pub fn open_serial(path: &Path, baud: u32) -> Result<(SerialPort, OwnedFd), TalkError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::ResourceBusy => TalkError::Busy(path.to_owned()),
        std::io::ErrorKind::PermissionDenied => TalkError::Forbidden(path.to_owned()),
        _ => TalkError::Open { port: path.to_owned(), source },
    };
    // Without these flags opening a port without carrier waits for ever.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let lock = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(TalkError::Busy(path.to_owned()));
    }
    let opened = SerialPort::open(path, baud).map_err(failed)?;
    Ok((opened, lock))
}

/// The USB serial ports in `dev` (`/dev`), by the names that survive another socket; without such names those that look like it.
pub fn plugged_in(dev: &Path) -> Vec<PathBuf> {
    let by_id = list(&dev.join("serial/by-id"), |_| true);
    if !by_id.is_empty() {
        return by_id;
    }
    list(dev, |name| name.starts_with("ttyACM") || name.starts_with("ttyUSB"))
}

fn list(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let wanted = entries.filter(|entry| entry.file_name().to_str().is_some_and(&wanted));
    let mut ports: Vec<PathBuf> = wanted.map(|entry| entry.path()).collect();
    ports.sort();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_listed_by_id_and_by_their_numbers_only_where_there_are_no_ids() {
        let dev = tempfile::tempdir().unwrap();
        let make = |name: &str| std::fs::write(dev.path().join(name), "").unwrap();
        let listed = || -> Vec<String> {
            let names = plugged_in(dev.path());
            names.iter().map(|path| path.strip_prefix(dev.path()).unwrap().display().to_string()).collect()
        };
        assert!(listed().is_empty());
        ["ttyS0", "ttyUSB1", "ttyACM0", "null"].into_iter().for_each(make);
        assert_eq!(listed(), ["ttyACM0", "ttyUSB1"]);
        std::fs::create_dir_all(dev.path().join("serial/by-id")).unwrap();
        assert_eq!(listed(), ["ttyACM0", "ttyUSB1"]);
        ["serial/by-id/usb-Headwater_pico-w_2", "serial/by-id/usb-FTDI_1"].into_iter().for_each(make);
        assert_eq!(listed(), ["serial/by-id/usb-FTDI_1", "serial/by-id/usb-Headwater_pico-w_2"]);
    }
}
