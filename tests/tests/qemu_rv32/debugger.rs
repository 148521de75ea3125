//! A debugger's grip on the machine, by the remote protocol of GDB that QEMU speaks: enough to make a program hang.
//!
//! Invariant: the machine runs again when this is done. Not here: breakpoints, symbols.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Between the variables and the stack, which do not reach here.
const UNUSED_RAM: u32 = 0x8040_8000;
/// `csrsi mstatus, 8`: interrupts on, as in a program that loops; then `j .`.
const LOOP: [u32; 2] = [0x3004_6073, 0x0000_006f];
/// The number that the protocol gives the program counter.
const PROGRAM_COUNTER: &str = "20";

/// Puts an endless loop into RAM and lets the program go on there.
pub(crate) fn hang(machine: SocketAddr) {
    let mut stream = TcpStream::connect(machine).expect("QEMU listens for a debugger");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time that is not zero");
    // QEMU lets only those write registers who have read what there is.
    ask(&mut stream, "qXfer:features:read:target.xml:0,1000");
    let code: String = LOOP.iter().map(|word| hex(*word)).collect();
    let write = format!("M{UNUSED_RAM:x},{:x}:{code}", 4 * LOOP.len());
    let jump = format!("P{PROGRAM_COUNTER}={}", hex(UNUSED_RAM));
    // The last one goes away; the machine runs on.
    for command in [&write, &jump, "D"] {
        let answer = ask(&mut stream, command);
        assert_eq!(answer, "OK", "to {command}");
    }
}

/// As the machine has it in memory.
fn hex(word: u32) -> String {
    word.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends a command and waits for what it is answered.
fn ask(stream: &mut TcpStream, command: &str) -> String {
    let sum = command.bytes().fold(0u8, u8::wrapping_add);
    write!(stream, "${command}#{sum:02x}").expect("QEMU takes commands");
    loop {
        let answer = packet(stream).unwrap_or_else(|error| panic!("{command}: {error}"));
        // That the machine stopped, because a debugger came, is told in between.
        if !answer.starts_with('T') {
            return answer;
        }
    }
}

/// The next `$packet#`, with two digits behind it.
fn packet(stream: &mut TcpStream) -> std::io::Result<String> {
    let (mut said, mut byte) = (String::new(), [0]);
    while said.rfind('#').is_none_or(|end| end + 3 != said.len()) {
        stream.read_exact(&mut byte)?;
        said.push(char::from(byte[0]));
    }
    stream.write_all(b"+")?;
    Ok(said.split(['$', '#']).nth(1).unwrap_or_default().to_owned())
}
