//! A life in another process, read from its standard output.
//!
//! A step is its lines, each behind a space, then `=`, the time in ms, a space, the digest in hexadecimal digits. No line
//! of a trace holds the end of a line.

use super::Reader;
use crate::kind::Kind;
use crate::trace::{Step, Trace};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;

/// Lives the world of a seed and writes its trace. Gives whether it kept its promises.
///
/// # Errors
/// Nobody reads, or what is read to its end.
pub fn tell(kind: Kind, seed: u64, to: impl Write) -> io::Result<bool> {
    let (sender, steps) = sync_channel::<Step>(super::AHEAD_MAX);
    let mut to = BufWriter::new(to);
    std::thread::scope(|scope| {
        // Its trace goes with it: there are no more steps then.
        let live = move || match kind.live_in(seed, Trace::told_to(sender)) {
            Ok(_) => true,
            Err(failure) => {
                eprintln!("{failure}");
                false
            }
        };
        let life = scope.spawn(live);
        for step in steps {
            for line in step.lines {
                writeln!(to, " {line}")?;
            }
            writeln!(to, "={} {:016x}", step.at_ms, step.digest)?;
        }
        to.flush()?;
        Ok(life.join().unwrap_or(false))
    })
}

pub(super) fn start(program: &str, kind: Kind, seed: u64, reader: Reader) {
    let mut command = Command::new(program);
    command.arg(kind.name()).arg(seed.to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the program of a life starts");
    let thread = std::thread::Builder::new().name("twin-reader".to_owned());
    thread.spawn(move || read(&mut child, &reader)).expect("a thread for a reader");
}

fn read(child: &mut Child, reader: &Reader) {
    let mut lines = Vec::new();
    for line in child.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines()) {
        let Ok(line) = line else { break };
        if let Some(line) = line.strip_prefix(' ') {
            lines.push(line.to_owned());
        } else if let Some(step) = ended(&line, &mut lines)
            && reader.send(step).is_err()
        {
            // Whoever compares has seen enough.
            break;
        }
    }
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

fn ended(line: &str, lines: &mut Vec<String>) -> Option<Step> {
    let (at_ms, digest) = line.strip_prefix('=')?.split_once(' ')?;
    let digest = u64::from_str_radix(digest, 16).ok()?;
    Some(Step { at_ms: at_ms.parse().ok()?, digest, lines: std::mem::take(lines) })
}
