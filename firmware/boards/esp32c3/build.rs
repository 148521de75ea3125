//! Hands the place of the data from `partitions.csv` to the program, and the linker its script.

fn main() {
    println!("cargo:rustc-link-arg=-Tlinkall.x");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=partitions.csv");
    let table = std::fs::read_to_string("partitions.csv").expect("partitions.csv is beside build.rs");
    let line =
        table.lines().find(|line| line.starts_with("headwater,")).expect("partitions.csv has our entry");
    let mut fields = line.split(',').map(str::trim).skip(3);
    for variable in ["DATA_OFFSET", "DATA_SIZE"] {
        let field = fields.next().and_then(|field| field.strip_prefix("0x"));
        println!(
            "cargo:rustc-env={variable}={}",
            field.expect("our entry has an offset and a size, as 0x...")
        );
    }
}
