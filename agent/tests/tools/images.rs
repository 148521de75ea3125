//! `image`: bytes that a device starts from, raw and in the file format of boot loaders.

use super::bench::PAGE;
use super::papers::Papers;
use super::provisioning::{full_config, secrets, whole};
use super::{Nothing, agent, holds};
use headwater_device::partition::{self, Partition};
use headwater_device::testing::{FlashModel, SyncFlash};
use headwater_device::{Device, Settings};
use headwater_telemetry::limits::CREDENTIALS_BYTES_MAX;
use headwater_telemetry::{Config, DeviceId};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

/// Makes an image with everything in it.
fn image(papers: &Papers, board: &str, name: &str, more: &[&str]) -> (super::Said, String) {
    let (settings, input) = whole(papers);
    let output = papers.path(name);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let said =
        agent(&[&["image", "--board", board, "--output", &output], more, &settings[..]].concat(), &input);
    (said, output)
}

/// Flashes bytes onto a chip that was never used and starts the device on it.
fn boots<const WORD: usize>(partition: &Partition, address: u32, bytes: &[u8]) -> (Config, String) {
    let at = address - partition.base;
    let mut chip = FlashModel::<PAGE, WORD>::erased(partition.layout.ring.end as usize / PAGE, 1);
    // As a flashing tool does: nothing where the image is as erased.
    for (page, bytes) in bytes.chunks(PAGE).enumerate() {
        let used = bytes.iter().rposition(|&byte| byte != 0xff).map_or(0, |last| last + 1);
        let used = used.next_multiple_of(WORD);
        chip.write_now(at + u32::try_from(page * PAGE).unwrap(), &bytes[..used]).unwrap();
    }
    let flash = SyncFlash(Arc::new(Mutex::new(chip)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let settings = Settings::new(DeviceId::parse("nobody").unwrap(), "test");
        let device = Device::open(flash, partition.layout.clone(), settings, &Nothing, ()).await.unwrap();
        assert_eq!(device.hello().device.as_str(), "barn-1");
        let mut out = [0; CREDENTIALS_BYTES_MAX];
        let name = device.credentials(&mut out).await.unwrap().unwrap().server_name.to_owned();
        (device.config().await.unwrap().unwrap(), name)
    })
}

fn boots_on(partition: &Partition, address: u32, bytes: &[u8]) {
    let found = match partition.word_bytes {
        1 => boots::<1>(partition, address, bytes),
        4 => boots::<4>(partition, address, bytes),
        8 => boots::<8>(partition, address, bytes),
        other => panic!("{} has words of {other} bytes", partition.board),
    };
    assert_eq!(found, (full_config(), "gateway.farm".to_owned()), "{}", partition.board);
}

#[test]
fn every_board_starts_from_its_raw_image() {
    let dir = tempfile::tempdir().unwrap();
    let papers = Papers::make(dir.path());
    for partition in partition::ALL {
        let (said, path) = image(&papers, partition.board, &format!("{}.bin", partition.board), &[]);
        assert_eq!(said.code, Some(0), "{said:?}");
        let address = partition.base + partition.layout.area.start;
        boots_on(partition, address, &std::fs::read(&path).unwrap());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it is its owner's alone");
        let place =
            if partition.board.starts_with("qemu") { "seek=0".to_owned() } else { format!("{address:#x}") };
        assert!(said.out.contains(&path) && said.out.contains(&place), "{said:?}");
        for secret in secrets(&papers) {
            assert!(!holds(said.out.as_bytes(), &secret) && !holds(said.err.as_bytes(), &secret), "{said:?}");
        }
    }
}

/// Reads UF2 as its description has it: the blocks in order, one after the other in memory. Returns address, family and bytes.
fn read_uf2(file: &[u8]) -> (u32, u32, Vec<u8>) {
    assert!(!file.is_empty() && file.len().is_multiple_of(512));
    let blocks: Vec<&[u8]> = file.chunks(512).collect();
    let (mut start, mut families, mut bytes) = (None, Vec::new(), Vec::new());
    for (index, block) in blocks.iter().enumerate() {
        let word = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
        assert_eq!((word(0), word(4), word(508)), (0x0A32_4655, 0x9E5D_5157, 0x0AB1_6F30), "magic numbers");
        assert_eq!(word(8), 0x2000, "flags: a family is given, and nothing else");
        let size = word(16) as usize;
        // The boot ROM of the RP2040 takes whole pages of 256 bytes only.
        assert_eq!(size, 256);
        assert_eq!(
            (word(20) as usize, word(24) as usize),
            (index, blocks.len()),
            "number and count of blocks"
        );
        let start = *start.get_or_insert(word(12));
        assert_eq!(word(12) as usize, start as usize + bytes.len(), "addresses follow each other");
        assert_eq!(word(12) % 256, 0);
        families.push(word(28));
        bytes.extend_from_slice(&block[32..32 + size]);
    }
    families.dedup();
    assert_eq!(families.len(), 1);
    (start.unwrap(), families[0], bytes)
}

#[test]
fn boards_with_a_boot_loader_that_is_a_drive_start_from_uf2() {
    let dir = tempfile::tempdir().unwrap();
    let papers = Papers::make(dir.path());
    // Families as the register of the format has them; addresses as the boards' linker scripts leave them.
    for (board, family, address) in
        [("pico-w", 0xe48b_ff56, 0x101c_0000), ("nrf52840", 0xada5_2840, 0xd_4000)]
    {
        let (said, path) = image(&papers, board, &format!("{board}.uf2"), &["--format", "uf2"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.out.contains("copy") && said.out.contains(&path), "{said:?}");
        let (found_address, found_family, bytes) = read_uf2(&std::fs::read(&path).unwrap());
        assert_eq!((found_address, found_family), (address, family));
        assert_eq!(bytes.len(), 4 * PAGE, "settings and credentials, and not a byte of the batches");
        boots_on(partition::of(board).unwrap(), found_address, &bytes);
    }
}

#[test]
fn an_image_is_not_made_for_nobody_and_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let papers = Papers::make(dir.path());
    let (said, path) = image(&papers, "arduino", "a.bin", &[]);
    assert_eq!(said.code, Some(64));
    let expected = "possible values: qemu-mps2, qemu-rv32, esp32c3, pico-w, nrf52840";
    assert!(said.err.contains(expected), "{said:?}");
    assert!(!std::path::Path::new(&path).exists());
    let (said, path) = image(&papers, "esp32c3", "a.uf2", &["--format", "uf2"]);
    assert_eq!(said.code, Some(64));
    assert!(said.err.contains("board esp32c3 takes no UF2, expected --format raw"), "{said:?}");
    assert!(!std::path::Path::new(&path).exists());
    let path = papers.write("there.bin", "precious");
    let (said, _) = image(&papers, "esp32c3", "there.bin", &[]);
    assert_eq!(said.code, Some(73), "{said:?}");
    assert!(said.err.contains(&path), "{said:?}");
    assert_eq!(papers.bytes("there.bin"), b"precious");
}
