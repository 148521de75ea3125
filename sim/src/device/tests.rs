//! A fleet over real sockets to a small agent that keeps everything in memory.

use super::power::{Chip, Flash, PAGE};
use super::*;
use headwater_device::{Device, Layout, Outbox, Settings, Spool};
use headwater_telemetry::limits::{BODY_BYTES_MAX, FRAME_BYTES_MAX};
use headwater_telemetry::{
    Batch, BatchBuilder, BootId, ChannelId, Deframer, Down, Entry, Schema, Seq, TimeQuality, Timestamp, Up,
    Uptime, UtcTime, Value, decode_body, encode_body, encode_frame,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What arrived, by device, boot and place: readings with channel and value, gaps with their count.
type Shard = Arc<Mutex<BTreeMap<(String, u32, u32), Entry>>>;

/// Stores, then acknowledges, on one connection.
async fn serve(mut stream: TcpStream, shard: Shard) {
    let (mut deframer, mut bytes, mut out) = (Deframer::new(), [0u8; 1024], [0u8; FRAME_BYTES_MAX]);
    let mut name = String::new();
    while let Ok(len @ 1..) = stream.read(&mut bytes).await {
        for &byte in &bytes[..len] {
            let Some(Ok(body)) = deframer.push(byte) else { continue };
            let reply = match decode_body::<Up>(body).unwrap() {
                Up::Hello(hello) => {
                    name = hello.device.as_str().to_owned();
                    continue;
                }
                Up::TimeRequest { nonce } => {
                    let utc = UtcTime { at: Timestamp(1_790_000_000_000), quality: TimeQuality::Synced };
                    Down::Time { nonce, utc }
                }
                Up::Batch(batch) => {
                    store(&mut shard.lock().unwrap(), &name, &batch);
                    Down::Ack { boot: batch.boot, through: batch.through().unwrap() }
                }
                _ => continue,
            };
            let frame = encode_frame(&reply, &mut out).unwrap().to_vec();
            if stream.write_all(&frame).await.is_err() {
                return;
            }
        }
    }
}

/// Stores, then sends PUBACK, on one connection: as much of MQTT 5 as the devices use.
async fn serve_mqtt(mut stream: TcpStream, shard: Shard) -> std::io::Result<()> {
    loop {
        let kind = stream.read_u8().await?;
        let (mut len, mut shift) = (0usize, 0);
        loop {
            let byte = stream.read_u8().await?;
            len |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut packet = vec![0; len];
        stream.read_exact(&mut packet).await?;
        let reply: Vec<u8> = match kind >> 4 {
            1 => vec![0x20, 3, 0, 0, 0],
            3 if kind >> 1 & 3 == 0 => told_time(&packet),
            3 => {
                let topic_len = usize::from(u16::from_be_bytes([packet[0], packet[1]]));
                let (topic, rest) = packet[2..].split_at(topic_len);
                let topic = String::from_utf8(topic.to_vec()).unwrap();
                assert_eq!(rest[2], 0, "no properties");
                let (head, kind_of) = topic.rsplit_once('/').unwrap();
                let name = head.strip_prefix("headwater/").unwrap();
                match (decode_body::<Up>(&rest[3..]).unwrap(), kind_of) {
                    (Up::Batch(batch), "batch") => {
                        store(&mut shard.lock().unwrap(), name, &batch);
                    }
                    (Up::Hello(hello), "birth") => {
                        assert_eq!((hello.device.as_str(), kind & 1), (name, 1), "a birth is retained");
                    }
                    (Up::Log(_), "log") => {}
                    (message, _) => panic!("{message:?} on {topic}"),
                }
                vec![0x40, 2, rest[0], rest[1]]
            }
            8 => vec![0x90, 4, packet[0], packet[1], 0, 1],
            12 => vec![0xd0, 0],
            _ => return Ok(()),
        };
        stream.write_all(&reply).await?;
    }
}

/// The answer to a time request, as a gateway publishes it.
fn told_time(packet: &[u8]) -> Vec<u8> {
    let topic_len = usize::from(u16::from_be_bytes([packet[0], packet[1]]));
    let (topic, rest) = packet[2..].split_at(topic_len);
    let name =
        std::str::from_utf8(topic).unwrap().strip_suffix("/time").expect("only time requests have QoS 0");
    let Up::TimeRequest { nonce } = decode_body(&rest[1..]).unwrap() else { panic!("not a time request") };
    let utc = UtcTime { at: Timestamp(1_790_000_000_000), quality: TimeQuality::Synced };
    let mut body = [0; BODY_BYTES_MAX];
    let body = encode_body(&Down::Time { nonce, utc }, &mut body).unwrap();
    let topic = format!("{name}/command");
    let mut out = vec![0x30, u8::try_from(2 + topic.len() + 1 + body.len()).unwrap(), 0];
    out.push(u8::try_from(topic.len()).unwrap());
    out.extend(topic.as_bytes());
    out.push(0);
    out.extend_from_slice(body);
    out
}

fn store(shard: &mut BTreeMap<(String, u32, u32), Entry>, name: &str, batch: &Batch) {
    for (seq, entry) in batch.sequenced() {
        let known = shard.insert((name.to_owned(), batch.boot.0, seq.0), entry.clone());
        if let (Some(Entry::Reading(old)), Entry::Reading(new)) = (&known, entry) {
            assert_eq!((old.channel, &old.value), (new.channel, &new.value), "a repeat differs");
        }
    }
}

/// Every place that the ledger calls acknowledged is there, with the value that was sampled.
fn check(handle: &DeviceHandle, shard: &Shard) {
    let shard = shard.lock().unwrap();
    let name = handle.id.as_str().to_owned();
    for (boot, ledger) in handle.ledger.boots() {
        let mut place = 0;
        while place < ledger.acked {
            match shard.get(&(name.clone(), boot, place)) {
                Some(Entry::Reading(reading)) => {
                    assert_eq!(reading.value, value(handle.seed, BootId(boot), Seq(place), reading.channel));
                    place += 1;
                }
                Some(Entry::Gap(gap)) => place += gap.count,
                None => panic!("{name} boot {boot}: {place} was acknowledged and is not there"),
            }
        }
    }
}

async fn fleet(
    devices: u64,
    link: fn(SocketAddr) -> Link,
    faults: Faults,
    run_for: Duration,
) -> Vec<(DeviceHandle, Totals)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shard = Shard::default();
    let stored = shard.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if matches!(link(address), Link::Tcp(_)) {
                tokio::spawn(serve(stream, stored.clone()));
            } else {
                tokio::spawn(serve_mqtt(stream, stored.clone()));
            }
        }
    });
    let host = DeviceHost::start().unwrap();
    let (phase, phases) = watch::channel(Phase::Run);
    let mut handles: Vec<DeviceHandle> = (0..devices)
        .map(|n| {
            let id = DeviceId::parse(&format!("dev-{n}")).unwrap();
            let mut config = DeviceConfig::new(id, n, 200.0, link(address));
            (config.faults, config.batch_age_ms) = (faults, 200);
            host.spawn(config, phases.clone())
        })
        .collect();
    tokio::time::sleep(run_for).await;
    phase.send_replace(Phase::Drain);
    for handle in &mut handles {
        tokio::time::timeout(Duration::from_secs(20), handle.ended()).await.expect("a fleet drains");
        check(handle, &shard);
    }
    handles.into_iter().map(|handle| (handle.clone(), handle.ledger.totals())).collect()
}

async fn calm(link: fn(SocketAddr) -> Link) {
    for (handle, totals) in fleet(20, link, Faults::none(), Duration::from_millis(1_500)).await {
        assert!(totals.sampled > 50, "{}: {totals:?}", handle.id);
        assert_eq!((totals.acked, totals.gap_entries, totals.boots), (totals.sampled, 0, 1), "{}", handle.id);
    }
}

async fn rough(link: fn(SocketAddr) -> Link) {
    let faults = Faults {
        offline_every: Some(Duration::from_millis(700)),
        offline_for: Duration::from_millis(300),
        reboot_every: Some(Duration::from_millis(600)),
        off_for: Duration::from_millis(50),
        cut_in_write: true,
        clock_ppm: 50,
    };
    let (mut boots, mut cuts) = (0, 0);
    for (handle, totals) in fleet(20, link, faults, Duration::from_secs(4)).await {
        assert_eq!(totals.waiting(), 0, "{}: {totals:?}", handle.id);
        boots += totals.boots;
        cuts += totals.cuts_in_write;
    }
    assert!(boots > 40 && cuts > 5, "the faults no longer happen: {boots} boots, {cuts} cuts in a write");
}

/// As [`serve_mqtt`] for a gateway whose routes name no batches: everything is answered, batches with 0x10.
async fn serve_mqtt_without_routes(mut stream: TcpStream, batches: Arc<Mutex<u64>>) -> std::io::Result<()> {
    loop {
        // Every packet of a device with one channel table is shorter than 16 KiB.
        let kind = stream.read_u8().await?;
        let mut len = usize::from(stream.read_u8().await?);
        if len & 0x80 != 0 {
            len = (len & 0x7f) | usize::from(stream.read_u8().await?) << 7;
        }
        let mut packet = vec![0; len];
        stream.read_exact(&mut packet).await?;
        let reply: Vec<u8> = match kind >> 4 {
            1 => vec![0x20, 3, 0, 0, 0],
            3 if kind >> 1 & 3 == 0 => continue,
            3 => {
                let end = 2 + usize::from(u16::from_be_bytes([packet[0], packet[1]]));
                *batches.lock().unwrap() += u64::from(packet[..end].ends_with(b"/batch"));
                vec![0x40, 3, packet[end], packet[end + 1], 0x10]
            }
            8 => vec![0x90, 4, packet[0], packet[1], 0, 1],
            12 => vec![0xd0, 0],
            _ => return Ok(()),
        };
        stream.write_all(&reply).await?;
    }
}

#[tokio::test]
async fn a_batch_that_no_route_takes_is_not_delivered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let batches = Arc::new(Mutex::new(0));
    let seen = batches.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_mqtt_without_routes(stream, seen.clone()));
        }
    });
    let host = DeviceHost::start().unwrap();
    let (phase, phases) = watch::channel(Phase::Run);
    let mut config = DeviceConfig::new(DeviceId::parse("dev").unwrap(), 1, 200.0, Link::Mqtt(address));
    config.batch_age_ms = 200;
    let mut handle = host.spawn(config, phases);
    let offered_twice = async {
        while *batches.lock().unwrap() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), offered_twice)
        .await
        .expect("it comes back and tries again");
    assert_eq!(handle.ledger.totals().acked, 0, "nothing was stored anywhere");
    phase.send_replace(Phase::Stop);
    handle.ended().await;
}

#[tokio::test]
async fn a_calm_fleet_delivers_everything_to_an_agent() {
    calm(Link::Tcp).await;
}

#[tokio::test]
async fn a_calm_fleet_delivers_everything_over_mqtt() {
    calm(Link::Mqtt).await;
}

#[tokio::test]
async fn a_rough_fleet_delivers_what_it_stored_to_an_agent() {
    rough(Link::Tcp).await;
}

#[tokio::test]
async fn a_rough_fleet_delivers_what_it_stored_over_mqtt() {
    rough(Link::Mqtt).await;
}

/// Delivers batches of one reading until the power goes, so many bytes later; how many of them the ledger has as acknowledged, and how
/// many the next start takes for delivered.
async fn delivered_until_a_cut(after_bytes: u64, seed: u64) -> (u32, u32) {
    let (ledger, layout) =
        (Arc::new(Ledger::default()), Layout::without_vault(0..2 * PAGE, 2 * PAGE..8 * PAGE));
    let flash = Flash { chip: Rc::new(RefCell::new(Chip::erased(8, seed))), gone: Rc::default() };
    let (mut spool, boot, _) = Spool::open(flash.clone(), layout.clone()).await.unwrap();
    for place in 0..20 {
        let mut batch = BatchBuilder::new(boot, Seq(place), Schema(1), Uptime(0));
        batch.reading(Uptime(0), ChannelId(0), Value::Fixed(1)).unwrap();
        spool.push(&batch.finish(None)).await.unwrap();
    }
    drop(spool);
    let place = Rc::new(sensors::Place::default());
    let (_, phase) = watch::channel(Phase::Drain);
    let sensors = sensors::Sensors { seed, period_ms: 1_000, phase, place: place.clone() };
    let settings = Settings::new(DeviceId::parse("dev").unwrap(), "test 1");
    let watcher = sensors::Watcher { ledger: ledger.clone(), place };
    let device = Device::open(flash.clone(), layout.clone(), settings, &sensors, watcher).await.unwrap();
    flash.chip.borrow_mut().cut_after(after_bytes);
    let mut body = [0; BODY_BYTES_MAX];
    let deliver = async {
        for _ in 0..19 {
            let item = device.next(device.undelivered().await, &mut body).await;
            device.delivered(item).await;
        }
    };
    tokio::select! { () = deliver => {}, () = flash.gone.notified() => {} }
    drop(device);
    flash.chip.borrow_mut().power_up();
    let (mut spool, ..) = Spool::open(flash, layout).await.unwrap();
    let next =
        spool.next(spool.read(), Schema(1), &mut body).await.unwrap().expect("one was never delivered");
    let acked = ledger.boots().get(&boot.0).map_or(0, |ledger| ledger.acked);
    (acked, next.first.0)
}

#[tokio::test]
async fn what_a_start_takes_for_delivered_was_told_wherever_in_the_mark_the_power_went() {
    let mut marks = 0;
    for (after_bytes, seed) in (0..100).flat_map(|bytes| (0..10).map(move |seed| (bytes, seed))) {
        let (acked, delivered) = delivered_until_a_cut(after_bytes, seed).await;
        assert!(delivered <= acked, "cut after {after_bytes}: {acked} acknowledged, {delivered} by the mark");
        marks += u32::from(delivered > 0);
    }
    assert!(marks > 100, "{marks} marks were whole");
}
