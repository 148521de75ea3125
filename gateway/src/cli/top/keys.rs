//! Keys that a person presses.

use std::io::Read;
use tokio::sync::mpsc;

/// Keys waiting to be looked at; further ones are of a hand that rests on the keyboard.
const WAITING_MAX: usize = 16;

/// Every byte of standard input; never one where that is no terminal. The thread that reads ends with the program: a read
/// of a terminal cannot be called back.
pub(super) fn pressed() -> mpsc::Receiver<u8> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    std::thread::spawn(move || {
        let mut byte = [0];
        while let Ok(1) = std::io::stdin().read(&mut byte) {
            if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(byte[0]) {
                return;
            }
        }
    });
    receiver
}
