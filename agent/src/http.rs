//! The status port: `GET /metrics`, `GET /health` and `GET /devices` over HTTP/1.1, one request a connection.
//!
//! In: a listener, the counters, whether the agent is well. Out: text. Always true: bounded connections, head and time.
//!
//! Written by hand, because three fixed answers need none of what a HTTP library brings: the agent has no other use for
//! one, and it runs where a megabyte of program counts. Not here: anything that changes state.

use crate::limits::{STATUS_CONNECTIONS_MAX, STATUS_HEAD_BYTES_MAX, STATUS_TIMEOUT_MS};
use crate::stop::Stop;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Gives the answers: metrics text, and what is wrong if something is.
pub(crate) trait Status: Send + Sync + 'static {
    fn metrics(&self) -> String;
    /// Who is on which link, as JSON.
    fn devices(&self) -> String;
    fn trouble(&self) -> Option<String>;
}

/// Serves until `stop` says so.
pub(crate) async fn serve(listener: TcpListener, status: Arc<dyn Status>, mut stop: Stop) {
    let permits = Arc::new(Semaphore::new(STATUS_CONNECTIONS_MAX));
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
            (permit, listener.accept().await)
        };
        tokio::select! {
            (permit, accepted) = next => {
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let status = Arc::clone(&status);
                tokio::spawn(async move {
                    let answered = timeout(Duration::from_millis(STATUS_TIMEOUT_MS), answer(stream, &*status)).await;
                    if let Ok(Err(error)) = answered {
                        tracing::debug!(%error, "status request not answered");
                    }
                    drop(permit);
                });
            }
            () = stop.stopped() => return,
        }
    }
}

async fn answer(mut stream: TcpStream, status: &dyn Status) -> io::Result<()> {
    let mut head = Vec::with_capacity(STATUS_HEAD_BYTES_MAX);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") && head.len() < STATUS_HEAD_BYTES_MAX {
        let room = STATUS_HEAD_BYTES_MAX - head.len();
        if (&mut stream).take(room as u64).read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let (code, kind, body) = respond(&head, status);
    let headers = format!(
        "HTTP/1.1 {code}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(headers.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

fn respond(head: &[u8], status: &dyn Status) -> (&'static str, &'static str, String) {
    const TEXT: &str = "text/plain; charset=utf-8";
    const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => ("200 OK", METRICS, status.metrics()),
        (Some(b"GET"), Some(b"/health")) => match status.trouble() {
            None => ("200 OK", TEXT, "ok\n".to_owned()),
            Some(trouble) => ("503 Service Unavailable", TEXT, format!("{trouble}\n")),
        },
        (Some(b"GET"), Some(b"/devices")) => ("200 OK", "application/json", status.devices()),
        (Some(b"GET"), Some(_)) => {
            ("404 Not Found", TEXT, "here are /metrics, /health and /devices\n".to_owned())
        }
        _ => ("405 Method Not Allowed", TEXT, "only GET\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Option<&'static str>);
    impl Status for Fixed {
        fn metrics(&self) -> String {
            "metric 1\n".to_owned()
        }
        fn devices(&self) -> String {
            "[]".to_owned()
        }
        fn trouble(&self) -> Option<String> {
            self.0.map(str::to_owned)
        }
    }

    #[test]
    fn the_two_paths_are_answered_and_nothing_else() {
        let code = |head: &[u8], status| respond(head, &Fixed(status)).0;
        assert_eq!(code(b"GET /metrics HTTP/1.1\r\n\r\n", None), "200 OK");
        assert_eq!(code(b"GET /health HTTP/1.1\r\n\r\n", None), "200 OK");
        assert_eq!(code(b"GET /health HTTP/1.1\r\n\r\n", Some("full")), "503 Service Unavailable");
        assert_eq!(code(b"GET /devices HTTP/1.1\r\n\r\n", Some("full")), "200 OK");
        assert_eq!(code(b"GET /etc HTTP/1.1\r\n\r\n", None), "404 Not Found");
        assert_eq!(code(b"POST /metrics HTTP/1.1\r\n\r\n", None), "405 Method Not Allowed");
        assert_eq!(code(b"\xff\x00", None), "405 Method Not Allowed");
        assert_eq!(code(b"", None), "405 Method Not Allowed");
    }
}
