//! `power-rig`: cuts the power under the real gateway and looks for what it had acknowledged.
//!
//! In: the binaries `headwater` and `headwater-agent` beside this one (or in `HEADWATER_BIN_DIR`), `HEADWATER_SEED`, `HEADWATER_POWER_CUTS` (60). Out: a line a
//! cut, claims, counts; exit 0 when all hold. Runs as root only; elsewhere it says SKIPPED with the reason.
//! `power-rig remote` does the same to a machine whose power a command switches, and needs no root.
//! Always: it leaves nothing behind (`world`). What it cuts, and its limits: `docs/power-cuts.md`.
//! Not here: the journal against a simulated disk, cut at every step (`journal/tests`).

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

mod claims;
mod companions;
mod disk;
mod ledger;
mod life;
mod load;
mod machine;
mod mount;
mod own;
mod power;
mod remote;
mod series;
mod unread;
mod watch;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use system_tests::{number_from_env, python};

use crate::claims::Claims;
use crate::machine::Medium;
use crate::remote::Remote;
use crate::series::Series;

/// Cuts in all, unless `HEADWATER_POWER_CUTS` says otherwise: what fits in a few minutes. One in six is at block level.
const CUTS: u64 = 60;

/// The gateway under test.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| beside("headwater"))
}

/// A program under test.
fn beside(name: &str) -> PathBuf {
    match std::env::var_os("HEADWATER_BIN_DIR") {
        Some(given) => PathBuf::from(given).join(name),
        None => std::env::current_exe().expect("the path of this program").with_file_name(name),
    }
}

/// `HEADWATER_SEED`, else the clock's.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    number_from_env("HEADWATER_SEED", now)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        None => {}
        Some(world::INSIDE) => return inside(),
        Some(own::WRITE) => return own_part(&args, |at| own::write(at).map_err(|error| error.to_string())),
        Some(own::CHECK) => return own_part(&args, own::check),
        Some(remote::COMMAND) => return remote(&args[1..]),
        Some(other) => {
            println!(
                "unknown argument {other:?}, expected none, or {} with {}",
                remote::COMMAND,
                remote::ARGUMENTS
            );
            return ExitCode::from(64);
        }
    }
    if let Some(missing) = world::missing() {
        python::skip("power", &missing);
        return ExitCode::SUCCESS;
    }
    world::run().unwrap_or_else(|error| {
        println!("error: no world of its own: {error}");
        ExitCode::FAILURE
    })
}

fn own_part(args: &[String], part: impl FnOnce(&Path) -> Result<(), String>) -> ExitCode {
    match part(Path::new(args.get(1).map_or("", String::as_str))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn remote(args: &[String]) -> ExitCode {
    match Remote::parse(args) {
        Err(why) => {
            println!("{why}");
            ExitCode::from(64)
        }
        Ok(remote) => {
            let mut claims = Claims::default();
            claims.claim("no_cut_of_a_real_machine_loses_what_was_acknowledged", || remote.run());
            if claims.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn inside() -> ExitCode {
    watch::begin();
    let home = match world::home() {
        Ok(home) => home,
        Err(error) => {
            println!("error: no directory of its own: {error}");
            return ExitCode::FAILURE;
        }
    };
    let seed = seed();
    let cuts = number_from_env("HEADWATER_POWER_CUTS", CUTS);
    println!("seed {seed}: HEADWATER_SEED={seed} decides about its {cuts} cuts in the same way again");
    let mut claims = Claims::default();
    claims.claim("the_rig_s_own_disk_keeps_what_was_synced_and_nothing_else", || {
        let at = home.join("own");
        std::fs::create_dir(&at).map_err(|error| error.to_string())?;
        own::keeps_what_was_synced_and_nothing_else(&at)
    });
    claims.claim("a_sector_that_the_disk_does_not_read_is_shown_waited_for_and_repaired", || {
        unread::is_shown_waited_for_and_repaired(&home.join("unread"))
    });
    let block = cuts / 6;
    let series = Series { home, seed };
    claims.claim("no_cut_under_the_journal_s_files_loses_what_was_acknowledged", || {
        series.cuts(&[Medium::Files], 0..cuts - block)
    });
    claims.claim("no_cut_under_ext4_or_xfs_loses_what_was_acknowledged", || {
        series.cuts(&[Medium::Ext4, Medium::Xfs], cuts - block..cuts)
    });
    claims.claim("a_disk_that_ignores_fsync_is_caught", || series.lying_about_files(Medium::Files));
    claims.claim("a_disk_that_ignores_the_fsync_of_directories_is_caught", || series.lying_about_names());
    claims
        .claim("a_device_that_ignores_flush_below_ext4_is_caught", || series.lying_about_files(Medium::Ext4));
    claims.claim("a_device_that_ignores_flush_below_xfs_is_caught", || series.lying_about_files(Medium::Xfs));
    if claims.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
