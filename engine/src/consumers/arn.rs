//! The Amazon Resource Name of a consumer: its stream's, `/consumer/`, its name, and the second it was registered in.

use crate::names::{NameError, StreamArn, is_name};
use std::fmt;

/// `arn:aws:kinesis:{region}:{account}:stream/{stream}/consumer/{name}:{created, UTC s since 1970}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerArn {
    pub(crate) stream: StreamArn,
    pub(crate) name: String,
    pub(crate) created_s: u64,
}

impl ConsumerArn {
    /// Takes an ARN apart.
    ///
    /// # Errors
    /// [`NameError::Arn`] when it does not have the form of a consumer's ARN.
    pub(crate) fn parse(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError::Arn(text.chars().take(128).collect());
        let (stream, consumer) = text.split_once("/consumer/").ok_or_else(wrong)?;
        let (name, created_s) = consumer.split_once(':').ok_or_else(wrong)?;
        let digits = created_s.bytes().all(|b| b.is_ascii_digit());
        match created_s.parse() {
            Ok(created_s) if digits && is_name(name) => {
                Ok(ConsumerArn { stream: StreamArn::parse(stream)?, name: name.to_owned(), created_s })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for ConsumerArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/consumer/{}:{}", self.stream, self.name, self.created_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_comes_back_as_it_was_written() {
        let text = "arn:aws:kinesis:us-east-1:000000000000:stream/telemetry/consumer/board-7:1700000000";
        let arn = ConsumerArn::parse(text).unwrap();
        assert_eq!(
            (arn.stream.name().as_str(), arn.name.as_str(), arn.created_s),
            ("telemetry", "board-7", 1_700_000_000)
        );
        assert_eq!(arn.to_string(), text);
        for bad in [
            "",
            "arn:aws:kinesis:r:000000000000:stream/x",
            "arn:aws:kinesis:r:000000000000:stream/x/consumer/y",
            "arn:aws:kinesis:r:000000000000:stream/x/consumer/:1",
            "arn:aws:kinesis:r:000000000000:stream/x/consumer/y:+1",
            "arn:aws:kinesis:r:000000000000:stream/x/consumer/y:1/2",
            "arn:aws:kinesis:r:000000000000:stream/x/consumer/y:99999999999999999999999",
        ] {
            assert!(ConsumerArn::parse(bad).is_err(), "{bad}");
        }
    }
}
