//! Writes `memory.x`: where the program begins depends on what starts it.

use std::path::PathBuf;

/// Behind the program are the device's own pages (`headwater_device::partition::NRF52840`); `main.rs` asserts that the
/// two agree.
const PROGRAM_END: u32 = 0xd_4000;

fn main() {
    let has = |feature: &str| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    // The bootloader jumps to the end of the SoftDevice it finds. That one stays disabled, but the master boot record
    // below it keeps the first 8 bytes of RAM.
    let (start, ram) = match (has("S140_V6"), has("S140_V7")) {
        (false, false) => (0, 0x2000_0000),
        (true, false) => (0x2_6000, 0x2000_0008),
        (false, true) => (0x2_7000, 0x2000_0008),
        (true, true) => panic!("s140-v6 and s140-v7 exclude each other: the program has one start"),
    };
    let (flash_bytes, ram_bytes) = (PROGRAM_END - start, 0x2004_0000u32 - ram);
    let memory = format!(
        "MEMORY\n{{\n  FLASH : ORIGIN = {start:#x}, LENGTH = {flash_bytes:#x}\n  RAM : ORIGIN = {ram:#x}, LENGTH = {ram_bytes:#x}\n}}\n"
    );
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets this for every build script"));
    std::fs::write(folder.join("memory.x"), memory).expect("the build folder can be written");
    println!("cargo:rustc-link-search={}", folder.display());
    println!("cargo:rerun-if-changed=build.rs");
}
