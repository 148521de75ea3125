//! The tables of the service model against the model that botocore carries.

use crate::boto3::skip;
use std::path::PathBuf;
use std::process::Command;

#[test]
fn tables_of_the_model_are_those_of_botocore() {
    let Some(python) = std::env::var_os("HEADWATER_PYTHON") else {
        return skip(
            "tables_of_the_model_are_those_of_botocore",
            "HEADWATER_PYTHON names no Python with boto3",
        );
    };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("model/generate.py");
    let outcome = Command::new(python).arg(script).arg("--check").output().unwrap();
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
}
