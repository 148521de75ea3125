//! Puts `memory.x` where the linker looks for it.

use std::path::PathBuf;

fn main() {
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets this for every build script"));
    std::fs::copy("memory.x", folder.join("memory.x")).expect("memory.x is beside build.rs");
    println!("cargo:rustc-link-search={}", folder.display());
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=memory.x");
}
