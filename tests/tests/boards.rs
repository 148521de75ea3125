//! The check of the boards can fail: an image larger than its line in the table, and a board without a line.

use std::path::Path;
use std::process::Command;

use system_tests::binaries::workspace;

/// Runs `firmware/boards/check --build qemu-rv32` with a table of its own. Whether it passed, and what it said.
fn check(table: &Path) -> (bool, String) {
    let test = std::env::current_exe().expect("the path of this test");
    let target = test.ancestors().nth(3).expect("a test lives in target/<profile>/deps");
    let output = Command::new(workspace().join("firmware/boards/check"))
        .args(["--build", "qemu-rv32"])
        .env("CARGO_TARGET_DIR", target)
        .env("HEADWATER_BUDGETS", table)
        .output()
        .expect("the check can be run");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn an_image_that_outgrows_its_budget_fails_the_check() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let table = directory.path().join("budgets");
    let with = |line: &str| {
        std::fs::write(&table, format!("# board features flash RAM stack\n{line}\n"))
            .expect("the table can be written");
        check(&table)
    };
    let (passed, said) = with("qemu-rv32 - 1024 1024 0");
    assert!(passed, "there is room for it:\n{said}");
    // Far below what any firmware takes, each limit for itself.
    for (line, what) in [
        ("qemu-rv32 - 16 1024 0", "qemu-rv32: flash within its budget"),
        ("qemu-rv32 - 1024 2 0", "qemu-rv32: RAM within its budget"),
        // What is kept for the stack counts.
        ("qemu-rv32 - 1024 1024 1048576", "qemu-rv32: RAM within its budget"),
        ("another - 1024 1024 0", "qemu-rv32: has a budget"),
    ] {
        let (passed, said) = with(line);
        assert!(!passed, "{line} passed:\n{said}");
        assert!(said.contains(&format!("test {what} ... FAILED")), "{line}:\n{said}");
        assert!(said.contains("test result: FAILED. "), "{line} is not counted:\n{said}");
    }
}
