//! Secrets that a person types: asked for one by one, never shown, and a terminal that is as before, whatever happens.

use super::PROGRAM;
use super::papers::Papers;
use super::provisioning::{full_config, without_files};
use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A terminal with the program at it.
struct Terminal {
    keyboard: File,
    end: OwnedFd,
    child: Child,
    shown: String,
}

impl Terminal {
    fn run(arguments: &[&str]) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        fcntl_setfl(&controller, OFlags::NONBLOCK).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let end = open(name.to_str().unwrap(), flags, Mode::empty()).unwrap();
        let side = || Stdio::from(end.try_clone().unwrap());
        let child = Command::new(PROGRAM).args(arguments).stdin(side()).stdout(side()).stderr(side()).spawn();
        Self { keyboard: File::from(controller), end, child: child.unwrap(), shown: String::new() }
    }

    fn read(&mut self) {
        let mut bytes = [0; 1024];
        while let Ok(count @ 1..) = self.keyboard.read(&mut bytes) {
            self.shown.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    }

    /// Waits until it shows something, with nothing to be shown of what is typed then.
    fn until(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.shown.contains(text) || self.echoes() {
            assert!(Instant::now() < deadline, "{text} is not shown: {}", self.shown);
            std::thread::sleep(Duration::from_millis(10));
            self.read();
        }
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.end).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    fn ends(&mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        self.read();
        code
    }
}

#[test]
fn secrets_are_asked_for_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let papers = Papers::make(dir.path());
    let output = papers.path("barn.bin");
    let settings = without_files(&papers);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let image = ["image", "--board", "pico-w", "--output", &output];
    let mut terminal = Terminal::run(&[&image[..], &settings].concat());
    let config = full_config();
    let (passphrase, password) = (config.network.unwrap().passphrase, config.uplink.unwrap().password);
    terminal.until("passphrase of farm: ");
    terminal.keyboard.write_all(format!("{}\n", passphrase.reveal()).as_bytes()).unwrap();
    terminal.until("password of barn: ");
    terminal.keyboard.write_all(format!("{}\n", password.reveal()).as_bytes()).unwrap();
    assert_eq!(terminal.ends(), Some(0), "{}", terminal.shown);
    assert!(terminal.echoes());
    assert!(terminal.shown.contains("wrote "), "{}", terminal.shown);
    assert!(!terminal.shown.contains(passphrase.reveal()) && !terminal.shown.contains(password.reveal()));
    let image = std::fs::read(output).unwrap();
    assert!(super::holds(&image, passphrase.reveal().as_bytes()), "it is the one that was typed");
    assert!(super::holds(&image, password.reveal().as_bytes()), "it is the one that was typed");
}

#[test]
fn a_person_who_gives_up_has_the_terminal_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("barn.bin");
    let image =
        ["image", "--board", "pico-w", "--device", "barn-1", "--gateway", "g", "--wifi", "farm", "--output"];
    let mut terminal = Terminal::run(&[&image[..], &[output.to_str().unwrap()]].concat());
    terminal.until("passphrase of farm: ");
    let killed = Command::new("kill").args(["-INT", &terminal.child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(terminal.ends(), Some(130), "{}", terminal.shown);
    assert!(terminal.echoes());
    assert!(!output.exists());
}
