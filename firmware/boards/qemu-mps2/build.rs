//! Tells the linker where `memory.x` is.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets this for every build script");
    println!("cargo:rustc-link-search={folder}");
    println!("cargo:rerun-if-changed=memory.x");
}
