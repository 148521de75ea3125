//! What clients ask: real requests, one after the other.

/// What clients ask, one scenario a line group: an operation and its body.
pub(crate) const SCENARIOS: &[&[(&str, &str)]] = &[
    &[
        ("CreateStream", r#"{"StreamName":"s","ShardCount":2,"Tags":{"room":"boiler"}}"#),
        ("PutRecord", r#"{"StreamName":"s","Data":"aGVsbG8=","PartitionKey":"k","ExplicitHashKey":"7"}"#),
        (
            "PutRecords",
            r#"{"StreamName":"s","Records":[{"Data":"aGk=","PartitionKey":"a"},{"Data":"","PartitionKey":"ä b","ExplicitHashKey":"340282366920938463463374607431768211455"}]}"#,
        ),
        (
            "GetShardIterator",
            r#"{"StreamName":"s","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}"#,
        ),
        ("GetRecords", r#"{"ShardIterator":"$ShardIterator","Limit":10}"#),
        ("GetRecords", r#"{"ShardIterator":"$NextShardIterator"}"#),
        (
            "GetShardIterator",
            r#"{"StreamName":"s","ShardId":"shardId-000000000001","ShardIteratorType":"AFTER_SEQUENCE_NUMBER","StartingSequenceNumber":"$SequenceNumber"}"#,
        ),
        (
            "GetShardIterator",
            r#"{"StreamName":"s","ShardId":"0","ShardIteratorType":"AT_TIMESTAMP","Timestamp":1790000000.5}"#,
        ),
        ("GetRecords", r#"{"ShardIterator":"$ShardIterator"}"#),
    ],
    &[
        ("CreateStream", r#"{"StreamName":"s","ShardCount":2}"#),
        ("DescribeStream", r#"{"StreamName":"s","Limit":1}"#),
        ("DescribeStream", r#"{"StreamName":"s","ExclusiveStartShardId":"shardId-000000000000"}"#),
        (
            "SplitShard",
            r#"{"StreamName":"s","ShardToSplit":"shardId-000000000000","NewStartingHashKey":"10"}"#,
        ),
        (
            "MergeShards",
            r#"{"StreamName":"s","ShardToMerge":"shardId-000000000003","AdjacentShardToMerge":"shardId-000000000001"}"#,
        ),
        ("ListShards", r#"{"StreamName":"s","MaxResults":1}"#),
        ("ListShards", r#"{"NextToken":"$NextToken"}"#),
        ("ListShards", r#"{"StreamName":"s","ShardFilter":{"Type":"AT_TRIM_HORIZON"}}"#),
        ("UpdateShardCount", r#"{"StreamName":"s","TargetShardCount":3,"ScalingType":"UNIFORM_SCALING"}"#),
        ("DescribeStreamSummary", r#"{"StreamName":"s"}"#),
        ("DescribeLimits", "{}"),
        ("DeleteStream", r#"{"StreamName":"s","EnforceConsumerDeletion":true}"#),
        ("ListStreams", r#"{"Limit":1}"#),
    ],
    &[
        (
            "CreateStream",
            r#"{"StreamName":"s","StreamModeDetails":{"StreamMode":"ON_DEMAND"},"MaxRecordSizeInKiB":2048}"#,
        ),
        ("DescribeStreamSummary", r#"{"StreamName":"s"}"#),
        ("IncreaseStreamRetentionPeriod", r#"{"StreamARN":"$StreamARN","RetentionPeriodHours":48}"#),
        ("DecreaseStreamRetentionPeriod", r#"{"StreamARN":"$StreamARN","RetentionPeriodHours":24}"#),
        (
            "UpdateStreamMode",
            r#"{"StreamARN":"$StreamARN","StreamModeDetails":{"StreamMode":"PROVISIONED"}}"#,
        ),
        ("UpdateMaxRecordSize", r#"{"StreamARN":"$StreamARN","MaxRecordSizeInKiB":1024}"#),
        ("UpdateStreamWarmThroughput", r#"{"StreamARN":"$StreamARN","WarmThroughputMiBps":10}"#),
        (
            "UpdateStreamRecordDistributionStrategy",
            r#"{"StreamARN":"$StreamARN","RecordDistributionStrategy":"AUTO"}"#,
        ),
        ("PutRecords", r#"{"StreamARN":"$StreamARN","Records":[{"Data":"aGk="}]}"#),
        ("EnableEnhancedMonitoring", r#"{"StreamName":"s","ShardLevelMetrics":["ALL"]}"#),
        ("DisableEnhancedMonitoring", r#"{"StreamName":"s","ShardLevelMetrics":["IncomingBytes"]}"#),
        ("DescribeAccountSettings", "{}"),
        ("UpdateAccountSettings", r#"{"MinimumThroughputBillingCommitment":{"Status":"ENABLED"}}"#),
        ("StartStreamEncryption", r#"{"StreamName":"s","EncryptionType":"KMS","KeyId":"alias/aws/kinesis"}"#),
        ("StopStreamEncryption", r#"{"StreamName":"s","EncryptionType":"KMS","KeyId":"alias/aws/kinesis"}"#),
    ],
    &[
        ("CreateStream", r#"{"StreamName":"s","ShardCount":1}"#),
        ("AddTagsToStream", r#"{"StreamName":"s","Tags":{"a":"b","c":""}}"#),
        ("ListTagsForStream", r#"{"StreamName":"s","ExclusiveStartTagKey":"a","Limit":1}"#),
        ("RemoveTagsFromStream", r#"{"StreamName":"s","TagKeys":["a"]}"#),
        ("DescribeStreamSummary", r#"{"StreamName":"s"}"#),
        ("RegisterStreamConsumer", r#"{"StreamARN":"$StreamARN","ConsumerName":"c","Tags":{"a":"b"}}"#),
        ("TagResource", r#"{"ResourceARN":"$ConsumerARN","Tags":{"x":"y"}}"#),
        ("ListTagsForResource", r#"{"ResourceARN":"$ConsumerARN"}"#),
        ("UntagResource", r#"{"ResourceARN":"$ConsumerARN","TagKeys":["x"]}"#),
        (
            "PutResourcePolicy",
            r#"{"ResourceARN":"$StreamARN","Policy":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"kinesis:GetRecords\",\"Resource\":\"arn:aws:kinesis:us-east-1:000000000000:stream/s\"}]}"}"#,
        ),
        ("GetResourcePolicy", r#"{"ResourceARN":"$StreamARN"}"#),
        (
            "SubscribeToShard",
            r#"{"ConsumerARN":"$ConsumerARN","ShardId":"shardId-000000000000","StartingPosition":{"Type":"LATEST"}}"#,
        ),
        ("DescribeStreamConsumer", r#"{"ConsumerARN":"$ConsumerARN"}"#),
        ("ListStreamConsumers", r#"{"StreamARN":"$StreamARN","MaxResults":1}"#),
        ("DeleteResourcePolicy", r#"{"ResourceARN":"$StreamARN"}"#),
        ("DeregisterStreamConsumer", r#"{"ConsumerARN":"$ConsumerARN"}"#),
    ],
];

/// A queue from its beginning to its end.
pub(crate) const QUEUE: &[(&str, &str)] = &[
    ("CreateStream", r#"{"StreamName":"s","ShardCount":1}"#),
    ("DescribeStreamSummary", r#"{"StreamName":"s"}"#),
    (
        "CreateQueue",
        r#"{"QueueName":"q","StreamARN":"$StreamARN","StartingPosition":{"Type":"TRIM_HORIZON"},"Tags":{"a":"b"}}"#,
    ),
    ("PutRecord", r#"{"StreamName":"s","Data":"aGVsbG8=","PartitionKey":"k"}"#),
    ("ReceiveQueueRecords", r#"{"QueueARN":"$QueueARN","MaxRecords":5}"#),
    (
        "UpdateQueueRecordsVisibility",
        r#"{"QueueARN":"$QueueARN","Records":[{"ReceiptHandle":"$ReceiptHandle","VisibilityTimeoutSeconds":0}]}"#,
    ),
    ("AcknowledgeQueueRecords", r#"{"QueueARN":"$QueueARN","Records":[{"ReceiptHandle":"$ReceiptHandle"}]}"#),
    ("ListQueues", r#"{"MaxResults":1}"#),
    ("DescribeQueue", r#"{"QueueARN":"$QueueARN"}"#),
    ("ReceiveDeadLetterQueueRecords", r#"{"QueueARN":"$QueueARN"}"#),
    ("UpdateQueue", r#"{"QueueARN":"$QueueARN","VisibilityTimeoutSeconds":60}"#),
    ("DeleteQueue", r#"{"QueueARN":"$QueueARN"}"#),
];
