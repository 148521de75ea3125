//! The TLS listener: certificates of `headwater certificates`, devices with the very code of the boards, clients that
//! are not who they should be.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod tls_support;

use headwater::Gateway;
use headwater_device::mqtt::tls::{NoClock, Records, Tls};
use headwater_device::mqtt::{self, Buffers};
use headwater_device::{Device, LinkDown};
use headwater_telemetry::Credentials;
use rand_core::OsRng;
use rustls::pki_types::ServerName;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use tls_support::{
    Certificates, Dialer, PATIENCE, Sensor, Uptimes, connack, connect, device, gateway, rustls_client,
};

/// Runs a device's uplink until it has delivered all it stored, or its link went down.
async fn deliver(gateway: &Gateway, credentials: Credentials<'_>, name: &str) -> Result<(), LinkDown> {
    let (clock, mut sensor) = (Uptimes::start(), Sensor::default());
    let device: Device<_, ()> = device(name, &sensor).await;
    let (mut records, mut buffers) = (Records::new(), Buffers::new());
    let dialer = Dialer(gateway.tls_addr().unwrap());
    let mut dial = Tls::<_, _, NoClock>::new(dialer, credentials, &mut records, OsRng);
    let (ends, ended) = std::sync::mpsc::channel();
    let login = mqtt::Gateway::default();
    tokio::select! {
        _ = device.run(&clock, &mut sensor) => panic!("the device stopped"),
        _ = mqtt::run(&device, &clock, &mut dial, login, &mut buffers, |down| ends.send(down).unwrap()) => {}
        end = tls_support::until(|| ended.try_recv().ok()) => return Err(end),
        () = tls_support::delivered(&device, 3) => {}
    }
    Ok(())
}

#[tokio::test]
async fn a_device_with_its_certificate_delivers_over_tls_with_the_code_of_the_boards() {
    let certificates = Certificates::make(&["gateway.local", "127.0.0.1"], &["pump-7"]);
    let gateway = gateway(&certificates, "").await;
    let files = certificates.of("pump-7");
    let delivered =
        tokio::time::timeout(PATIENCE, deliver(&gateway, files.credentials("gateway.local"), "pump-7"));
    delivered.await.expect("in time").unwrap();
    let ledger = gateway.stop().await;
    assert!(ledger.routes.records >= 3, "{ledger}");
    assert_eq!((ledger.routes.dead_lettered, ledger.mqtt.tls_refused), (0, 0), "{ledger}");
}

#[tokio::test]
async fn a_device_trusts_its_own_authority_and_the_right_name_only() {
    let certificates = Certificates::make(&["gateway.local"], &["pump-7"]);
    let other = Certificates::make(&["gateway.local"], &["pump-7"]);
    let gateway = gateway(&certificates, "").await;
    let (own, foreign) = (certificates.of("pump-7"), other.of("pump-7"));
    let authority = foreign.credentials("gateway.local").authority;
    let fooled = Credentials { authority, ..own.credentials("gateway.local") };
    assert_eq!(deliver(&gateway, fooled, "pump-7").await, Err(LinkDown::Untrusted));
    assert_eq!(deliver(&gateway, own.credentials("other.local"), "pump-7").await, Err(LinkDown::Untrusted));

    // Signed by another authority: the gateway ends the connection, and nothing of it was stored.
    let own_authority = own.credentials("gateway.local").authority;
    let stranger = Credentials { authority: own_authority, ..foreign.credentials("gateway.local") };
    deliver(&gateway, stranger, "pump-7").await.unwrap_err();
    let ledger = gateway.stop().await;
    assert_eq!(ledger.routes.received, 0, "{ledger}");
    assert_eq!(ledger.mqtt.tls_refused, 3, "{ledger}");
}

#[tokio::test]
async fn a_certificate_is_for_the_device_it_names_and_for_its_topics() {
    let certificates = Certificates::make(&["gateway.local"], &["pump-7"]);
    let gateway = gateway(&certificates, "").await;
    let address = gateway.tls_addr().unwrap();
    let answers = tokio::task::spawn_blocking(move || {
        let mut as_other = rustls_client(address, &certificates, Some("pump-7")).unwrap();
        let refused = connect(&mut as_other, "pump-8");
        let mut as_itself = rustls_client(address, &certificates, Some("pump-7")).unwrap();
        let accepted = connect(&mut as_itself, "pump-7");
        let own = tls_support::publish(&mut as_itself, "headwater/pump-7/log", b"x");
        let foreign = tls_support::publish(&mut as_itself, "headwater/pump-8/log", b"x");
        (refused, accepted, own, foreign)
    });
    let (refused, accepted, own, foreign) = answers.await.unwrap();
    assert_eq!((refused, accepted), (0x87, 0x00));
    assert_ne!(own, 0x87);
    assert_eq!(foreign, 0x87);
    gateway.stop().await;
}

#[tokio::test]
async fn without_a_certificate_nobody_comes_in_unless_passwords_are_asked_for() {
    let certificates = Arc::new(Certificates::make(&["gateway.local"], &["pump-7"]));
    let strict = gateway(&certificates, "").await;
    let (address, files) = (strict.tls_addr().unwrap(), Arc::clone(&certificates));
    let answer = tokio::task::spawn_blocking(move || {
        rustls_client(address, &files, None).map(|mut client| connect(&mut client, "pump-7"))
    });
    assert!(!matches!(answer.await.unwrap(), Ok(0)));
    strict.stop().await;

    let users = "[[mqtt.users]]\nname = \"u\"\npassword = \"p\"\n";
    let open = tls_support::gateway_with(&certificates, "client_certificates = \"optional\"\n", users).await;
    let (address, files) = (open.tls_addr().unwrap(), Arc::clone(&certificates));
    let answers = tokio::task::spawn_blocking(move || {
        let mut nobody = rustls_client(address, &files, None).unwrap();
        let mut user = rustls_client(address, &files, None).unwrap();
        (connect(&mut nobody, "pump-7"), tls_support::log_in(&mut user, "agent", "u", "p"))
    });
    assert_eq!(answers.await.unwrap(), (0x86, 0x00));
    open.stop().await;
}

#[tokio::test]
async fn no_record_is_larger_than_a_device_has_room_for() {
    let certificates = Certificates::make(&["gateway.local"], &["pump-7"]);
    let gateway = tls_support::gateway_with(&certificates, "fragment = \"1KiB\"\n", "").await;
    let address = gateway.tls_addr().unwrap();
    let lengths = tokio::task::spawn_blocking(move || {
        let mut client = rustls_client(address, &certificates, Some("pump-7")).unwrap();
        assert_eq!(connect(&mut client, "pump-7"), 0);
        tls_support::subscribe(&mut client, "headwater/pump-7/command");
        // Comes back as one packet of 5,000 bytes, in several records.
        tls_support::publish(&mut client, "headwater/pump-7/command", &[7; 5_000]);
        client.sock.lengths()
    });
    let lengths = lengths.await.unwrap();
    assert!(lengths.iter().sum::<usize>() > 5_000, "{lengths:?}");
    // 5 bytes of header are not counted in a record's length; content type and tag are.
    assert!(lengths.iter().all(|&length| length <= 1_024 + 1 + 16), "{lengths:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_not_tls_is_refused_and_silence_ends() {
    let certificates = Certificates::make(&["gateway.local"], &[]);
    let gateway = gateway(&certificates, "").await;
    let address = gateway.tls_addr().unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        let mut plain = TcpStream::connect(address).unwrap();
        plain.set_read_timeout(Some(PATIENCE)).unwrap();
        plain.write_all(b"\x10\x10\0\x04MQTT\x05\x02\0\x3c\0\0\x03dev").unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer);
        answer
    });
    assert!(connack(&answer.await.unwrap()).is_none(), "an alert is no CONNACK");
    let ledger = gateway.stop().await;
    assert_eq!((ledger.mqtt.tls_refused, ledger.routes.received), (1, 0));
    // What a device is called must be a name that a certificate can have.
    assert!(ServerName::try_from("pump_7.barn-1").is_ok());
}

#[tokio::test]
async fn certificates_that_change_are_read_for_the_next_connection() {
    let certificates = Certificates::make(&["gateway.local"], &["pump-7"]);
    let gateway = gateway(&certificates, "").await;
    let files = certificates.of("pump-7");
    deliver(&gateway, files.credentials("gateway.local"), "pump-7").await.unwrap();

    // A new name, as when the gateway moves; the same authority.
    certificates.replace_server("barn.local");
    assert_eq!(
        deliver(&gateway, files.credentials("gateway.local"), "pump-7").await,
        Err(LinkDown::Untrusted)
    );
    deliver(&gateway, files.credentials("barn.local"), "pump-7").await.unwrap();

    // A file that is no certificate leaves what was there.
    certificates.spoil_server();
    deliver(&gateway, files.credentials("barn.local"), "pump-7").await.unwrap();
    gateway.stop().await;
}
