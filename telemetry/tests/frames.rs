//! The codec against damage: resynchronising, every bit flip, long runs, sizes on the wire.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]
#![expect(clippy::cast_possible_truncation, reason = "test patterns are cut to bytes on purpose")]

use headwater_telemetry::limits::{BATCH_ENTRIES_MAX, BODY_BYTES_MAX, FRAME_BYTES_MAX};
use headwater_telemetry::*;

fn batch(entries: u32, value: impl Fn(u32) -> Value) -> Batch {
    let mut builder = BatchBuilder::new(BootId(7), Seq(41_000), Schema(0x1d0f), Uptime(123_456));
    for i in 0..entries {
        let at = Uptime(123_456 + u64::from(i) * 1_000);
        builder.reading(at, ChannelId((i % 3) as u8), value(i)).unwrap();
    }
    builder.finish(Some(UtcTime { at: Timestamp(1_790_000_000_000), quality: TimeQuality::Synced }))
}

fn fixed(i: u32) -> Value {
    Value::Fixed(2_150 + i as i32)
}

fn feed(deframer: &mut Deframer, bytes: &[u8]) -> Vec<Result<Up, FrameError>> {
    bytes.iter().filter_map(|&b| deframer.push(b).map(|body| body.and_then(decode_body::<Up>))).collect()
}

#[test]
fn a_frame_after_garbage_is_read() {
    let mut buf = [0u8; FRAME_BYTES_MAX];
    let message = Up::Batch(batch(24, fixed));
    let frame = encode_frame(&message, &mut buf).unwrap().to_vec();
    let overlong = vec![0x55; 3 * FRAME_BYTES_MAX];
    for garbage in [&[][..], &[1, 2, 3], &[0, 0, 0], &frame[..20], &frame[20..frame.len() - 1], &overlong] {
        let mut stream = garbage.to_vec();
        stream.extend(&frame); // may be eaten together with the garbage before it
        stream.extend(&frame);
        let got = feed(&mut Deframer::new(), &stream);
        assert_eq!(got.last(), Some(&Ok(message.clone())), "after {} bytes", garbage.len());
        // Nothing but the message and errors comes out.
        assert!(got.iter().all(|r| r.is_err() || *r == Ok(message.clone())));
    }
}

#[test]
fn an_overlong_frame_is_named_and_dropped() {
    let mut stream = vec![7u8; FRAME_BYTES_MAX];
    stream.push(0);
    assert_eq!(feed(&mut Deframer::new(), &stream), [Err(FrameError::TooLong)]);
}

#[test]
fn every_single_bit_flip_is_detected() {
    let message = Up::Batch(batch(8, fixed));
    let mut buf = [0u8; FRAME_BYTES_MAX];
    let frame = encode_frame(&message, &mut buf).unwrap().to_vec();
    for bit in 0..frame.len() * 8 {
        let mut bad = frame.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        bad.push(0);
        for got in feed(&mut Deframer::new(), &bad) {
            assert!(got.is_err(), "bit {bit} went unseen");
        }
    }
}

#[test]
fn long_runs_round_trip_in_a_frame_without_zeros() {
    let bodies = (0..=BODY_BYTES_MAX).flat_map(|len| {
        let runs: [fn(usize) -> u8; 5] =
            [|_| 0, |_| 0xff, |i| (i % 255 + 1) as u8, |i| (i * 7 % 256) as u8, |i| (i % 254 != 0) as u8];
        runs.map(|byte| (0..len).map(byte).collect::<Vec<u8>>())
    });
    for body in bodies {
        let mut buf = [0u8; FRAME_BYTES_MAX];
        let frame = frame_body(&body, &mut buf).unwrap();
        assert!(!frame[..frame.len() - 1].contains(&0));
        let mut deframer = Deframer::new();
        let mut got = None;
        for &byte in frame {
            if let Some(result) = deframer.push(byte) {
                got = Some(result.unwrap().to_vec());
            }
        }
        assert_eq!(got.unwrap_or_default(), body);
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut deframer = Deframer::new();
    for _ in 0..400_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Zeros often, so that many short frames come by.
        let byte = if state.is_multiple_of(11) { 0 } else { (state >> 32) as u8 };
        if let Some(Ok(body)) = deframer.push(byte) {
            assert!(decode_body::<Up>(body).is_err());
        }
    }
}

#[test]
fn whole_bodies_of_arbitrary_content_never_panic() {
    // The checksum is right, so the decoder sees the bytes: what a hostile or newer peer can send.
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut decoded = 0;
    for _ in 0..200_000 {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let len = next() % 40;
        let mut body: Vec<u8> = (0..len).map(|_| (next() % 7) as u8 * (1 + (next() % 37) as u8)).collect();
        let sum = crc.checksum(&body);
        body.extend(sum.to_le_bytes());
        if let Ok(Up::Batch(batch)) = decode_body::<Up>(&body) {
            decoded += 1;
            let places = batch.sequenced().count();
            assert_eq!(places, batch.entries.len());
            let _ = batch.through();
        }
    }
    assert!(decoded > 0, "the test no longer reaches the decoder's happy end");
}

#[test]
fn a_message_of_a_newer_peer_is_unknown_and_the_next_one_is_read() {
    #[derive(serde::Serialize)]
    enum NewerUp {
        _A,
        _B,
        _C,
        _D,
        _E,
        _F,
        Extra { a: u32, b: bool },
    }
    let mut buf = [0u8; FRAME_BYTES_MAX];
    let mut stream = encode_frame(&NewerUp::Extra { a: 9, b: true }, &mut buf).unwrap().to_vec();
    stream.extend(encode_frame(&Up::TimeRequest { nonce: 5 }, &mut buf).unwrap());
    let got = feed(&mut Deframer::new(), &stream);
    assert_eq!(got, [Err(FrameError::Unknown), Ok(Up::TimeRequest { nonce: 5 })]);
}

#[test]
fn a_borrowed_batch_encodes_as_the_owned_message() {
    let batch = batch(9, fixed);
    let (mut a, mut b) = ([0u8; BODY_BYTES_MAX], [0u8; BODY_BYTES_MAX]);
    assert_eq!(
        encode_batch(&batch, &mut a).unwrap(),
        encode_body(&Up::Batch(batch.clone()), &mut b).unwrap()
    );
}

#[test]
fn bytes_after_a_message_are_unknown_not_ignored() {
    let mut buf = [0u8; 64];
    let body = encode_body(&(Down::Identify, 1u8), &mut buf).unwrap();
    assert_eq!(decode_body::<Down>(body), Err(FrameError::Unknown));
}

#[test]
fn a_builder_refuses_the_text_that_would_not_fit() {
    let text = Value::Text(Text::truncated("123456789012345678901234"));
    let mut builder =
        BatchBuilder::new(BootId(u32::MAX), Seq(4_000_000_000), Schema(u16::MAX), Uptime(u64::MAX / 2));
    let at = Uptime(u64::MAX / 2 + u64::from(u32::MAX));
    let mut taken = 0;
    while builder.reading(at, ChannelId(255), text.clone()).is_ok() {
        taken += 1;
    }
    assert_eq!(builder.reading(at, ChannelId(255), text), Err(Refused::Bytes));
    assert!((10..BATCH_ENTRIES_MAX).contains(&taken), "{taken}");
    let utc = UtcTime { at: Timestamp(u64::MAX), quality: TimeQuality::Holdover };
    let mut buf = [0u8; BODY_BYTES_MAX];
    let body = encode_body(&Up::Batch(builder.finish(Some(utc))), &mut buf).unwrap();
    assert!(body.len() > BODY_BYTES_MAX - 40, "the limit is used, not just kept: {}", body.len());
}

#[test]
fn the_widest_numbers_always_make_a_full_batch() {
    let mut builder =
        BatchBuilder::new(BootId(u32::MAX), Seq(u32::MAX - 23), Schema(u16::MAX), Uptime(1 << 62));
    let at = Uptime((1 << 62) + u64::from(u32::MAX));
    for _ in 0..BATCH_ENTRIES_MAX {
        builder.reading(at, ChannelId(255), Value::Integer(i64::MIN)).unwrap();
    }
    assert_eq!(builder.next_seq(), None, "the line of this boot ends here");
    let batch = builder.finish(Some(UtcTime { at: Timestamp(u64::MAX), quality: TimeQuality::Synced }));
    assert_eq!(batch.through(), Some(Seq(u32::MAX)));
    let mut buf = [0u8; BODY_BYTES_MAX];
    assert!(encode_body(&Up::Batch(batch), &mut buf).is_ok());
}

#[test]
fn a_line_has_no_holes_and_a_malformed_batch_has_no_end() {
    let mut builder = BatchBuilder::new(BootId(1), Seq(10), Schema(0), Uptime(0));
    builder.reading(Uptime(0), ChannelId(0), fixed(0)).unwrap();
    builder.gap(Uptime(5), 7).unwrap();
    builder.reading(Uptime(9), ChannelId(0), fixed(1)).unwrap();
    assert_eq!(builder.gap(Uptime(9), 0), Err(Refused::Line));
    assert_eq!(builder.gap(Uptime(9), u32::MAX), Err(Refused::Line));
    let mut batch = builder.finish(None);
    let places: Vec<u32> = batch.sequenced().map(|(seq, _)| seq.0).collect();
    assert_eq!(places, [10, 11, 18]);
    assert_eq!(batch.through(), Some(Seq(18)));
    batch.first = Seq(u32::MAX - 8);
    assert_eq!(batch.through(), Some(Seq(u32::MAX)));
    batch.first = Seq(u32::MAX - 7);
    assert_eq!(batch.through(), None);
    batch.entries.clear();
    assert_eq!(batch.through(), None);
}

#[test]
fn a_repeat_gives_only_what_is_new_and_cuts_a_gap() {
    let mut builder = BatchBuilder::new(BootId(1), Seq(10), Schema(0), Uptime(0));
    builder.reading(Uptime(0), ChannelId(0), fixed(0)).unwrap();
    builder.gap(Uptime(5), 7).unwrap();
    builder.reading(Uptime(9), ChannelId(0), fixed(1)).unwrap();
    let batch = builder.finish(None);
    let places = |next| batch.after(Seq(next)).map(|(seq, entry)| (seq.0, entry.count())).collect::<Vec<_>>();
    assert_eq!(places(0), [(10, 1), (11, 7), (18, 1)]);
    assert_eq!(places(11), [(11, 7), (18, 1)]);
    assert_eq!(places(12), [(12, 6), (18, 1)]);
    assert_eq!(places(17), [(17, 1), (18, 1)]);
    assert_eq!(places(18), [(18, 1)]);
    assert_eq!(places(19), []);
}

#[test]
fn sizes_on_the_wire() {
    // Measured here so that the documentation cannot drift: a typical device, 2 digits after the point, 1 s apart.
    let mut buf = [0u8; FRAME_BYTES_MAX];
    let mut size = |message: &Up| encode_frame(message, &mut buf).unwrap().len();
    let text = |_| Value::Text(Text::truncated("door opened"));
    let id = CommandId(3_123_456_789);
    let figures = [
        (size(&Up::Batch(batch(1, fixed))), 31),
        (size(&Up::Batch(batch(8, fixed))), 80),
        (size(&Up::Batch(batch(24, fixed))), 199),
        (size(&Up::Batch(batch(8, |_| Value::Boolean(true)))), 72),
        (size(&Up::Batch(batch(8, |_| Value::Float(21.5)))), 96),
        (size(&Up::Batch(batch(8, text))), 160),
        (size(&Up::TimeRequest { nonce: 123_456_789 }), 11),
        (size(&Up::CommandResult(CommandResult { id, outcome: CommandOutcome::Done })), 13),
    ];
    let found: Vec<usize> = figures.iter().map(|f| f.0).collect();
    let stated: Vec<usize> = figures.iter().map(|f| f.1).collect();
    assert_eq!(found, stated);
    let mut size = |order| encode_frame(&Down::Command(Command { id, order }), &mut buf).unwrap().len();
    let part = CredentialsPart::all(&[7; limits::CREDENTIALS_BYTES_MAX]).last().unwrap();
    assert_eq!(size(Order::Reboot), 13);
    assert_eq!(size(Order::Period { channel: None, period_ms: 60_000 }), 17);
    assert_eq!(size(Order::Credentials(part)), 281);
}
