//! Wire version 1, byte for byte. If this fails, the code is wrong: devices in the field speak these bytes.
//! Never edit a line here; a new message gets a new line.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]

use headwater_telemetry::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn check<T>(name: &str, message: T, golden: &str)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let mut buf = [0u8; limits::BODY_BYTES_MAX];
    let body = encode_body(&message, &mut buf).unwrap();
    assert_eq!(hex(body), golden, "{name}: encoding changed");
    assert_eq!(decode_body::<T>(body).unwrap(), message, "{name}: decoding changed");
}

fn channels() -> heapless::Vec<Channel, { limits::CHANNELS_MAX }> {
    [
        Channel::new("temperature", "°C", ValueKind::Fixed, -2),
        Channel::new("battery", "V", ValueKind::Float, 0),
        Channel::new("pulses", "", ValueKind::Integer, 0),
        Channel::new("door", "", ValueKind::Boolean, 0),
        Channel::new("card", "", ValueKind::Text, 0),
    ]
    .into_iter()
    .map(Result::unwrap)
    .collect()
}

fn hello() -> Hello {
    let device = DeviceId::parse("greenhouse-7").unwrap();
    Hello::new(device, BootId(300), "demo 0.1.0", ResetReason::Watchdog, channels())
}

fn batch() -> Batch {
    let mut builder = BatchBuilder::new(BootId(300), Seq(70_000), hello().schema, Uptime(1_000_000));
    builder.reading(Uptime(1_000_000), ChannelId(0), Value::Fixed(-2_150)).unwrap();
    builder.reading(Uptime(1_000_001), ChannelId(1), Value::Float(3.3)).unwrap();
    builder.reading(Uptime(1_000_500), ChannelId(2), Value::Integer(-9_000_000_000)).unwrap();
    builder.reading(Uptime(1_001_000), ChannelId(3), Value::Boolean(true)).unwrap();
    builder.reading(Uptime(1_070_000), ChannelId(4), Value::Text(Text::truncated("0xCAFE ü"))).unwrap();
    builder.gap(Uptime(1_070_001), 4_000).unwrap();
    builder.finish(Some(UtcTime { at: Timestamp(1_790_000_000_000), quality: TimeQuality::Synced }))
}

#[test]
fn up() {
    check(
        "hello",
        Up::Hello(hello()),
        "00010c677265656e686f7573652d37ac020a64656d6f20302e312e30038a9c02050b74656d706572617475726503c2b04300fe0762617474657279015601000670756c73657300020004646f6f720003000463617264000400a4aa1911",
    );
    check(
        "batch",
        Up::Batch(batch()),
        "01ac02f0a2048a9c02c0843d0180d8c1a28c34000600000000cb2100010101333353400002f40302ffe78887430003e80703010004f0a204040930784341464520c3bc01a01ff1a2048e6003b1",
    );
    check(
        "batch without time",
        Up::Batch(Batch { utc: None, ..batch() }),
        "01ac02f0a2048a9c02c0843d000600000000cb2100010101333353400002f40302ffe78887430003e80703010004f0a204040930784341464520c3bc01a01ff1a2040af72c2e",
    );
    let with = |quality| Batch { utc: batch().utc.map(|utc| UtcTime { quality, ..utc }), ..batch() };
    check(
        "batch, estimated",
        Up::Batch(with(TimeQuality::Estimated)),
        "01ac02f0a2048a9c02c0843d0180d8c1a28c34010600000000cb2100010101333353400002f40302ffe78887430003e80703010004f0a204040930784341464520c3bc01a01ff1a20427d6eebb",
    );
    check(
        "batch, holdover",
        Up::Batch(with(TimeQuality::Holdover)),
        "01ac02f0a2048a9c02c0843d0180d8c1a28c34020600000000cb2100010101333353400002f40302ffe78887430003e80703010004f0a204040930784341464520c3bc01a01ff1a204dc0dd8a4",
    );
    check("time request", Up::TimeRequest { nonce: 123_456_789 }, "02959aef3aae986f63");
    let log = |level| Up::Log(Log::new(BootId(300), Uptime(77), level, "flash page 3 was formatted"));
    check(
        "log, info",
        log(LogLevel::Info),
        "03ac024d001a666c617368207061676520332077617320666f726d6174746564b7e3a6b1",
    );
    check(
        "log, warn",
        log(LogLevel::Warn),
        "03ac024d011a666c617368207061676520332077617320666f726d61747465648368b313",
    );
    check(
        "log, error",
        log(LogLevel::Error),
        "03ac024d021a666c617368207061676520332077617320666f726d61747465642e8361f0",
    );
    check("config stored", Up::ConfigResult(ConfigOutcome::Stored), "04000e16ebbf");
    check("config refused", Up::ConfigResult(ConfigOutcome::Refused), "04010d95804d");
    check("config failed", Up::ConfigResult(ConfigOutcome::FlashFailed), "0402f966d05e");
}

#[test]
fn down() {
    check("ack", Down::Ack { boot: BootId(300), through: Seq(74_004) }, "00ac0294c204febf3539");
    let utc = UtcTime { at: Timestamp(1_790_000_000_123), quality: TimeQuality::Estimated };
    check("time", Down::Time { nonce: 123_456_789, utc }, "01959aef3afbd8c1a28c3401c172e918");
    let config = Config {
        device: DeviceId::parse("greenhouse-8").unwrap(),
        network: Some(Network {
            ssid: bounded("farm").unwrap(),
            passphrase: Secret::new("tomatoes and basil").unwrap(),
        }),
        uplink: Some(Uplink {
            host: bounded("gateway.farm").unwrap(),
            port: 1883,
            user: bounded("greenhouse-8").unwrap(),
            password: Secret::new("s3cret").unwrap(),
        }),
        period_ms: 10_000,
        batch_age_ms: 60_000,
    };
    check(
        "config",
        Down::Config(config.clone()),
        "020c677265656e686f7573652d3801046661726d12746f6d61746f657320616e6420626173696c010c676174657761792e6661726ddb0e0c677265656e686f7573652d3806733363726574904ee0d403cde883d7",
    );
    let small = Config { network: None, uplink: None, ..config };
    check("config for serial", Down::Config(small), "020c677265656e686f7573652d380000904ee0d403c7cf6bdd");
    check("identify", Down::Identify, "03a5a02d41");
}

#[test]
fn commands() {
    let command = |id, order| Down::Command(Command { id: CommandId(id), order });
    check("identify", command(1, Order::Identify), "040100179f18ed");
    let period = |channel, period_ms| Order::Period { channel, period_ms };
    check("period of all", command(300, period(None, 60_000)), "04ac020100e0d40399199da6");
    check("period of one", command(u32::MAX, period(Some(ChannelId(2)), 0)), "04ffffffff0f010102004d1ffab6");
    check("reboot", command(7, Order::Reboot), "040702d2beec65");
    let config = Config {
        device: DeviceId::parse("greenhouse-8").unwrap(),
        network: None,
        uplink: None,
        period_ms: 10_000,
        batch_age_ms: 60_000,
    };
    check(
        "provision",
        command(8, Order::Provision(config)),
        "0408030c677265656e686f7573652d380000904ee0d4030d45ec60",
    );
    check("removal", command(9, Order::Credentials(CredentialsPart::removal())), "040904000000000a62ad71");
    let key = [0x5a; 300];
    let credentials = Credentials { server_name: "gw", authority: b"ca", certificate: b"me", key: &key };
    let mut out = [0u8; limits::CREDENTIALS_BYTES_MAX];
    let encoded = credentials.encode(&mut out).unwrap();
    assert_eq!(hex(&encoded[..14]), "026777026361026d65ac025a5a5a");
    let last = CredentialsPart::all(encoded).last().unwrap();
    check(
        "last piece",
        command(10, Order::Credentials(last)),
        "040a04b70296cca0d1048002375a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a577d6825",
    );
}

#[test]
fn results() {
    let result = |outcome| Up::CommandResult(CommandResult { id: CommandId(300), outcome });
    check("done", result(CommandOutcome::Done), "05ac0200eaf6a905");
    check("refused", result(CommandOutcome::Refused), "05ac0201e975c2f7");
    check("flash failed", result(CommandOutcome::FlashFailed), "05ac02021d8692e4");
}

#[test]
fn reset_reasons() {
    let all = [
        ResetReason::Unknown,
        ResetReason::Power,
        ResetReason::BrownOut,
        ResetReason::Watchdog,
        ResetReason::Panic,
        ResetReason::Requested,
    ];
    let mut buf = [0u8; 8];
    let bytes: Vec<u8> = all.iter().map(|r| encode_body(r, &mut buf).unwrap()[0]).collect();
    assert_eq!(bytes, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn schema() {
    assert_eq!(hello().schema, Schema(0x8e0a));
    assert_eq!(schema_of(&heapless::Vec::new()), Schema(0xe1f0));
}

#[test]
fn frame() {
    let mut buf = [0u8; limits::FRAME_BYTES_MAX];
    assert_eq!(hex(encode_frame(&Up::TimeRequest { nonce: 0 }, &mut buf).unwrap()), "0202053c4724d600");
    assert_eq!(
        hex(encode_frame(&Up::Hello(hello()), &mut buf).unwrap()),
        "0131010c677265656e686f7573652d37ac020a64656d6f20302e312e30038a9c02050b74656d706572617475726503c2b0430dfe0762617474657279015601080670756c73657302020604646f6f720203060463617264020405a4aa191100"
    );
}
