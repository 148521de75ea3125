//! The house rules as a test. In: every file of the repository. Out: each breach with file and line.
//! Each module is one kind of rule and ends with a control that shows the rule can be broken.
//! Not here: what rustfmt, clippy and cargo-deny check.

mod api;
mod names;
mod references;
mod size;
mod sources;
