//! A TLS 1.3 server that says what a test wants, for what no proper server would do. Ciphers are those of the device:
//! P-256, AES-128-GCM, SHA-256 (RFC 8446).
#![allow(dead_code, reason = "each test uses its part")]
#![allow(unreachable_pub, reason = "a module of a test binary")]
#![allow(clippy::unwrap_used, reason = "a panic is the report")]

use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce};
use hkdf::Hkdf;
use hkdf::hmac::{Hmac, Mac};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A message after the ServerHello.
pub enum Message<'a> {
    Extensions,
    Certificate(&'a [&'a [u8]]),
    /// Signed with this key over all that was said before.
    Verify(&'a SigningKey),
    Finished,
    /// These bytes as the content of a record of handshake.
    Raw(&'a [u8]),
    /// A record that holds nothing, not even its kind.
    Empty,
}

pub struct Impostor<S> {
    stream: S,
    transcript: Sha256,
    secret: [u8; 32],
    sequence: u64,
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, length[1], length[2], length[3]], body].concat()
}

fn with_length24(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&length[1..], body].concat()
}

/// HKDF-Expand-Label.
fn expand<const N: usize>(secret: &[u8], label: &str, context: &[u8]) -> [u8; N] {
    let label = format!("tls13 {label}");
    let mut info = u16::try_from(N).unwrap().to_be_bytes().to_vec();
    info.push(u8::try_from(label.len()).unwrap());
    info.extend(label.as_bytes());
    info.push(u8::try_from(context.len()).unwrap());
    info.extend(context);
    let mut out = [0; N];
    Hkdf::<Sha256>::from_prk(secret).unwrap().expand(&info, &mut out).unwrap();
    out
}

/// The client's point on P-256 and its session id.
fn shares(hello: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let session = &hello[38..];
    let (id, rest) = session[1..].split_at(session[0].into());
    let ciphers = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
    let mut extensions = &rest[2 + ciphers + 2 + 2..];
    loop {
        let kind = u16::from_be_bytes([extensions[0], extensions[1]]);
        let length = usize::from(u16::from_be_bytes([extensions[2], extensions[3]]));
        if kind == 51 {
            // Length of the list, group, length of the point.
            return (extensions[4 + 6..4 + 6 + 65].to_vec(), id.to_vec());
        }
        extensions = &extensions[4 + length..];
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Impostor<S> {
    /// Hears the ClientHello and says the ServerHello.
    pub async fn greet(mut stream: S) -> Self {
        let mut header = [0; 5];
        stream.read_exact(&mut header).await.unwrap();
        let mut hello = vec![0; u16::from_be_bytes([header[3], header[4]]).into()];
        stream.read_exact(&mut hello).await.unwrap();
        let (point, session) = shares(&hello);
        let key = p256::SecretKey::from_slice(&[7; 32]).unwrap();
        let mine = key.public_key().to_sec1_bytes();
        let mut body = vec![3, 3];
        body.extend([9; 32]);
        body.push(u8::try_from(session.len()).unwrap());
        body.extend(&session);
        body.extend([0x13, 0x01, 0, 0, 79, 0, 43, 0, 2, 3, 4, 0, 51, 0, 69, 0, 23, 0, 65]);
        body.extend(&mine[..]);
        let server_hello = handshake(2, &body);
        let mut record = vec![22, 3, 3];
        record.extend(u16::try_from(server_hello.len()).unwrap().to_be_bytes());
        record.extend(&server_hello);
        stream.write_all(&record).await.unwrap();

        let transcript = Sha256::new().chain_update(&hello).chain_update(&server_hello);
        let theirs = p256::PublicKey::from_sec1_bytes(&point).unwrap();
        let shared = p256::ecdh::diffie_hellman(key.to_nonzero_scalar(), theirs.as_affine());
        let (early, _) = Hkdf::<Sha256>::extract(None, &[0; 32]);
        let derived: [u8; 32] = expand(&early, "derived", &Sha256::digest([]));
        let (secret, _) = Hkdf::<Sha256>::extract(Some(&derived), shared.raw_secret_bytes());
        let secret = expand(&secret, "s hs traffic", &transcript.clone().finalize());
        Self { stream, transcript, secret, sequence: 0 }
    }

    /// Says one message. False when the device has left.
    pub async fn say(&mut self, message: &Message<'_>) -> bool {
        let said = match message {
            Message::Empty => return self.record(None, &[]).await,
            Message::Raw(bytes) => bytes.to_vec(),
            Message::Extensions => handshake(8, &[0, 0]),
            Message::Certificate(chain) => {
                let entries: Vec<u8> =
                    chain.iter().flat_map(|entry| [with_length24(entry), vec![0, 0]].concat()).collect();
                handshake(11, &[vec![0], with_length24(&entries)].concat())
            }
            Message::Verify(key) => {
                let mut signed = vec![0x20; 64];
                signed.extend(b"TLS 1.3, server CertificateVerify\0");
                signed.extend(self.transcript.clone().finalize());
                let signature: DerSignature = key.sign(&signed);
                let signature = signature.as_bytes();
                let length = u16::try_from(signature.len()).unwrap().to_be_bytes();
                handshake(15, &[&[4, 3], &length[..], signature].concat())
            }
            Message::Finished => {
                let key: [u8; 32] = expand(&self.secret, "finished", &[]);
                let mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).unwrap();
                let mac = mac.chain_update(self.transcript.clone().finalize()).finalize();
                handshake(20, &mac.into_bytes())
            }
        };
        self.transcript.update(&said);
        self.record(Some(22), &said).await
    }

    async fn record(&mut self, kind: Option<u8>, content: &[u8]) -> bool {
        let mut record = content.to_vec();
        record.extend(kind);
        let mut header = vec![23, 3, 3];
        header.extend(u16::try_from(record.len() + 16).unwrap().to_be_bytes());
        let key: [u8; 16] = expand(&self.secret, "key", &[]);
        let mut nonce: [u8; 12] = expand(&self.secret, "iv", &[]);
        for (byte, count) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= count;
        }
        self.sequence += 1;
        let cipher = Aes128Gcm::new(&key.into());
        cipher.encrypt_in_place(Nonce::from_slice(&nonce), &header, &mut record).unwrap();
        header.extend(record);
        self.stream.write_all(&header).await.is_ok()
    }

    /// Bytes the device says from now on, until it leaves.
    pub async fn rest(&mut self) -> usize {
        let mut bytes = Vec::new();
        let _ = self.stream.read_to_end(&mut bytes).await;
        bytes.len()
    }
}
