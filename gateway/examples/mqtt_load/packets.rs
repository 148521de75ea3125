//! The bytes a client writes besides its publishes.

use crate::Options;
use anyhow::{Context, Result};

pub(crate) fn connect_packet(options: &Options, id: &str) -> Result<Vec<u8>> {
    let mut flags = 0x02;
    let mut body = Vec::new();
    string(&mut body, b"MQTT");
    body.push(options.protocol);
    let flags_at = body.len();
    body.extend_from_slice(&[0, 0, 60]);
    if options.protocol == 5 {
        body.push(0);
    }
    string(&mut body, id.as_bytes());
    if let Some(user) = &options.user {
        let (name, password) = user.split_once(':').context("--user is written name:password")?;
        string(&mut body, name.as_bytes());
        string(&mut body, password.as_bytes());
        flags |= 0xC0;
    }
    body[flags_at] = flags;
    let mut packet = vec![0x10];
    remaining_length(&mut packet, body.len());
    packet.extend_from_slice(&body);
    Ok(packet)
}

pub(crate) fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

pub(crate) fn remaining_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or(0);
        length >>= 7;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}
