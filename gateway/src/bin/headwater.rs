//! The program `headwater`.

use std::process::ExitCode;

fn main() -> ExitCode {
    headwater::cli::main(std::env::args_os()).into()
}
