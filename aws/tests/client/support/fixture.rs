//! An HTTP/1.1 server of a few lines, with TLS and certificates of clients where a test wants them.

use super::PATIENCE;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Which connection it came on, counted from zero.
    pub(crate) connection: usize,
    /// The certificate the client showed.
    pub(crate) certificate: Option<Vec<u8>>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The operation of a Kinesis call.
    pub(crate) fn operation(&self) -> &str {
        self.header("x-amz-target").rsplit('.').next().unwrap()
    }

    pub(crate) fn is_cbor(&self) -> bool {
        self.header("content-type").contains("cbor")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What the server does about a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Status, headers beside the length, body.
    Answer(u16, Vec<(String, String)>, Vec<u8>),
    /// The same, and then the connection is closed without a word about it.
    AnswerAndClose(u16, Vec<(String, String)>, Vec<u8>),
    /// Exactly these bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// These bytes again and again, for as long as the client reads.
    Endless(Vec<u8>, Vec<u8>),
    /// No answer; the connection stays.
    Stall,
}

impl Act {
    pub(crate) fn json(status: u16, body: &str) -> Act {
        Act::with(status, &[("content-type", "application/x-amz-json-1.1")], body)
    }

    pub(crate) fn with(status: u16, headers: &[(&str, &str)], body: &str) -> Act {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Act::Answer(status, headers.collect(), body.as_bytes().to_vec())
    }

    /// The same with the Date of this time.
    pub(crate) fn dated(self, ms: u64) -> Act {
        match self {
            Act::Answer(status, mut headers, body) => {
                headers.push(("date".to_owned(), http_date(ms)));
                Act::Answer(status, headers, body)
            }
            other => other,
        }
    }
}

/// A server on a free port of loopback; it ends with the runtime of its test.
pub(crate) struct Fixture {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    acceptor: Acceptor,
}

/// As whom it appears; nothing: it speaks without TLS.
type Acceptor = Arc<Mutex<Option<TlsAcceptor>>>;

type Answering = Arc<dyn Fn(&Seen, usize) -> Act + Send + Sync>;

impl Fixture {
    /// The second argument of `answer` counts requests from zero.
    pub(crate) async fn start(answer: impl Fn(&Seen, usize) -> Act + Send + Sync + 'static) -> Fixture {
        Fixture::serve(Arc::default(), Arc::new(answer)).await
    }

    pub(crate) async fn start_tls(
        acceptor: TlsAcceptor,
        answer: impl Fn(&Seen, usize) -> Act + Send + Sync + 'static,
    ) -> Fixture {
        Fixture::serve(Arc::new(Mutex::new(Some(acceptor))), Arc::new(answer)).await
    }

    /// From now on it has another certificate, and trusts others.
    pub(crate) fn appear_as(&self, acceptor: TlsAcceptor) {
        *self.acceptor.lock().unwrap() = Some(acceptor);
    }

    async fn serve(acceptor: Acceptor, answer: Answering) -> Fixture {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let all = Arc::clone(&seen);
        let by = Arc::clone(&acceptor);
        tokio::spawn(async move {
            for connection in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let acceptor = by.lock().unwrap().clone();
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&all));
                tokio::spawn(async move {
                    let Some(acceptor) = acceptor else {
                        return talk(socket, connection, None, &answer, &seen).await;
                    };
                    // A client that does not like the certificate goes away.
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    let certificates = stream.get_ref().1.peer_certificates();
                    let certificate = certificates.map(|chain| chain[0].to_vec());
                    talk(stream, connection, certificate, &answer, &seen).await;
                });
            }
        });
        Fixture { address, seen, acceptor }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until so many requests came.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Seen> {
        let waiting = async {
            while self.seen().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.seen()
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the requests come")
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    certificate: Option<Vec<u8>>,
    answer: &Answering,
    all: &Mutex<Vec<Seen>>,
) {
    let mut stream = BufReader::new(stream);
    while let Some(mut seen) = request(&mut stream).await {
        seen.connection = connection;
        seen.certificate.clone_from(&certificate);
        let number = {
            let mut all = all.lock().unwrap();
            all.push(seen.clone());
            all.len() - 1
        };
        // A client that went away is what some tests are about.
        let written = match answer(&seen, number) {
            Act::Answer(status, headers, body) => stream.write_all(&written(status, &headers, &body)).await,
            Act::AnswerAndClose(status, headers, body) => {
                let _ = stream.write_all(&written(status, &headers, &body)).await;
                return;
            }
            Act::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Act::Endless(first, again) => {
                let mut written = stream.write_all(&first).await;
                while written.is_ok() {
                    written = stream.write_all(&again).await;
                }
                written
            }
            Act::Stall => std::future::pending().await,
        };
        if written.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

fn written(status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n", body.len()).into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

async fn request(stream: &mut (impl AsyncRead + Unpin + AsyncBufReadExt)) -> Option<Seen> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut seen = Seen { method: words.next()?, target: words.next()?, ..Seen::default() };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        seen.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = seen.header("content-length").parse().unwrap_or(0);
    seen.body = vec![0; length];
    stream.read_exact(&mut seen.body).await.ok()?;
    Some(seen)
}

/// The Date header for milliseconds since 1970. Its day of the week is always the same: nobody checks it.
fn http_date(ms: u64) -> String {
    let stamp = headwater_aws::Timestamp::from_ms(ms).basic();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month: usize = stamp[4..6].parse().unwrap();
    let (day, year) = (&stamp[6..8], &stamp[..4]);
    let clock = format!("{}:{}:{}", &stamp[9..11], &stamp[11..13], &stamp[13..15]);
    format!("Thu, {day} {} {year} {clock} GMT", months[month - 1])
}
