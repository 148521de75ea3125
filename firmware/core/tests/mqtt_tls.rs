//! TLS under the uplink: who is believed, who is not, and that every end is one.

#![allow(clippy::unwrap_used, reason = "a panic is the report")]

mod house;
mod impostor;
mod peer;

use headwater_device::LinkDown;
use headwater_device::mqtt::tls::{LearnedTime, NoClock, Records, Tls, TlsClock};
use headwater_device::mqtt::{Buffers, Dial, Gateway, run, serve};
use headwater_device::testing::Rng;
use headwater_telemetry::{TimeQuality, Timestamp, UtcTime};
use house::{Chance, Device, Dialer, Identity, NAME, PATIENCE, server};
use impostor::{Impostor, Message};
use peer::{Said, Sensor, Tiny, Uptimes, Watch, answer, board};
use rcgen::date_time_ymd;
use std::cell::RefCell;
use tokio::io::DuplexStream;
use tokio_rustls::TlsAcceptor;

/// An authority, a gateway and a device of it.
fn house() -> (Identity, Identity, Device) {
    let authority = Identity::authority("house");
    let gateway = authority.sign(NAME);
    let device = Device::new(authority.sign("pump-7"), &authority);
    (authority, gateway, device)
}

/// Streams with room for a whole flight of a handshake.
fn streams() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(16_384)
}

/// A device with an impostor that says `messages`.
async fn against(device: &Device, messages: &[Message<'_>]) -> Result<(), LinkDown> {
    let (near, far) = streams();
    let impostor = async {
        let mut impostor = Impostor::greet(far).await;
        for message in messages {
            if !impostor.say(message).await {
                break;
            }
        }
        // What the device says at last finds somebody.
        impostor.rest().await;
    };
    let (ended, ()) = tokio::join!(device.handshake::<NoClock>(near), impostor);
    ended
}

#[tokio::test]
async fn nobody_is_the_gateway_who_does_not_prove_it() {
    let (authority, gateway, device) = house();
    let (chain, key) = ([&gateway.der[..]], gateway.signing());
    let (certificate, verify) = (Message::Certificate(&chain), Message::Verify(&key));
    let good = [Message::Extensions, certificate, verify, Message::Finished];
    assert_eq!(against(&device, &good).await, Ok(()), "the impostor's TLS is right");
    // Certificates are no secret: everybody can show the gateway's.
    let (other, chains) = (Identity::authority("other"), [&gateway.der[..], &authority.der[..]]);
    let wrong = other.signing();
    let bad: [&[Message<'_>]; 7] = [
        &[],
        &[Message::Certificate(&chain)],
        &[Message::Certificate(&chain), Message::Verify(&wrong)],
        &[Message::Verify(&key)],
        &[Message::Verify(&key), Message::Certificate(&chain)],
        &[Message::Certificate(&chain), Message::Certificate(&chain)],
        &[Message::Certificate(&[])],
    ];
    for (index, messages) in bad.into_iter().enumerate() {
        let (near, far) = streams();
        let impostor = async {
            let mut impostor = Impostor::greet(far).await;
            impostor.say(&Message::Extensions).await;
            for message in messages {
                impostor.say(message).await;
            }
            impostor.say(&Message::Finished).await;
            impostor.rest().await;
        };
        let (ended, ()) = tokio::join!(device.handshake::<NoClock>(near), impostor);
        assert_eq!(ended, Err(LinkDown::Untrusted), "number {index}");
    }
    let good = [Message::Extensions, Message::Certificate(&chains), Message::Verify(&key), Message::Finished];
    assert_eq!(against(&device, &good).await, Ok(()), "the authority may come along");
}

#[tokio::test]
async fn whatever_a_stranger_sends_in_a_handshake_ends_it() {
    let (_, gateway, device) = house();
    let mut rng = Rng::new(5);
    assert_eq!(against(&device, &[Message::Empty]).await, Err(LinkDown::Closed));
    for _ in 0..300 {
        let mut raw = Vec::new();
        for _ in 0..=rng.below(2) {
            let mut body: Vec<u8> = (0..rng.below(60)).map(|_| random_byte(&mut rng)).collect();
            let kind = [8, 11, 15, 13, 4, 20, 24, 2, 1][usize::try_from(rng.below(9)).unwrap()];
            if kind == 11 && rng.chance(2) {
                // The gateway's certificate, changed somewhere.
                let mut certificate = gateway.der.clone();
                let at = usize::try_from(rng.below(certificate.len() as u64)).unwrap();
                certificate[at] = random_byte(&mut rng);
                let [_, _, high, low] = u32::try_from(certificate.len()).unwrap().to_be_bytes();
                let [_, _, list_high, list_low] = u32::try_from(certificate.len() + 5).unwrap().to_be_bytes();
                body = [&[0, 0, list_high, list_low, 0, high, low], &certificate[..], &[0, 0]].concat();
            }
            let [_, middle, high, low] = u32::try_from(body.len()).unwrap().to_be_bytes();
            // Now and then it says that it is longer than it is.
            let low = low.wrapping_add(u8::from(rng.chance(8)));
            raw.extend([&[kind, middle, high, low], &body[..]].concat());
        }
        let ended = against(&device, &[Message::Raw(&raw), Message::Empty]).await;
        assert!(ended.is_err(), "{raw:02x?}");
    }
}

fn random_byte(rng: &mut Rng) -> u8 {
    let random = rng.next_u64().to_le_bytes();
    // Small numbers reach further.
    if random[0].is_multiple_of(2) { random[1] % 4 } else { random[1] }
}

/// What a device and a gateway as rustls makes it say to each other's handshake.
async fn with_rustls<T: TlsClock>(device: &Device, acceptor: &TlsAcceptor) -> (Result<(), LinkDown>, bool) {
    let (near, far) = streams();
    let accepted = async {
        let mut accepted = acceptor.accept(far).await;
        if let Ok(tls) = &mut accepted {
            // A client knows the outcome of its handshake only when it reads.
            use tokio::io::AsyncReadExt as _;
            let _ = tls.read(&mut [0]).await;
        }
        accepted.is_ok()
    };
    tokio::join!(device.handshake::<T>(near), accepted)
}

#[tokio::test]
async fn a_gateway_of_another_authority_or_name_is_refused() {
    let (authority, gateway, device) = house();
    let good = with_rustls::<NoClock>(&device, &server(&[&gateway], &authority, 2_048)).await;
    assert_eq!(good, (Ok(()), true));
    let stranger = Identity::authority("house");
    let fake = stranger.sign(NAME);
    let other = authority.sign("printer.local");
    for chain in [&[&fake][..], &[&fake, &stranger], &[&other]] {
        let (ended, _) = with_rustls::<NoClock>(&device, &server(chain, &authority, 2_048)).await;
        assert_eq!(ended, Err(LinkDown::Untrusted));
    }
}

#[tokio::test]
async fn a_device_cannot_make_itself_a_gateway() {
    let (authority, _, device) = house();
    // A certificate of the house, though not one that may sign.
    let thief = authority.sign("pump-8");
    let fake = thief.sign(NAME);
    for chain in [&[&fake, &thief][..], &[&fake, &thief, &authority], &[&fake]] {
        let (ended, _) = with_rustls::<NoClock>(&device, &server(chain, &authority, 2_048)).await;
        assert_eq!(ended, Err(LinkDown::Untrusted), "{} certificates", chain.len());
    }
}

#[tokio::test]
async fn a_device_of_another_authority_learns_that_it_is_not_wanted() {
    let (authority, gateway, _) = house();
    let stranger = Identity::authority("stranger");
    let foreign = Device::new(stranger.sign("pump-7"), &authority);
    let acceptor = server(&[&gateway], &authority, 2_048);
    let (near, far) = streams();
    let (mut records, mut buffers) = (Records::new(), Buffers::new());
    let credentials = foreign.credentials(NAME);
    let mut tls =
        Tls::<_, _, NoClock>::new(Dialer(vec![near]), credentials, &mut records, Chance(Rng::new(1)));
    let watch = Watch::default();
    let (board, clock) = (board(&watch).await, Uptimes::start());
    let device = async {
        // TLS 1.3 tells a client after its own last word.
        let mut stream = tls.dial().await?;
        Err(serve(&board, &clock, &mut stream, Gateway::default(), &mut buffers).await)
    };
    let both = async { tokio::join!(device, acceptor.accept(far)) };
    let (ended, accepted) = tokio::time::timeout(PATIENCE, both).await.expect("it ends");
    let ended: Result<(), LinkDown> = ended;
    assert!(accepted.is_err());
    assert!(matches!(ended, Err(LinkDown::Untrusted | LinkDown::Closed)), "{ended:?}");
}

#[tokio::test]
async fn a_flight_that_does_not_fit_is_a_clear_end() {
    let (authority, _, device) = house();
    let names =
        (0..12).map(|index| format!("a-name-of-a-gateway-that-is-long-{index}.a-long-domain.example"));
    let large = authority.sign_as(NAME, |params| {
        params.subject_alt_names.extend(
            (0..12)
                .cycle()
                .take(80)
                .zip(names.cycle())
                .map(|(_, name)| rcgen::SanType::DnsName(name.as_str().try_into().unwrap())),
        );
    });
    assert!(large.der.len() > 4_096);
    let (ended, _) = with_rustls::<NoClock>(&device, &server(&[&large], &authority, 16_000)).await;
    assert_eq!(ended, Err(LinkDown::TooLarge));
}

#[tokio::test]
async fn batches_go_over_tls_and_dates_count_once_the_time_is_known() {
    let (authority, gateway, device) = house();
    let old = authority.sign_as(NAME, |params| params.not_after = date_time_ymd(2026, 1, 1));
    let acceptors = [server(&[&gateway], &authority, 2_048), server(&[&old], &authority, 2_048)];
    let watch = Watch::default();
    let (board, clock, mut sensor) = (board(&watch).await, Uptimes::start(), Sensor::default());
    // In the first connection, the gateway says that it is 2027.
    let utc = UtcTime { at: Timestamp(1_800_000_000_000), quality: TimeQuality::Synced };
    let tiny = RefCell::new(Tiny { time: Some(utc), reasons: [Some(0), None].into(), ..Tiny::default() });
    let (streams, accepted): (Vec<_>, Vec<_>) = (0..2).map(|_| streams()).unzip();
    let (mut records, mut buffers, mut downs) = (Records::new(), Buffers::new(), Vec::new());
    let credentials = device.credentials(NAME);
    // Dialled from the last to the first.
    let mut tls =
        Tls::<_, _, LearnedTime>::new(Dialer(streams), credentials, &mut records, Chance(Rng::new(2)));
    let gateway = async {
        for (far, acceptor) in accepted.into_iter().rev().zip(&acceptors) {
            if let Ok(tls) = acceptor.accept(far).await {
                answer(&tiny, tls).await;
            }
        }
        std::future::pending::<()>().await;
    };
    let (told, ends) = tokio::sync::oneshot::channel();
    let mut told = Some(told);
    tokio::select! {
        _ = board.run(&clock, &mut sensor) => panic!("the device stopped"),
        never = run(&board, &clock, &mut tls, Gateway::default(), &mut buffers, |down| {
            downs.push(down);
            if downs.len() == 2 && let Some(told) = told.take() {
                let _ = told.send(());
            }
        }) => match never {},
        () = gateway => {}
        _ = ends => {}
        () = tokio::time::sleep(PATIENCE) => panic!("not done"),
    }
    assert_eq!(downs, [LinkDown::Closed, LinkDown::Untrusted]);
    assert_eq!(tiny.borrow().stored.len(), 2);
    assert!(tiny.borrow().said.iter().any(|said| matches!(said, Said::Publish(kind, ..) if kind == "birth")));
    // A device that does not know the time goes without.
    assert_eq!(with_rustls::<NoClock>(&device, &acceptors[1]).await, (Ok(()), true));
}
