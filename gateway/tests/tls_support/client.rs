//! An MQTT 5 client over TLS, written packet by packet: what a gateway answers to what is right and to what is not.

use super::{Certificates, PATIENCE};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// A socket that notes how long the records are that come in.
pub struct Noting {
    socket: TcpStream,
    seen: Vec<u8>,
}

impl Noting {
    pub fn lengths(&self) -> Vec<usize> {
        let (mut rest, mut lengths) = (&self.seen[..], Vec::new());
        while let [_, _, _, high, low, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            lengths.push(length);
            rest = after.get(length..).unwrap_or(&[]);
        }
        lengths
    }
}

impl Read for Noting {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.socket.read(buf)?;
        self.seen.extend_from_slice(&buf[..count]);
        Ok(count)
    }
}

impl Write for Noting {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.socket.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

pub type Client = StreamOwned<ClientConnection, Noting>;

/// A client that trusts the authority of `certificates`, as `device` when one is named.
pub fn rustls_client(
    address: SocketAddr,
    certificates: &Certificates,
    device: Option<&str>,
) -> io::Result<Client> {
    let file = |name: &str| certificates.path().join(name);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("authority.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match device {
        None => builder.with_no_client_auth(),
        Some(device) => {
            let chain = vec![CertificateDer::from_pem_file(file(&format!("{device}.pem"))).unwrap()];
            let key = PrivateKeyDer::from_pem_file(file(&format!("{device}.key.pem"))).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = ServerName::try_from("gateway.local").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(StreamOwned::new(session, Noting { socket, seen: Vec::new() }))
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut left = body.len();
    loop {
        packet.push(u8::try_from(left & 0x7f).unwrap() | if left > 0x7f { 0x80 } else { 0 });
        left >>= 7;
        if left == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

/// Reads one packet; its first byte is 0 when the connection ended.
fn answer(client: &mut Client) -> (u8, Vec<u8>) {
    let mut byte = [0];
    if client.read_exact(&mut byte).is_err() {
        return (0, Vec::new());
    }
    let (first, mut length, mut shift) = (byte[0], 0usize, 0);
    loop {
        client.read_exact(&mut byte).unwrap();
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body).unwrap();
    (first, body)
}

/// The reason in a CONNACK, if these bytes are one.
pub fn connack(bytes: &[u8]) -> Option<u8> {
    (bytes.first() == Some(&0x20)).then(|| bytes[3])
}

/// CONNECT without credentials; the reason of the answer, 0xff when there is none.
pub fn connect(client: &mut Client, id: &str) -> u8 {
    open(client, &[text("MQTT"), vec![5, 0x02, 0, 60, 0], text(id)].concat())
}

/// CONNECT with name and password.
pub fn log_in(client: &mut Client, id: &str, user: &str, password: &str) -> u8 {
    open(client, &[text("MQTT"), vec![5, 0xc2, 0, 60, 0], text(id), text(user), text(password)].concat())
}

fn open(client: &mut Client, body: &[u8]) -> u8 {
    if client.write_all(&packet(0x10, body)).is_err() {
        return 0xff;
    }
    let (first, body) = answer(client);
    if first == 0x20 { body[1] } else { 0xff }
}

/// Publishes with QoS 1; the reason of the PUBACK. Other packets are passed by.
pub fn publish(client: &mut Client, topic: &str, payload: &[u8]) -> u8 {
    client.write_all(&packet(0x32, &[text(topic), vec![0, 9, 0], payload.to_vec()].concat())).unwrap();
    let (mut reason, mut came_back) = (None, false);
    loop {
        match answer(client) {
            (0x40, body) => reason = Some(body.get(2).copied().unwrap_or(0)),
            (first, _) if first >> 4 == 3 => came_back = true,
            (0xe0, body) => return body.first().copied().unwrap_or(0),
            (0, _) => return 0xff,
            _ => {}
        }
        if let Some(reason) = reason.filter(|_| came_back || payload.len() < 100) {
            return reason;
        }
    }
}

/// Subscribes with QoS 0 and waits for the answer.
pub fn subscribe(client: &mut Client, topic: &str) {
    client.write_all(&packet(0x82, &[vec![0, 8, 0], text(topic), vec![0]].concat())).unwrap();
    while answer(client).0 != 0x90 {}
}
