use super::*;
use crate::mqtt::limits::TOPIC_BYTES_MAX;
use bytes::BytesMut;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

const PACKET_BYTES: usize = 1 << 20;

/// Frames and decodes one packet that must fill `bytes`.
fn read(bytes: &[u8], version: Version) -> Result<Packet<'_>, CodecError> {
    let frame = frame(bytes, PACKET_BYTES)?.expect("a complete header");
    assert_eq!(frame.total, bytes.len());
    decode(frame.first, &bytes[frame.body..], version)
}

fn reason(bytes: &[u8], version: Version) -> u8 {
    read(bytes, version).expect_err("not a packet we take").reason.byte()
}

fn connect_reason(body: &[u8]) -> u8 {
    decode_connect(0x10, body).expect_err("not a CONNECT we take").1.reason.byte()
}

/// What rumqttc's codec writes, we read as it was meant.
#[test]
fn packets_of_rumqttc_are_read() {
    let mut out = BytesMut::new();
    let mut publish = v4::Publish::new("a/b", rumqttc::mqttbytes::QoS::ExactlyOnce, "payload");
    publish.pkid = 7;
    publish.write(&mut out).unwrap();
    let Packet::Publish(read_back) = read(&out, Version::V4).unwrap() else { panic!("PUBLISH") };
    assert_eq!(
        (read_back.topic, read_back.payload, read_back.qos, read_back.id),
        ("a/b", &b"payload"[..], 2, 7)
    );

    out.clear();
    let properties = v5::PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(60),
        topic_alias: Some(3),
        response_topic: Some("answer".into()),
        correlation_data: Some("42".into()),
        user_properties: vec![("k".into(), "v".into()), ("k".into(), "w".into())],
        subscription_identifiers: vec![],
        content_type: Some("application/json".into()),
    };
    let mut publish =
        v5::Publish::new("a/b", rumqttc::v5::mqttbytes::QoS::AtLeastOnce, "{}", Some(properties));
    publish.pkid = 9;
    publish.write(&mut out).unwrap();
    let Packet::Publish(read_back) = read(&out, Version::V5).unwrap() else { panic!("PUBLISH") };
    let properties = read_back.properties.unwrap();
    assert_eq!((read_back.alias, read_back.id, properties.user.len()), (3, 9, 2));
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    assert_eq!((properties.utf8, properties.message_expiry_s), (true, Some(60)));

    out.clear();
    let filter = v5::Filter::new("a/#", rumqttc::v5::mqttbytes::QoS::AtLeastOnce);
    let mut subscribe = v5::Subscribe::new(filter, None);
    subscribe.pkid = 2;
    subscribe.write(&mut out).unwrap();
    let Packet::Subscribe(read_back) = read(&out, Version::V5).unwrap() else { panic!("SUBSCRIBE") };
    assert_eq!((read_back.id, read_back.filters[0].filter.as_str(), read_back.filters[0].qos), (2, "a/#", 1));
}

#[test]
fn connects_of_rumqttc_are_read() {
    let mut out = BytesMut::new();
    let mut connect = v4::Connect::new("device-1");
    connect.set_login("user", "secret");
    connect.last_will = Some(v4::LastWill::new("gone", "bye", rumqttc::mqttbytes::QoS::AtLeastOnce, true));
    connect.write(&mut out).unwrap();
    let frame = frame(&out, PACKET_BYTES).unwrap().unwrap();
    let read = decode_connect(frame.first, &out[frame.body..]).unwrap();
    assert_eq!((read.client_id.as_str(), read.username.as_deref()), ("device-1", Some("user")));
    assert_eq!(read.password.as_deref(), Some(&b"secret"[..]));
    let will = read.will.unwrap();
    assert_eq!(
        (will.topic.as_str(), &will.payload[..], will.qos, will.retain),
        ("gone", &b"bye"[..], 1, true)
    );
}

/// One packet of every kind that a server sends.
fn packets_of_ours() -> Vec<u8> {
    let mut out = Vec::new();
    connack(
        &mut out,
        Version::V5,
        true,
        Reason::Success,
        Some(&ConnackProperties {
            session_expiry_s: Some(60),
            receive_maximum: 1024,
            packet_bytes_max: 70_000,
            topic_alias_maximum: 64,
            assigned_client_id: Some("headwater-1".into()),
            keep_alive_s: Some(600),
        }),
    );
    ack(&mut out, kind::PUBACK, Version::V5, 5, Reason::QuotaExceeded, None);
    ack(&mut out, kind::PUBREC, Version::V5, 6, Reason::PayloadFormatInvalid, Some("payload is not JSON"));
    ack(&mut out, kind::PUBCOMP, Version::V5, 6, Reason::Success, None);
    suback(&mut out, Version::V5, 8, &[0, 1, 2, 0x8F]);
    unsuback(&mut out, Version::V5, 9, &[0, 0x11]);
    pingresp(&mut out);
    let properties = PublishProperties {
        content_type: Some("text".into()),
        user: vec![("a".into(), "b".into())],
        ..PublishProperties::default()
    };
    encode_publish(
        &mut out,
        Version::V5,
        &Outgoing {
            topic: "a/b",
            payload: b"hello",
            qos: 1,
            retain: true,
            dup: true,
            id: 11,
            properties: &properties,
            expiry_s: Some(9),
            subscription_id: Some(300),
        },
    );
    disconnect(&mut out, Reason::SessionTakenOver, Some("again"));
    out
}

/// What we write, rumqttc's codec reads as it was meant.
#[test]
fn rumqttc_reads_what_we_write() {
    let mut stream = BytesMut::from(&packets_of_ours()[..]);
    let mut next = || v5::Packet::read(&mut stream, None).unwrap();
    let v5::Packet::ConnAck(connack) = next() else { panic!("CONNACK") };
    let properties = connack.properties.unwrap();
    assert_eq!((properties.receive_max, properties.server_keep_alive), (Some(1024), Some(600)));
    assert_eq!(properties.assigned_client_identifier.as_deref(), Some("headwater-1"));
    assert!(
        matches!(next(), v5::Packet::PubAck(ack) if ack.pkid == 5 && ack.reason == v5::PubAckReason::QuotaExceeded)
    );
    assert!(
        matches!(next(), v5::Packet::PubRec(ack) if ack.properties.as_ref().unwrap().reason_string.is_some())
    );
    assert!(matches!(next(), v5::Packet::PubComp(ack) if ack.pkid == 6));
    assert!(matches!(next(), v5::Packet::SubAck(ack) if ack.return_codes.len() == 4));
    assert!(matches!(next(), v5::Packet::UnsubAck(ack) if ack.reasons.len() == 2));
    assert!(matches!(next(), v5::Packet::PingResp(_)));
    let v5::Packet::Publish(publish) = next() else { panic!("PUBLISH") };
    assert_eq!(
        (&publish.topic[..], &publish.payload[..], publish.pkid, publish.dup, publish.retain),
        (&b"a/b"[..], &b"hello"[..], 11, true, true)
    );
    let properties = publish.properties.unwrap();
    assert_eq!(
        (properties.message_expiry_interval, properties.subscription_identifiers),
        (Some(9), vec![300])
    );
    assert!(
        matches!(next(), v5::Packet::Disconnect(d) if d.reason_code == v5::DisconnectReasonCode::SessionTakenOver)
    );
    assert!(stream.is_empty());
}

/// Every malformed packet gets the code the standard asks for.
#[test]
fn malformed_packets_are_refused_with_their_reason() {
    for (bytes, expected, what) in [
        (&b"\x36\x05\0\x01a\0\x01"[..], 0x81, "QoS 3"),
        (b"\x38\x03\0\x01a", 0x81, "DUP on QoS 0"),
        (b"\x32\x05\0\x01a\0\0", 0x82, "packet identifier 0"),
        (b"\x30\x03\0\x01#", 0x90, "wildcard in a topic"),
        (b"\x30\x03\0\x01+", 0x90, "wildcard in a topic"),
        (b"\x30\x02\0\0", 0x82, "empty topic"),
        (b"\x30\x03\0\x01\0", 0x81, "NUL in a topic"),
        (b"\x30\x03\0\x01\xff", 0x81, "topic is not UTF-8"),
        (b"\x30\x05\0\x03\xed\xa0\x80", 0x81, "surrogate in a topic"),
        (b"\x30\x03\0\x09a", 0x81, "topic beyond the packet"),
        (b"\x30\x01\0", 0x81, "half a length"),
        (b"\x80\x06\0\x01\0\x01a\0", 0x81, "SUBSCRIBE without its flags"),
        (b"\x82\x02\0\x01", 0x82, "SUBSCRIBE without a filter"),
        (b"\x82\x06\0\x01\0\x01a\x03", 0x81, "subscription QoS 3"),
        (b"\x82\x06\0\x01\0\x01a\x04", 0x81, "reserved option in 3.1.1"),
        (b"\x82\x06\0\0\0\x01a\0", 0x82, "SUBSCRIBE with identifier 0"),
        (b"\xa2\x02\0\x01", 0x82, "UNSUBSCRIBE without a filter"),
        (b"\x60\x02\0\x01", 0x81, "PUBREL without its flags"),
        (b"\x40\x03\0\x01\0", 0x81, "PUBACK with a byte too many"),
        (b"\x40\x01\0", 0x81, "PUBACK without an identifier"),
        (b"\xc0\x01\0", 0x81, "PINGREQ with a body"),
        (b"\xc1\0", 0x81, "PINGREQ with flags"),
        (b"\xe0\x01\0", 0x81, "DISCONNECT with a body in 3.1.1"),
        (b"\x10\0", 0x82, "second CONNECT"),
        (b"\x20\x02\0\0", 0x82, "CONNACK from a client"),
        (b"\xd0\0", 0x82, "PINGRESP from a client"),
        (b"\xf0\0", 0x82, "AUTH in 3.1.1"),
        (b"\0\0", 0x82, "packet type 0"),
    ] {
        assert_eq!(reason(bytes, Version::V4), expected, "{what}");
    }
    for (bytes, expected, what) in [
        (&b"\x30\x08\0\x01a\x04\x01\0\x01\0"[..], 0x82, "property given twice"),
        (b"\x30\x07\0\x01a\x03\x23\0\0", 0x94, "topic alias 0"),
        (b"\x30\x06\0\x01a\x02\x0b\x01", 0x82, "subscription identifier from a client"),
        (b"\x30\x09\0\x01a\x05\x11\0\0\0\x01", 0x81, "property of another packet"),
        (b"\x30\x06\0\x01a\x02\x7f\0", 0x81, "unknown property"),
        (b"\x30\x06\0\x01a\x02\x01\x02", 0x82, "flag property beyond 1"),
        (b"\x30\x05\0\x01a\x09\x01", 0x81, "properties beyond the packet"),
        (b"\x30\x08\0\x01a\x04\x08\0\x01#", 0x82, "wildcard in the response topic"),
        (b"\x82\x07\0\x01\0\0\x01a\x30", 0x82, "retain handling 3"),
        (b"\x82\x07\0\x01\0\0\x01a\x40", 0x81, "reserved option"),
        (b"\x82\x09\0\x01\x02\x0b\0\0\x01a\0", 0x82, "subscription identifier 0"),
        (b"\x82\x10\0\x01\0\0\x0a$share/g/a\x04", 0x82, "no local on a shared subscription"),
        (b"\x40\x04\0\x01\x01\0", 0x81, "reason PUBACK cannot have"),
        (b"\xe0\x01\x8e", 0x81, "reason a client cannot send"),
        (b"\xf0\0", 0x82, "AUTH without a method"),
    ] {
        assert_eq!(reason(bytes, Version::V5), expected, "{what}");
    }
    let long = [&[0x30, 0x83, 0x08, 0x04, 0x01][..], &[b'a'; TOPIC_BYTES_MAX + 1]].concat();
    assert_eq!(reason(&long, Version::V4), 0x90);
}

#[test]
fn malformed_connects_are_refused_with_their_reason() {
    for (body, expected, what) in [
        (&b"\0\x04MQTT\x03\x02\0\0\0\0"[..], 0x84, "level 3"),
        (b"\0\x06MQIsdp\x03\x02\0\0\0\0", 0x84, "MQTT 3.1"),
        (b"\0\x04HTTP\x04\x02\0\0\0\0", 0x84, "another protocol"),
        (b"\0\x04MQTT\x04\x03\0\0\0\0", 0x81, "reserved flag"),
        (b"\0\x04MQTT\x04\x42\0\0\0\0\0\0", 0x81, "password without a user"),
        (b"\0\x04MQTT\x04\x1e\0\0\0\0\0\x01w\0\0", 0x81, "will QoS 3"),
        (b"\0\x04MQTT\x04\x0a\0\0\0\0", 0x81, "will QoS without a will"),
        (b"\0\x04MQTT\x04\x22\0\0\0\0", 0x81, "will retain without a will"),
        (b"\0\x04MQTT\x04\x06\0\0\0\0\0\x01#\0\0", 0x90, "wildcard in the will topic"),
        (b"\0\x04MQTT\x04\x02\0\0\0\x01\0", 0x81, "NUL in the identifier"),
        (b"\0\x04MQTT\x04\x02\0\0\0\0x", 0x81, "bytes after it"),
        (b"\0\x04MQTT\x04\x02\0", 0x81, "cut short"),
        (b"\0\x04MQTT\x05\x02\0\0\x03\x21\0\0\0\0", 0x82, "receive maximum 0"),
        (b"\0\x04MQTT\x05\x02\0\0\x05\x27\0\0\0\0\0\0", 0x82, "maximum packet size 0"),
        (b"\0\x04MQTT\x05\x02\0\0\x06\x21\0\x01\x21\0\x01\0\0", 0x82, "property given twice"),
        (b"\0\x04MQTT\x05\x02\0\0\x03\x16\0\0\0\0", 0x82, "authentication data without a method"),
        (b"\0\x04MQTT\x05\x02\0\0\x02\x24\x01\0\0", 0x81, "property of CONNACK"),
    ] {
        assert_eq!(connect_reason(body), expected, "{what}");
    }
    let long = [&b"\0\x04MQTT\x04\x02\0\0\0\xff"[..], &[b'a'; 255]].concat();
    assert_eq!(connect_reason(&long), 0x85);
}

#[test]
fn the_fixed_header_waits_for_its_bytes_and_holds_its_limits() {
    assert_eq!(frame(b"", 100), Ok(None));
    assert_eq!(frame(b"\x30", 100), Ok(None));
    assert_eq!(frame(b"\x30\x80", 100), Ok(None));
    assert_eq!(frame(b"\x30\x62", 100), Ok(Some(Frame { first: 0x30, body: 2, total: 100 })));
    assert_eq!(frame(b"\x30\x63", 100).unwrap_err().reason, Reason::PacketTooLarge);
    assert_eq!(frame(b"\x30\x80\0", 100).unwrap_err().reason, Reason::MalformedPacket);
    assert_eq!(frame(b"\x30\xff\xff\xff\xff", 100).unwrap_err().reason, Reason::MalformedPacket);
    assert_eq!(frame(b"\x30\xff\xff\xff\x7f", usize::MAX).unwrap().unwrap().total, 268_435_455 + 5);
}

/// Random bytes, and valid packets with random bytes changed: decoding returns, whatever they are.
#[test]
fn no_bytes_make_decoding_panic() {
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        // splitmix64: any generator will do, this one needs no state but the seed.
        seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let samples: [&[u8]; 6] = [
        b"\x32\x1a\0\x03a/b\0\x07\x0c\x01\x01\x03\0\x01x\x26\0\x01k\0\x01vpay",
        b"\x82\x0c\0\x01\x02\x0b\x05\0\x04a/+b\x01",
        b"\xa2\x08\0\x01\0\0\x03a/#",
        b"\x40\x09\0\x05\x10\x05\x1f\0\x02ok",
        b"\xe0\x07\0\x05\x11\0\0\0\x09",
        b"\x10\x1c\0\x04MQTT\x05\xc6\0\x3c\0\0\x01c\0\0\x01w\0\x01p\0\x01u\0\x01s",
    ];
    let (mut decoded, mut refused) = (0, 0);
    for round in 0..200_000_u64 {
        let mut bytes = samples[usize::try_from(round % 6).unwrap()].to_vec();
        if round % 7 == 0 {
            bytes = (0..random() % 64).map(|_| random().to_le_bytes()[0]).collect();
        }
        for _ in 0..random() % 4 {
            if let Some(at) = random().checked_rem(bytes.len() as u64) {
                bytes[usize::try_from(at).unwrap()] = random().to_le_bytes()[0];
            }
        }
        let (first, body) =
            bytes.split_first().map_or((0, &[][..]), |(first, rest)| (*first, rest.get(1..).unwrap_or(&[])));
        let _ = frame(&bytes, 1000);
        for version in [Version::V4, Version::V5] {
            match decode(first, body, version) {
                Ok(_) => decoded += 1,
                Err(_) => refused += 1,
            }
        }
        let _ = decode_connect(first, body);
    }
    assert!(decoded > 10_000 && refused > 10_000, "{decoded} decoded, {refused} refused");
}
