//! By way of a company's proxy.

use crate::support::{Act, Fixture, environment, settings};
use crate::tls::Authority;
use headwater_aws::{Class, FormatChoice, Kinesis, KinesisSettings, StreamRef};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

const SUMMARY: &str =
    r#"{"StreamDescriptionSummary":{"StreamName":"s","StreamARN":"a","StreamStatus":"ACTIVE"}}"#;

/// A proxy that knows one server, whatever it is asked for, and wants a password.
async fn proxy(server: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let all = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let asked = Arc::clone(&all);
            tokio::spawn(async move {
                let mut client = BufReader::new(socket);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && client.read_line(&mut head).await.unwrap() > 0 {}
                asked.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
                // "user:pa ss"
                if !head.to_ascii_lowercase().contains("proxy-authorization: basic dxnlcjpwysbzcw==") {
                    client.write_all(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                    return;
                }
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, asked)
}

fn client(endpoint: &str, pairs: &[(&str, &str)]) -> Kinesis {
    let environment = environment(pairs);
    Kinesis::new(KinesisSettings { environment, format: FormatChoice::Json, ..settings(endpoint) }).unwrap()
}

#[tokio::test]
async fn tls_goes_through_a_tunnel_and_ends_at_the_target() {
    let authority = Authority::make();
    let fixture =
        Fixture::start_tls(authority.acceptor("kinesis.corp.test", None), |_, _| Act::json(200, SUMMARY))
            .await;
    let (address, asked) = proxy(fixture.address).await;
    let url = format!("http://user:pa%20ss@{address}");
    let bundle = authority.file.to_str().unwrap();
    let pairs = [("HTTPS_PROXY", url.as_str()), ("AWS_CA_BUNDLE", bundle)];
    let through = client("https://kinesis.corp.test", &pairs);
    through.describe(&StreamRef::name("s")).await.unwrap();
    through.describe(&StreamRef::name("s")).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["CONNECT kinesis.corp.test:443 HTTP/1.1"], "one tunnel for both");
    assert_eq!(fixture.seen()[0].header("host"), "kinesis.corp.test");
    assert_eq!(fixture.seen()[0].header("proxy-authorization"), "", "the password is the proxy's");

    let wrong = url.replace("pa%20ss", "hidden");
    let refused = client("https://kinesis.corp.test", &[("https_proxy", wrong.as_str()), pairs[1]]);
    let error = refused.describe(&StreamRef::name("s")).await.unwrap_err();
    assert_eq!((error.class, error.may_be_done), (Class::Retry, false));
    let words = error.to_string();
    assert!(words.contains(&format!("by way of proxy {address}")) && !words.contains("hidden"), "{words}");
}

#[tokio::test]
async fn without_tls_the_proxy_is_asked_for_the_whole_url() {
    let fixture = Fixture::start(|_, _| Act::json(200, SUMMARY)).await;
    let url = fixture.url();
    client("http://kinesis.corp.test", &[("HTTP_PROXY", &url)])
        .describe(&StreamRef::name("s"))
        .await
        .unwrap();
    assert_eq!(fixture.seen()[0].target, "http://kinesis.corp.test/");
    assert_eq!(fixture.seen()[0].header("host"), "kinesis.corp.test");
}

#[tokio::test]
async fn an_engine_beside_us_is_reached_without_the_proxy_and_other_kinds_of_proxies_are_named() {
    let fixture = Fixture::start(|_, _| Act::json(200, SUMMARY)).await;
    let nobody = [("HTTP_PROXY", "http://127.0.0.1:9"), ("ALL_PROXY", "http://127.0.0.1:9")];
    client(&fixture.url(), &nobody).describe(&StreamRef::name("s")).await.unwrap();
    let socks = client("https://kinesis.corp.test", &[("ALL_PROXY", "socks5://127.0.0.1:9")]);
    let error = socks.describe(&StreamRef::name("s")).await.unwrap_err().to_string();
    assert!(error.contains("only http:// is"), "{error}");
}
