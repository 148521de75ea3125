//! An image made on a host is what a device finds at its first start.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]

use embassy_futures::block_on as now;
use headwater_device::image::{ImageError, make};
use headwater_device::partition::{self, Partition};
use headwater_device::testing::{FlashModel, SharedFlash};
use headwater_device::{Device, FlashError, Layout, Outbox, Provision, Sampler, Settings};
use headwater_telemetry::limits::{CHANNELS_MAX, CREDENTIALS_BYTES_MAX};
use headwater_telemetry::{
    BootId, Channel, ChannelId, Config, Credentials, DeviceId, Network, Secret, Uplink, Value, ValueKind,
    bounded, heapless,
};
use std::cell::RefCell;
use std::rc::Rc;

const PAGE: usize = 4096;

struct One;

impl Sampler for One {
    fn channels(&self) -> heapless::Vec<Channel, CHANNELS_MAX> {
        [Channel::new("level", "", ValueKind::Fixed, 0).unwrap()].into_iter().collect()
    }
    fn period_ms(&self, _: ChannelId) -> u32 {
        1_000
    }
    async fn sample(&mut self, _: ChannelId) -> Option<Value> {
        None
    }
}

fn config() -> Config {
    Config {
        device: DeviceId::parse("shed-7").unwrap(),
        network: Some(Network {
            ssid: bounded("farm").unwrap(),
            passphrase: Secret::new("tomatoes and basil").unwrap(),
        }),
        uplink: Some(Uplink {
            host: bounded("gateway.farm").unwrap(),
            port: 8883,
            user: bounded("shed-7").unwrap(),
            password: Secret::new("s3cret").unwrap(),
        }),
        period_ms: 10_000,
        batch_age_ms: 60_000,
    }
}

const CREDENTIALS: Credentials<'static> = Credentials {
    server_name: "gateway.farm",
    authority: &[0x30; 512],
    certificate: &[0x31; 640],
    key: &[0x32; 121],
};

/// Flashes an image onto a chip that was never used, and starts it twice.
fn boots<const WORD: usize>(partition: &Partition, credentials: Option<&Credentials>) {
    let image = make(partition, &config(), credentials).unwrap();
    let at = (image.address - partition.base) as usize;
    assert_eq!(at, partition.layout.area.start as usize);
    assert_eq!(image.bytes.len(), (partition.layout.vault.end - partition.layout.area.start) as usize);
    let pages = partition.layout.ring.end as usize / PAGE;
    let mut chip = FlashModel::<PAGE, WORD>::erased(pages, 1);
    // As a flashing tool does: by the page, and nothing where the image is as erased.
    for (page, bytes) in image.bytes.chunks(PAGE).enumerate() {
        let used = bytes.iter().rposition(|&byte| byte != 0xff).map_or(0, |last| last + 1);
        let used = used.next_multiple_of(WORD);
        chip.write_now(u32::try_from(at + page * PAGE).unwrap(), &bytes[..used]).unwrap();
    }
    let chip = Rc::new(RefCell::new(chip));
    for start in 1..3 {
        let mut settings = Settings::new(DeviceId::parse("nobody").unwrap(), "test");
        settings.boots_from = 77_000;
        let flash = SharedFlash(chip.clone());
        let device = now(Device::open(flash, partition.layout.clone(), settings, &One, ())).unwrap();
        assert_eq!(device.hello().device, config().device);
        assert_eq!(device.hello().boot, BootId(77_000 + start), "the image counted no start");
        assert_eq!(now(device.config()), Ok(Some(config())));
        let mut out = [0; CREDENTIALS_BYTES_MAX];
        assert_eq!(now(device.credentials(&mut out)), Ok(credentials.copied()));
        assert!(device.poll_log().is_none(), "nothing is foreign or damaged");
    }
}

#[test]
fn a_device_starts_with_the_identity_of_its_image_on_every_board() {
    for partition in partition::ALL {
        for credentials in [None, Some(&CREDENTIALS)] {
            match partition.word_bytes {
                1 => boots::<1>(partition, credentials),
                4 => boots::<4>(partition, credentials),
                words => panic!("{} has words of {words} bytes", partition.board),
            }
        }
    }
}

#[test]
fn what_a_device_would_refuse_makes_no_image() {
    let board = &partition::ESP32C3;
    let made = |partition: &Partition, config: &Config, credentials| {
        make(partition, config, credentials).map(|image| image.bytes.len())
    };
    assert_eq!(made(board, &Config { period_ms: 9, ..config() }, None), Err(ImageError::Config));
    let nameless = Credentials { server_name: "", ..CREDENTIALS };
    assert_eq!(made(board, &config(), Some(&nameless)), Err(ImageError::Credentials));
    let long = Credentials { key: &[1; 1_000], ..CREDENTIALS };
    assert_eq!(made(board, &config(), Some(&long)), Err(ImageError::Credentials));
    let wide = Partition { word_bytes: 16, ..board.clone() };
    assert_eq!(made(&wide, &config(), None), Err(ImageError::Board { word_bytes: 16, page_bytes: 4096 }));
    let apart = Layout { vault: board.layout.vault.end..board.layout.vault.end, ..board.layout.clone() };
    assert_eq!(made(&Partition { layout: apart, ..board.clone() }, &config(), None), Err(ImageError::Layout));
}

#[test]
fn a_chip_in_use_is_provisioned_without_counting_a_start() {
    let layout = partition::QEMU_MPS2.layout.clone();
    let pages = layout.ring.end as usize / PAGE;
    let chip = Rc::new(RefCell::new(FlashModel::<PAGE, 4>::erased(pages, 1)));
    let start = || {
        let settings = Settings::new(DeviceId::parse("nobody").unwrap(), "test");
        now(Device::open(SharedFlash(chip.clone()), layout.clone(), settings, &One, ())).unwrap()
    };
    assert_eq!(start().hello().boot, BootId(1));
    let mut provision = now(Provision::open(SharedFlash(chip.clone()), layout.clone())).unwrap();
    assert_eq!(now(provision.config()), Ok(None));
    now(provision.store_config(&config())).unwrap();
    now(provision.store_credentials(&CREDENTIALS)).unwrap();
    assert_eq!(now(provision.config()), Ok(Some(config())));
    let mut out = [0; CREDENTIALS_BYTES_MAX];
    let device = start();
    assert_eq!((device.hello().boot, &device.hello().device), (BootId(2), &config().device));
    assert_eq!(now(device.credentials(&mut out)), Ok(Some(CREDENTIALS)));
    let mut provision = now(Provision::open(SharedFlash(chip.clone()), layout.clone())).unwrap();
    now(provision.remove_credentials()).unwrap();
    assert_eq!(now(start().credentials(&mut out)), Ok(None));
    let without = Layout::without_vault(layout.area.clone(), layout.ring.clone());
    let mut provision = now(Provision::open(SharedFlash(chip.clone()), without)).unwrap();
    assert_eq!(now(provision.store_credentials(&CREDENTIALS)), Err(FlashError::Refused));
}

#[test]
fn a_replaced_configuration_leaves_no_trace() {
    let layout = partition::QEMU_MPS2.layout.clone();
    let pages = layout.ring.end as usize / PAGE;
    let chip = Rc::new(RefCell::new(FlashModel::<PAGE, 4>::erased(pages, 1)));
    let holds = |text: &str| {
        chip.borrow_mut().bytes_mut().windows(text.len()).any(|window| window == text.as_bytes())
    };
    let mut provision = now(Provision::open(SharedFlash(chip.clone()), layout)).unwrap();
    now(provision.store_config(&config())).unwrap();
    assert!(holds("tomatoes and basil") && holds("s3cret"));
    let plain = Config { network: None, uplink: None, ..config() };
    now(provision.store_config(&plain)).unwrap();
    assert!(!holds("tomatoes and basil") && !holds("s3cret"));
    assert_eq!(now(provision.config()), Ok(Some(plain)));
}
