//! The shard engine: streams, shards, sequence numbers and the Amazon Kinesis Data Streams API.
