//! Bytes on a connection to the server, HTTP/1 and HTTP/2: every answer is one, the connection ends, and the next one is
//! served. The server lives as long as the process. Input: what the client sends.
#![no_main]

use headwater_fuzz::world::World;
use libfuzzer_sys::fuzz_target;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let world = World::new();
        world.runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            tell.send(listener.local_addr().expect("it has an address")).expect("somebody listens");
            world.engine.http(listener, std::future::pending()).await;
        });
    });
    told.recv().expect("the server starts")
});

fuzz_target!(|input: &[u8]| {
    let mut socket = TcpStream::connect(*SERVER).expect("the server accepts");
    socket.set_read_timeout(Some(Duration::from_secs(8))).expect("a timeout can be set");
    // The server may have closed already.
    let _ = socket.write_all(input);
    let _ = socket.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection of a client that has gone is not ended: {error}"),
    }
    let http1 = answer.starts_with(b"HTTP/1.");
    // An HTTP/2 server begins with its settings.
    assert!(http1 || answer.is_empty() || answer.get(3) == Some(&4), "{:?}", &answer[..answer.len().min(64)]);
    if http1 {
        let status = answer.get(9..12).and_then(|status| std::str::from_utf8(status).ok());
        let status: u16 = status.and_then(|status| status.parse().ok()).unwrap_or(0);
        assert!((100..600).contains(&status) && status != 500, "{}", String::from_utf8_lossy(&answer));
    }
});
