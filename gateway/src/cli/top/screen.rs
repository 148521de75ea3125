//! The terminal, for as long as the table is on it.
//!
//! Invariant: dropping a [`Screen`] gives the terminal back as it was: mode, cursor and what stood on it.

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use std::io::{self, Write, stdin, stdout};

/// The other screen, without a cursor; and back. Every terminal that Linux people use knows these (xterm's 1049 and 25).
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";

/// What a terminal has that does not tell its size.
const SIZE: (usize, usize) = (80, 24);

/// A character that a terminal never acts on (POSIX: `_POSIX_VDISABLE`, 0 on Linux).
const DISABLED: u8 = 0;

pub(super) struct Screen {
    /// The mode before; none where keys come from no terminal.
    before: Option<Termios>,
}

impl Screen {
    pub(super) fn take() -> io::Result<Self> {
        let before = tcgetattr(stdin()).ok();
        if let Some(before) = &before {
            let mut mode = before.clone();
            // Keys come one by one and are not shown. Ctrl-C stays a signal; Ctrl-Z would leave the other screen behind.
            mode.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            mode.special_codes[SpecialCodeIndex::VMIN] = 1;
            mode.special_codes[SpecialCodeIndex::VTIME] = 0;
            mode.special_codes[SpecialCodeIndex::VSUSP] = DISABLED;
            tcsetattr(stdin(), OptionalActions::Flush, &mode)?;
        }
        let screen = Self { before };
        write(ENTER)?;
        Ok(screen)
    }

    /// Shows lines from the top. Whole lines are written over, so nothing flickers.
    pub(super) fn show(&mut self, lines: &[String]) -> io::Result<()> {
        let mut out = b"\x1b[H".to_vec();
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                out.extend(b"\r\n");
            }
            // The first line is the title.
            let (before, behind) = if at == 0 { ("\x1b[7m", "\x1b[0m") } else { ("", "") };
            out.extend([before.as_bytes(), line.as_bytes(), behind.as_bytes(), b"\x1b[K"].concat());
        }
        out.extend(b"\x1b[J");
        write(&out)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = write(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(stdin(), OptionalActions::Flush, before);
        }
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
}

/// Columns and rows now.
pub(super) fn size() -> (usize, usize) {
    match tcgetwinsize(stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        Ok(_) | Err(_) => SIZE,
    }
}
