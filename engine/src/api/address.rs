//! Which stream a request means: by name, by ARN, or by both when they agree.

use crate::api::error::ApiError;
use crate::engine::Engine;
use crate::names::{StreamArn, StreamName};
use crate::stream::StreamHandle;

/// How a request names its stream. What is present satisfies the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StreamAddress<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) arn: Option<&'a str>,
}

impl<'a> StreamAddress<'a> {
    pub(crate) fn of(fields: &'a crate::api::Fields) -> Self {
        StreamAddress { name: fields.text("StreamName"), arn: fields.text("StreamARN") }
    }

    /// The name the request means.
    ///
    /// # Errors
    /// When there is none, when name and ARN differ, or when the ARN is of another account or region.
    pub(crate) fn resolve(self, engine: &Engine) -> Result<StreamName, ApiError> {
        let name =
            self.name.map(StreamName::parse).transpose().map_err(|e| ApiError::invalid(e.to_string()))?;
        let arn = self.arn.map(StreamArn::parse).transpose().map_err(|e| ApiError::invalid(e.to_string()))?;
        let Some(arn) = arn else {
            return name.ok_or_else(|| ApiError::invalid("Either StreamName or StreamARN must be provided."));
        };
        if let Some(name) = name
            && name != *arn.name()
        {
            return Err(ApiError::invalid(format!(
                "StreamName {name} does not match the stream of StreamARN {arn}."
            )));
        }
        if arn.account() != &*engine.0.account || arn.region() != &*engine.0.region {
            return Err(ApiError::no_stream(&arn.to_string(), &engine.0.account));
        }
        Ok(arn.name().clone())
    }

    /// The stream the request means.
    ///
    /// # Errors
    /// As [`StreamAddress::resolve`], and `ResourceNotFoundException`.
    pub(crate) fn find(self, engine: &Engine) -> Result<StreamHandle, ApiError> {
        let name = self.resolve(engine)?;
        engine.stream(&name).ok_or_else(|| ApiError::no_stream(name.as_str(), &engine.0.account))
    }
}
