//! Errors as a client sees them: a type from the service model and a message in AWS's words.

use crate::api::{Format, Writer};
use crate::control::StreamError;
use crate::storage::{AppendError, CommitError, MetaError, ReadError};

/// What kind of error: the `__type` of the answer and its HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorType {
    AccessDenied,
    DryRunOperation,
    ExpiredIterator,
    ExpiredNextToken,
    IncompleteSignature,
    InternalFailure,
    InvalidArgument,
    InvalidSignature,
    KmsAccessDenied,
    KmsDisabled,
    KmsInvalidState,
    KmsNotFound,
    LimitExceeded,
    MissingAuthenticationToken,
    ProvisionedThroughputExceeded,
    RequestEntityTooLarge,
    RequestTimeout,
    ResourceInUse,
    ResourceNotFound,
    Serialization,
    ServiceUnavailable,
    Throttling,
    UnknownOperation,
    UnsupportedOperation,
    Validation,
}

impl ErrorType {
    /// The `__type`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ErrorType::AccessDenied => "AccessDeniedException",
            ErrorType::DryRunOperation => "DryRunOperationException",
            ErrorType::ExpiredIterator => "ExpiredIteratorException",
            ErrorType::ExpiredNextToken => "ExpiredNextTokenException",
            ErrorType::IncompleteSignature => "IncompleteSignatureException",
            ErrorType::InternalFailure => "InternalFailureException",
            ErrorType::InvalidArgument => "InvalidArgumentException",
            ErrorType::InvalidSignature => "InvalidSignatureException",
            ErrorType::KmsAccessDenied => "KMSAccessDeniedException",
            ErrorType::KmsDisabled => "KMSDisabledException",
            ErrorType::KmsInvalidState => "KMSInvalidStateException",
            ErrorType::KmsNotFound => "KMSNotFoundException",
            ErrorType::LimitExceeded => "LimitExceededException",
            ErrorType::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            ErrorType::ProvisionedThroughputExceeded => "ProvisionedThroughputExceededException",
            ErrorType::RequestEntityTooLarge => "RequestEntityTooLargeException",
            ErrorType::RequestTimeout => "RequestTimeoutException",
            ErrorType::ResourceInUse => "ResourceInUseException",
            ErrorType::ResourceNotFound => "ResourceNotFoundException",
            ErrorType::Serialization => "SerializationException",
            ErrorType::ServiceUnavailable => "ServiceUnavailableException",
            ErrorType::Throttling => "ThrottlingException",
            ErrorType::UnknownOperation => "UnknownOperationException",
            ErrorType::UnsupportedOperation => "UnsupportedOperationException",
            ErrorType::Validation => "ValidationException",
        }
    }

    /// The HTTP status. Everything a client caused is 400 in this protocol; SDKs retry 5xx.
    pub(crate) fn status(self) -> u16 {
        match self {
            ErrorType::InternalFailure => 500,
            ErrorType::ServiceUnavailable => 503,
            ErrorType::RequestEntityTooLarge => 413,
            ErrorType::RequestTimeout => 408,
            _ => 400,
        }
    }
}

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .error.name())]
pub(crate) struct ApiError {
    pub(crate) error: ErrorType,
    /// Empty: the answer has no message, as AWS's for some types.
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(error: ErrorType, message: impl Into<String>) -> Self {
        ApiError { error, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        ApiError::new(ErrorType::InvalidArgument, message)
    }

    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        ApiError::new(ErrorType::Serialization, message)
    }

    pub(crate) fn no_stream(name: &str, account: &str) -> Self {
        ApiError::new(
            ErrorType::ResourceNotFound,
            format!("Stream {name} under account {account} not found."),
        )
    }

    /// The body of the answer.
    pub(crate) fn body(&self, format: Format) -> Vec<u8> {
        let mut answer = Writer::new(format);
        answer.open_object();
        answer.key("__type").text(self.error.name());
        if !self.message.is_empty() {
            answer.key("message").text(&self.message);
        }
        answer.close_object();
        answer.into_bytes()
    }

    /// A failure of the engine or its disk: named in the log, as the client cannot help it.
    fn failure(error: ErrorType, message: String) -> Self {
        tracing::error!(error = %message, "request failed");
        ApiError { error, message }
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        let text = error.to_string();
        match error {
            AppendError::Busy => ApiError::new(ErrorType::ProvisionedThroughputExceeded, text),
            AppendError::Sealed(_) => ApiError::new(ErrorType::ResourceNotFound, text),
            AppendError::NoKey(_) => ApiError::new(ErrorType::AccessDenied, text),
            // Not throttling: slowing down does not help until retention or an operator frees space.
            AppendError::Full | AppendError::TooLarge { .. } => {
                ApiError::failure(ErrorType::InternalFailure, text)
            }
            AppendError::Failed(_) => ApiError::failure(ErrorType::ServiceUnavailable, text),
        }
    }
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        ApiError::failure(ErrorType::ServiceUnavailable, error.to_string())
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error.key {
            // What any operation may answer; those that read records say it in the words of KMS.
            Some(_) => ApiError::new(ErrorType::AccessDenied, error.to_string()),
            None => ApiError::failure(ErrorType::InternalFailure, error.to_string()),
        }
    }
}

impl From<StreamError> for ApiError {
    fn from(error: StreamError) -> Self {
        let text = error.to_string();
        match error {
            StreamError::Exists(_) => ApiError::new(ErrorType::ResourceInUse, text),
            StreamError::NotFound(_) => ApiError::new(ErrorType::ResourceNotFound, text),
            StreamError::Shards { .. } => ApiError::new(ErrorType::LimitExceeded, text),
            StreamError::Retention(_) | StreamError::Plan { .. } => ApiError::invalid(text),
            StreamError::NotActive { .. } => ApiError::new(ErrorType::ResourceInUse, text),
            StreamError::Damaged(_) => ApiError::failure(ErrorType::InternalFailure, text),
            // All there is to know of a stream is one value: its tags can be too long together.
            StreamError::Meta(MetaError::Append(AppendError::TooLarge { .. })) => {
                ApiError::new(ErrorType::LimitExceeded, text)
            }
            StreamError::Meta(MetaError::Append(error)) => error.into(),
            StreamError::Meta(MetaError::Commit(error)) => error.into(),
            StreamError::Meta(MetaError::Conflict { .. }) => ApiError::new(ErrorType::ResourceInUse, text),
        }
    }
}
