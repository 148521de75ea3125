//! Raw HTTP/1.1 to a Kinesis endpoint: prepared requests and answers that nobody parses, so that the server is what is measured.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// No call waits longer: a stuck server must fail the bench, not hang it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a body is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/x-amz-json-1.1`
    Json,
    /// `application/x-amz-cbor-1.1`
    Cbor,
}

impl Format {
    /// As people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "JSON",
            Format::Cbor => "CBOR",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/x-amz-json-1.1",
            Format::Cbor => "application/x-amz-cbor-1.1",
        }
    }
}

/// A whole request, signed with nonsense.
#[must_use]
pub fn request(address: SocketAddr, operation: &str, format: Format, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: {}\r\nX-Amz-Target: Kinesis_20131202.{operation}\r\n\
         X-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature=0\r\nContent-Length: {}\r\n\r\n",
        format.content_type(),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// One kept-alive connection.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    socket: BufReader<TcpStream>,
    chunked: bool,
    /// The last answer said that the server closes the connection after it, as some peers always do.
    closing: bool,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self { address, socket: connect(address)?, chunked: false, closing: false })
    }

    /// Sends a prepared request.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        if std::mem::take(&mut self.closing) {
            self.socket = connect(self.address)?;
        }
        Ok(self.socket.get_mut().write_all(request)?)
    }

    /// The whole answer, which must be a 200.
    ///
    /// # Errors
    /// When it is another status; the message has the beginning of its body.
    pub fn answer(&mut self) -> anyhow::Result<Vec<u8>> {
        let (status, length) = self.head()?;
        let mut body = Vec::new();
        match length {
            Some(length) => {
                body.resize(length, 0);
                self.socket.read_exact(&mut body)?;
            }
            None => while self.chunk(&mut body)? {},
        }
        ensure!(
            status == 200,
            "answered {status}: {}",
            String::from_utf8_lossy(&body[..body.len().min(300)])
        );
        Ok(body)
    }

    /// One call in JSON whose answer matters.
    ///
    /// # Errors
    /// When it is not answered with 200.
    pub fn call(&mut self, operation: &str, body: &Value) -> anyhow::Result<Value> {
        let request = request(self.address, operation, Format::Json, body.to_string().as_bytes());
        self.send(&request)?;
        let answer = self.answer().with_context(|| operation.to_owned())?;
        Ok(if answer.is_empty() { Value::Null } else { serde_json::from_slice(&answer)? })
    }

    /// Begins to read an answer without an end: its head must be a 200 in chunks, which [`Connection::chunk`] reads.
    ///
    /// # Errors
    /// When it is something else.
    pub fn stream(&mut self) -> anyhow::Result<()> {
        let (status, length) = self.head()?;
        if status == 200 && length.is_none() {
            return Ok(());
        }
        bail!("answered {status} instead of a stream")
    }

    /// Appends the next chunk to `out`; `false` at the end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn chunk(&mut self, out: &mut Vec<u8>) -> anyhow::Result<bool> {
        if !self.chunked {
            self.socket.read_to_end(out)?;
            return Ok(false);
        }
        let mut line = String::new();
        self.socket.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16)
            .with_context(|| format!("not a chunk: {line:?}"))?;
        let start = out.len();
        out.resize(start + length, 0);
        self.socket.read_exact(&mut out[start..])?;
        line.clear();
        self.socket.read_line(&mut line)?;
        Ok(length > 0)
    }

    fn head(&mut self) -> anyhow::Result<(u16, Option<usize>)> {
        let (mut line, mut length) = (String::new(), None);
        self.chunked = false;
        self.socket.read_line(&mut line)?;
        let status = line.split(' ').nth(1).context("not an HTTP answer")?.parse()?;
        loop {
            line.clear();
            self.socket.read_line(&mut line)?;
            let text = line.trim().to_ascii_lowercase();
            if text.is_empty() {
                return Ok((status, length));
            }
            if let Some(value) = text.strip_prefix("content-length:") {
                length = Some(value.trim().parse()?);
            }
            self.closing |= text == "connection: close";
            self.chunked |= text.starts_with("transfer-encoding:") && text.contains("chunked");
        }
    }
}

fn connect(address: SocketAddr) -> anyhow::Result<BufReader<TcpStream>> {
    let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::with_capacity(1 << 18, socket))
}

/// As much CBOR as a PutRecords needs (RFC 8949).
#[derive(Debug, Default)]
pub struct Cbor(pub Vec<u8>);

impl Cbor {
    /// A map of so many members.
    pub fn map(&mut self, members: usize) -> &mut Self {
        self.head(5, members)
    }

    /// An array of so many elements.
    pub fn array(&mut self, elements: usize) -> &mut Self {
        self.head(4, elements)
    }

    /// A text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.head(3, text.len()).0.extend_from_slice(text.as_bytes());
        self
    }

    /// Bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(2, bytes.len()).0.extend_from_slice(bytes);
        self
    }

    fn head(&mut self, major: u8, value: usize) -> &mut Self {
        let value = u16::try_from(value).expect("a bench writes nothing longer");
        match u8::try_from(value) {
            Ok(small @ 0..24) => self.0.push(major << 5 | small),
            Ok(byte) => self.0.extend_from_slice(&[major << 5 | 24, byte]),
            Err(_) => {
                self.0.push(major << 5 | 25);
                self.0.extend_from_slice(&value.to_be_bytes());
            }
        }
        self
    }
}
