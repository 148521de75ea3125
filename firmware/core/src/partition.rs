//! Where each board keeps its data: the one table that firmware and host tools share.
//!
//! In: a board's name. Out: which bytes of its flash are whose. Invariant: what is here was flashed to somebody's board;
//! moving a region of a released board loses its data, so entries only change before their first release.
//! Not here: the program's own place (`memory.x` or the partition table beside each board).

use crate::Layout;

/// The part of a board's flash that holds settings, credentials and batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Name of the board, as its folder under `firmware/boards`.
    pub board: &'static str,
    /// Erase unit in bytes.
    pub page_bytes: u32,
    /// Write unit in bytes.
    pub word_bytes: u32,
    /// Address that flashing tools give to byte 0 of the flash that `layout` counts in.
    pub base: u32,
    /// Family of UF2 images for this chip; none when its bootloader takes none.
    pub uf2_family: Option<u32>,
    /// The regions, in bytes from the start of the flash, one after the other: settings, credentials, batches.
    pub layout: Layout,
}

const KIB: u32 = 1024;

const fn partition(board: &'static str, start: u32, end: u32) -> Partition {
    let page_bytes = 4 * KIB;
    let (area, vault) = (start..start + 2 * page_bytes, start + 2 * page_bytes..start + 4 * page_bytes);
    let ring = vault.end..end;
    Partition {
        board,
        page_bytes,
        word_bytes: 4,
        base: 0,
        uf2_family: None,
        layout: Layout { area, ring, vault },
    }
}

/// Cortex-M3 in QEMU: the first 128 KiB of the file that stands for its flash.
pub const QEMU_MPS2: Partition = partition("qemu-mps2", 0, 128 * KIB);

/// RISC-V in QEMU: the last 4 MiB of its RAM stand for flash, of them the first 128 KiB.
pub const QEMU_RV32: Partition = partition("qemu-rv32", 0, 128 * KIB);

/// ESP32-C3 with 4 MiB of flash: the last 256 KiB, as the board's partition table says.
pub const ESP32C3: Partition = partition("esp32c3", 0x3c_0000, 0x40_0000);

/// Pico W with 2 MiB of flash: the last 256 KiB. The family is that of the RP2040.
pub const PICO_W: Partition = Partition {
    word_bytes: 1,
    base: 0x1000_0000,
    uf2_family: Some(0xe48b_ff56),
    ..partition("pico-w", 0x1c_0000, 0x20_0000)
};

/// nRF52840 with 1 MiB of flash: 128 KiB before the place where UF2 bootloaders live (0xf4000). The family is that of
/// the nRF52840.
pub const NRF52840: Partition =
    Partition { uf2_family: Some(0xada5_2840), ..partition("nrf52840", 0xd_4000, 0xf_4000) };

/// Every board.
pub const ALL: [&Partition; 5] = [&QEMU_MPS2, &QEMU_RV32, &ESP32C3, &PICO_W, &NRF52840];

/// The partition of a board.
pub fn of(board: &str) -> Option<&'static Partition> {
    ALL.into_iter().find(|partition| partition.board == board)
}
