//! UpdateStreamRecordDistributionStrategy: whether keys decide where records go. Takes effect with the answer; records that are
//! stored already stay where they are.
//!
//! Where AWS is silent: `USER_PARTITION_KEY`, the only strategy of a provisioned stream, can be set on one, too.

use super::{Outcome, active};
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, Fields, Reply, model};
use crate::definition::StreamMode;
use crate::engine::Engine;
use crate::settings::Distribution;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::UPDATE_STREAM_RECORD_DISTRIBUTION_STRATEGY)?;
    let stream = StreamAddress { name: None, arn: fields.text("StreamARN") }.find(engine)?;
    active(engine, &stream)?;
    let distribution = fields.text("RecordDistributionStrategy").and_then(Distribution::parse);
    let (name, account) = (stream.name().clone(), engine.0.account.clone());
    engine
        .change(stream.name(), move |definition| {
            let distribution = distribution.unwrap_or_default();
            if distribution == Distribution::Auto && definition.mode == StreamMode::Provisioned {
                return Err(ApiError::invalid(format!(
                    "RecordDistributionStrategy AUTO is not supported for stream {name} under account {account}, which uses \
                     the PROVISIONED capacity mode."
                )));
            }
            definition.settings.distribution = distribution;
            Ok(())
        })
        .await?;
    Ok(Reply::empty())
}
