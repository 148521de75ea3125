//! StopStreamEncryption: leaves what is written from now on in the open. What is sealed stays so, and readable.
//!
//! Where AWS is silent: `KeyId` is not compared with the key in use; a stream that is not encrypted stays so without an error.

use super::start_stream_encryption::check_type;
use super::{Outcome, active};
use crate::api::address::StreamAddress;
use crate::api::{Call, Fields, Reply, model};
use crate::engine::Engine;
use crate::keys;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::STOP_STREAM_ENCRYPTION)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    check_type(&fields)?;
    active(engine, &stream)?;
    keys::stop(engine, &stream).await?;
    Ok(Reply::empty())
}
