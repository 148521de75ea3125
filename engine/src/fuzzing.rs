//! Doors for the fuzz targets (feature `fuzzing`): what is behind the crate's public face and takes bytes from outside.

pub use crate::api::fuzzing::{answers, cbor, may_answer, members, operations, records, request, tokens};
