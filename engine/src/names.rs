//! Names a client uses: stream names and ARNs, shard ids, partition keys.
//!
//! In: text from outside. Out: types that cannot be wrong. Invariant: a value of these types satisfies the service model.
//! Not here: which streams exist (registry).

use crate::limits;
use std::fmt;
use std::sync::Arc;

/// The name of a stream: 1 to 128 characters of `a-z A-Z 0-9 _ . -`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`NameError`] when it is empty, too long or has another character.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > limits::STREAM_NAME_CHARS_MAX || !is_name(text) {
            return Err(NameError::Stream(clip(text)));
        }
        Ok(StreamName(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` satisfies the model's pattern `[a-zA-Z0-9_.-]+`.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// The Amazon Resource Name of a stream: `arn:aws:kinesis:{region}:{account}:stream/{name}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamArn {
    region: Box<str>,
    account: Box<str>,
    name: StreamName,
}

impl StreamArn {
    /// The ARN of stream `name` in this region and account.
    #[must_use]
    pub fn new(region: &str, account: &str, name: StreamName) -> Self {
        StreamArn { region: region.into(), account: account.into(), name }
    }

    /// Takes an ARN apart. Any partition that begins with `aws` is taken, as the model's pattern has it.
    ///
    /// # Errors
    /// [`NameError::Arn`] when it does not have the form of a stream's ARN.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError::Arn(clip(text));
        let mut parts = text.splitn(6, ':');
        let mut part = || parts.next().ok_or_else(wrong);
        let (arn, partition, service, region, account, resource) =
            (part()?, part()?, part()?, part()?, part()?, part()?);
        let account_fits = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        // The model's `.` is no line break; no region has white space.
        let broken = [partition, region].iter().any(|part| part.contains(char::is_whitespace));
        if arn != "arn" || !partition.starts_with("aws") || service != "kinesis" || !account_fits || broken {
            return Err(wrong());
        }
        let name = resource.strip_prefix("stream/").ok_or_else(wrong)?;
        Ok(StreamArn::new(region, account, StreamName::parse(name).map_err(|_| wrong())?))
    }

    /// The stream's name.
    #[must_use]
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The account, twelve digits.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }
}

impl fmt::Display for StreamArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:kinesis:{}:{}:stream/{}", self.region, self.account, self.name)
    }
}

/// The engine's own number of a stream, 1 upwards. Never given twice, so that what was stored or handed out for a deleted
/// stream cannot be taken for one of the same name created later. (The API's `StreamId` is reserved by AWS.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamNumber(pub u32);

/// A shard of a stream, written `shardId-000000000000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

/// Bytes of a shard id as text.
pub(crate) const SHARD_ID_BYTES: usize = 20;

impl ShardId {
    /// Takes `shardId-000000000007`; like AWS also `shardId-7` and `7`.
    ///
    /// # Errors
    /// [`NameError::Shard`] for anything else.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let digits = text.split_once('-').map_or(text, |(_, digits)| digits);
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let number = if plain { digits.parse::<u32>().ok() } else { None };
        // AWS numbers shards with a signed 32-bit integer.
        number
            .filter(|&number| i32::try_from(number).is_ok())
            .map(ShardId)
            .ok_or_else(|| NameError::Shard(clip(text)))
    }

    /// The id as text, without an allocation.
    pub(crate) fn text(self) -> [u8; SHARD_ID_BYTES] {
        let mut text = *b"shardId-000000000000";
        let mut rest = self.0;
        let mut at = SHARD_ID_BYTES;
        while rest > 0 {
            at -= 1;
            text[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        text
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shardId-{:012}", self.0)
    }
}

/// A partition key, 1 to 256 characters, borrowed from where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionKey<'a>(&'a str);

impl<'a> PartitionKey<'a> {
    /// Checks a key.
    ///
    /// # Errors
    /// [`NameError::PartitionKey`] when it is empty or longer than 256 characters.
    pub fn parse(text: &'a str) -> Result<Self, NameError> {
        // No text of that few bytes can have too many characters, so most keys need no count.
        let long = text.len() > limits::PARTITION_KEY_CHARS_MAX
            && text.chars().count() > limits::PARTITION_KEY_CHARS_MAX;
        if text.is_empty() || long {
            return Err(NameError::PartitionKey { chars: text.chars().count() });
        }
        Ok(PartitionKey(text))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// A name does not satisfy the service model. Text from outside is shown clipped to 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a stream name.
    #[error("stream name `{0}` must be 1 to 128 characters of a-z, A-Z, 0-9, _, . and -")]
    Stream(String),
    /// Not the ARN of a stream.
    #[error("stream ARN `{0}` must read arn:aws:kinesis:<region>:<12-digit account>:stream/<name>")]
    Arn(String),
    /// Not a shard id.
    #[error("shard id `{0}` must read shardId-000000000000")]
    Shard(String),
    /// Not a partition key.
    #[error("partition key has {chars} characters, must have 1 to 256")]
    PartitionKey {
        /// Characters found.
        chars: usize,
    },
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_follow_the_model() {
        for good in ["a", "telemetry", "A.b_c-9", &"x".repeat(128)] {
            assert_eq!(StreamName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "ä", "a/b", &"x".repeat(129)] {
            assert!(StreamName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_arn_comes_back_as_it_was_written() {
        let text = "arn:aws:kinesis:us-east-1:000000000000:stream/telemetry";
        let arn = StreamArn::parse(text).unwrap();
        assert_eq!(
            (arn.name().as_str(), arn.region(), arn.account()),
            ("telemetry", "us-east-1", "000000000000")
        );
        assert_eq!(arn.to_string(), text);
        for bad in [
            "",
            "arn:aws:sqs:r:000000000000:stream/x",
            "arn:aws:kinesis:r:1:stream/x",
            "arn:aws:kinesis:r:000000000000:x",
            "arn:aws:kinesis:r\n:000000000000:stream/x",
        ] {
            assert!(StreamArn::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shard_ids_are_read_as_aws_reads_them() {
        for text in ["shardId-000000000042", "shardId-42", "42"] {
            assert_eq!(ShardId::parse(text).unwrap(), ShardId(42));
        }
        for bad in ["", "shardId-", "shardId-x", "shardId--1", "2147483648", "+4"] {
            assert!(ShardId::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(ShardId(42).text(), *b"shardId-000000000042");
        assert_eq!(ShardId(u32::MAX).to_string().as_bytes(), ShardId(u32::MAX).text());
    }

    #[test]
    fn partition_keys_count_characters_not_bytes() {
        assert!(PartitionKey::parse(&"ä".repeat(256)).is_ok());
        assert!(PartitionKey::parse(&"ä".repeat(257)).is_err());
        assert!(PartitionKey::parse("").is_err());
    }
}
