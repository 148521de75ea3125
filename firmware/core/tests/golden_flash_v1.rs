//! Flash of format 1, byte for byte. If this fails, the code is wrong: devices in the field hold these bytes, and would lose
//! their name, their counter or their batches. Never edit a line here; what is new gets a new line.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]

use embassy_futures::block_on as now;
use headwater_device::testing::{FlashModel, SharedFlash};
use headwater_device::time::TimeMark;
use headwater_device::{Device, Found, Layout, Outbox, Sampler, Settings, Spool};
use headwater_telemetry::limits::{BODY_BYTES_MAX, CHANNELS_MAX, CREDENTIALS_BYTES_MAX};
use headwater_telemetry::{
    Batch, BatchBuilder, BootId, Channel, ChannelId, Command, CommandId, CommandOutcome, Config, Credentials,
    CredentialsPart, DeviceId, Order, Schema, Seq, TimeQuality, Timestamp, Up, Uptime, UtcTime, Value,
    ValueKind, decode_body, heapless,
};
use std::cell::RefCell;
use std::rc::Rc;

const PAGE: usize = 1024;
type Chip = Rc<RefCell<FlashModel<PAGE, 8>>>;

/// Before there were orders, time marks and a vault: three starts, a configuration in the second, nine readings in each, of
/// which the first start knew no time; two batches delivered.
const OLD: [&str; 2] = [
    "0100b1014de241d100000000000000000100b4012a57b51801000000000000000100b401dea4e50b02000000000000001400e8013ec34f690c677265656e686f7573652d380000904ee0d403000000000100b401dd278ef90300000000000000",
    "0900a70100b65fd7000004000000000000000000000000002000d101d367f48b010003000101000900000300000000000000e80700020000d00f00040dd8f7ac2200d101d201d55a010303b81701010309b817000300000000060000e80700080000d00f000af8d26ac90000000000002200d101d74177b8010603f02e01010609f02e0003000000000c0000e807000e0000d00f00100e30cda00000000000002700d101a91cfb840200030001020009000180d8c1a28c34000300000000000000e80700020000d00f000438d0e338002900d101da7c8b76020303b81701020309b8170180d8c1a28c34000300000000060000e80700080000d00f000a5207a520000000000000002900d101a9d00021020603f02e01020609f02e0180d8c1a28c340003000000000c0000e807000e0000d00f0010abb12d29000000000000002700d101d71d05a40300030001030009000180d8c1a28c34000300000000000000e80700020000d00f00043191582d002900d1012a9962cf030303b81701030309b8170180d8c1a28c34000300000000060000e80700080000d00f000adf670258000000000000002900d1015935e998030603f02e01030609f02e0180d8c1a28c340003000000000c0000e807000e0000d00f001026d18a51000000000000000400c201171bc8210106007000000000",
];

fn layout() -> Layout {
    Layout::without_vault(0..2048, 2048..6144)
}

fn config() -> Config {
    let device = DeviceId::parse("greenhouse-8").unwrap();
    Config { device, network: None, uplink: None, period_ms: 10_000, batch_age_ms: 60_000 }
}

fn batch(boot: BootId, first: u32, utc: Option<UtcTime>) -> Batch {
    let at = |n: u32| Uptime(u64::from(n) * 1_000);
    let mut builder = BatchBuilder::new(boot, Seq(first), Schema(9), at(first));
    for n in first..first + 3 {
        builder.reading(at(n), ChannelId(0), Value::Fixed(i32::try_from(n).unwrap())).unwrap();
    }
    builder.finish(utc)
}

fn chip(pages: &[(usize, &str)]) -> Chip {
    let mut chip = FlashModel::erased(12, 1);
    for (page, hex) in pages {
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        chip.write_now(u32::try_from(page * PAGE).unwrap(), &bytes).unwrap();
    }
    Rc::new(RefCell::new(chip))
}

/// A page without what is erased.
fn page(chip: &Chip, page: usize) -> String {
    let mut chip = chip.borrow_mut();
    let bytes = &chip.bytes_mut()[page * PAGE..][..PAGE];
    let used = bytes.iter().rposition(|&byte| byte != 0xff).map_or(0, |last| last + 1).next_multiple_of(8);
    bytes[..used].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn items(spool: &mut Spool<SharedFlash<PAGE, 8>>) -> Vec<Batch> {
    let (mut body, mut from, mut batches) = ([0u8; BODY_BYTES_MAX], spool.read(), Vec::new());
    while let Some(item) = now(spool.next(from, Schema(9), &mut body)).unwrap() {
        let Ok(Up::Batch(batch)) = decode_body(&body[..item.len]) else { panic!("not a batch") };
        batches.push(batch);
        from = item.after;
    }
    batches
}

#[test]
fn flash_of_the_first_firmware_is_read_and_written_on() {
    let synced = Some(UtcTime { at: Timestamp(1_790_000_000_000), quality: TimeQuality::Synced });
    let chip = chip(&[(0, OLD[0]), (2, OLD[1])]);
    let mut expected = vec![batch(BootId(1), 6, None)];
    for boot in [2, 3] {
        expected.extend([0, 3, 6].map(|first| batch(BootId(boot), first, synced)));
    }
    for start in 4..60 {
        let (mut spool, boot, found) = now(Spool::open(SharedFlash(chip.clone()), layout())).unwrap();
        assert_eq!((boot, found), (BootId(start), Found::default()));
        assert_eq!(now(spool.config()).unwrap(), Some(config()));
        assert_eq!(items(&mut spool)[..7], expected);
        if start == 4 {
            now(spool.push(&batch(boot, 0, None))).unwrap();
            assert_eq!(items(&mut spool)[7..], [batch(boot, 0, None)]);
        }
    }
}

struct Two;

impl Sampler for Two {
    fn channels(&self) -> heapless::Vec<Channel, CHANNELS_MAX> {
        ["a", "b"].iter().map(|name| Channel::new(name, "", ValueKind::Fixed, 0).unwrap()).collect()
    }
    fn period_ms(&self, _: ChannelId) -> u32 {
        1_000
    }
    async fn sample(&mut self, _: ChannelId) -> Option<Value> {
        None
    }
}

#[test]
fn settings_with_orders_and_credentials_are_these_bytes() {
    const AREA: &str = "0100b1014de241d100000000000000000100b4012a57b51801000000000000001600e801d28899780c677265656e686f7573652d380000904ee0d403ac0200000e009a01c86b537b942c0200e0d40302ac0200ad0200000011009a01ab423e8b942c0200e0d40303ac0200ad0200ae020000000000000000";
    const VAULT: &str = "0600a5018e191156011ef9edf15c00001f0095016d72ae0900026777026361026d65145a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a0006009c015e0c60d4011ef9edf15c0000";
    let fresh = chip(&[]);
    let layout = Layout { vault: 6_144..12_288, ..layout() };
    let start = |chip: &Chip| {
        let settings = Settings::new(DeviceId::parse("board").unwrap(), "test");
        now(Device::open(SharedFlash(chip.clone()), layout.clone(), settings, &Two, ())).unwrap()
    };
    let command = |id, order| Command { id: CommandId(id), order };
    let device = start(&fresh);
    let key = [0x5a; 20];
    let credentials = Credentials { server_name: "gw", authority: b"ca", certificate: b"me", key: &key };
    let mut out = [0; CREDENTIALS_BYTES_MAX];
    let mut orders = vec![
        Order::Provision(config()),
        Order::Period { channel: Some(ChannelId(1)), period_ms: 60_000 },
        Order::Reboot,
    ];
    orders.extend(CredentialsPart::all(credentials.encode(&mut out).unwrap()).map(Order::Credentials));
    for (order, id) in orders.into_iter().zip(300..) {
        assert_eq!(now(device.perform(&command(id, order))), CommandOutcome::Done);
    }
    assert_eq!((&page(&fresh, 0)[..], &page(&fresh, 6)[..]), (AREA, VAULT));
    // And these bytes are read as that.
    let read = chip(&[(0, AREA), (6, VAULT)]);
    let device = start(&read);
    assert_eq!((device.hello().boot, &device.hello().device), (BootId(2), &config().device));
    assert_eq!(now(device.credentials(&mut out)).unwrap(), Some(credentials));
    for id in 300..303 {
        // Under other numbers it would be refused.
        let other = Order::Period { channel: Some(ChannelId(9)), period_ms: 10 };
        assert_eq!(now(device.perform(&command(id, other))), CommandOutcome::Done);
    }
}

#[test]
fn a_ring_with_a_time_mark_is_these_bytes() {
    const RING: [&str; 2] = [
        "0a00a7012df3a3ae000004000000000000000000000000002000d101d367f48b010003000101000900000300000000000000e80700020000d00f00040dd8f7ac0e00c2018a31d8e30000000001882780d8c1a28c34000000",
        "1400a7014130c3870100040100000000000101882780d8c1a28c3400000000002900d1013b245db9010303b81701010309b81701b8efc1a28c34000300000000060000e80700080000d00f000abeaa9c4300000000000000",
    ];
    let fresh = chip(&[]);
    let (mut spool, boot, _) = now(Spool::open(SharedFlash(fresh.clone()), layout())).unwrap();
    now(spool.push(&batch(boot, 0, None))).unwrap();
    let epoch = Timestamp(1_790_000_000_000);
    let mark = TimeMark { boot, learned: Uptime(5_000), epoch, quality: TimeQuality::Synced };
    now(spool.learned_time(mark)).unwrap();
    assert_eq!(page(&fresh, 2), RING[0]);
    // On to the next page, whose header carries the mark.
    let utc = Some(mark.utc(Uptime(3_000)));
    while page(&fresh, 3).is_empty() {
        now(spool.push(&batch(boot, 3, utc))).unwrap();
    }
    assert_eq!(page(&fresh, 3), RING[1]);
    let read = chip(&[(2, RING[0]), (3, RING[1])]);
    let (mut spool, boot, found) = now(Spool::open(SharedFlash(read), layout())).unwrap();
    assert_eq!((boot, found), (BootId(2), Found::default()));
    assert_eq!(items(&mut spool)[0], batch(BootId(1), 0, Some(mark.utc(Uptime(0)))));
}

#[test]
fn what_newer_firmware_wrote_between_is_passed_over() {
    // A record of a kind that nobody knows, behind the configuration and before the last start.
    let (old, unknown) = (OLD[0], sealed(0x77, b"anything"));
    let (before, last) = old.split_at(old.len() - 32);
    let page = format!("{before}{unknown}{last}");
    let (mut spool, boot, found) =
        now(Spool::open(SharedFlash(chip(&[(0, &page), (2, OLD[1])])), layout())).unwrap();
    assert_eq!((boot, found), (BootId(4), Found::default()));
    assert_eq!(now(spool.config()).unwrap(), Some(config()));
}

/// A record as it stands on flash with words of eight bytes.
fn sealed(kind: u8, payload: &[u8]) -> String {
    let head = [u8::try_from(payload.len()).unwrap(), 0, kind, 1];
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
    let sum = crc.checksum(&[&head[..], payload].concat()).to_le_bytes();
    [&head[..], &sum, payload].concat().iter().map(|byte| format!("{byte:02x}")).collect()
}
