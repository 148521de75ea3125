//! Where the binaries under test are. They are built by cargo, once per test process, in the profile of the test itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The gateway, `headwater`.
#[must_use]
pub fn headwater() -> PathBuf {
    directory().join("headwater")
}

/// The edge agent, `headwater-agent`.
#[must_use]
pub fn headwater_agent() -> PathBuf {
    directory().join("headwater-agent")
}

/// The folder with `Cargo.toml` of the workspace.
///
/// # Panics
/// Never, unless this package is moved out of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is inside the workspace")
}

/// `target/<profile>`: two levels above this very test executable (`target/debug/deps/walkthrough_a-…`).
/// `HEADWATER_BIN_DIR` names another folder, to run the walkthroughs against an installed package.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        if let Some(given) = std::env::var_os("HEADWATER_BIN_DIR") {
            return PathBuf::from(given);
        }
        let test = std::env::current_exe().expect("the path of this test");
        let profile = test.ancestors().nth(2).expect("a test lives in target/<profile>/deps").to_owned();
        build(&profile);
        profile
    })
}

/// The whole workspace and not two packages: features are unified over what is selected, so another selection would
/// compile half of the dependencies a second time.
fn build(profile: &Path) {
    let target = profile.parent().expect("target/<profile> has a parent");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace())
        .args(["build", "--quiet", "--workspace", "--bins", "--target-dir"])
        .arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.output().expect("cargo can be run");
    assert!(
        output.status.success(),
        "the binaries do not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
