//! Claims, counted and printed as the test harness prints them, so that `tests/run` reads them like any other tests.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Counts claims.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    passed: u32,
    failed: u32,
}

impl Claims {
    /// Runs one claim; a panic is a failure. Prints its line, with what it measured or why it failed before it.
    pub(crate) fn claim(&mut self, claim: &str, run: impl FnOnce() -> Result<String, String>) {
        let outcome =
            catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err("panicked, see above".to_owned()));
        match outcome {
            Ok(measured) => {
                self.passed += 1;
                println!("{measured}\ntest {claim} ... ok");
            }
            Err(why) => {
                self.failed += 1;
                println!("error: {why}\ntest {claim} ... FAILED");
            }
        }
    }

    /// Prints the counts. Whether all claims held.
    pub(crate) fn finish(self) -> bool {
        let word = if self.failed == 0 { "ok" } else { "FAILED" };
        println!("test result: {word}. {} passed; {} failed", self.passed, self.failed);
        self.failed == 0
    }
}
