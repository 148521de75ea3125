// The main flow of the AWS SDK for JavaScript: `node flow.js ENDPOINT h2|h1 [test name ...]`. Each test is a claim.

"use strict";

const { LAST_HASH_KEY, active, assert, clientOf, drain, fresh, numbers, put, run, sdk, shardsOf, text } = require("./subject.js");

const tests = {
  async what_is_put_is_read_back_in_order(client) {
    const StreamName = await fresh(client, 3);
    const results = await put(client, StreamName, 0, 40);
    const one = await client.send(new sdk.PutRecordCommand({ StreamName, Data: Buffer.from("40"), PartitionKey: "key-0" }));
    assert.match(one.SequenceNumber, /^\d{56}$/);
    const shards = await shardsOf(client, StreamName);
    assert.deepEqual(shards.map((shard) => shard.ShardId), [0, 1, 2].map((n) => `shardId-00000000000${n}`));
    const found = [];
    for (const { ShardId } of shards) {
      const { records } = await drain(client, StreamName, ShardId);
      for (const record of records) {
        assert.ok(Math.abs(Date.now() - record.ApproximateArrivalTimestamp.getTime()) < 60_000);
        const placed = results[Number(text(record))] ?? one;
        assert.deepEqual([placed.ShardId, placed.SequenceNumber], [ShardId, record.SequenceNumber]);
        assert.equal(record.PartitionKey, `key-${Number(text(record)) % 5}`);
      }
      const order = records.map((record) => BigInt(record.SequenceNumber));
      assert.ok(order.every((number, i) => i === 0 || number > order[i - 1]), "sequence numbers rise");
      found.push(...records.map(text));
    }
    assert.deepEqual(found.sort((a, b) => a - b), numbers(0, 41));
  },

  async a_stream_is_described_paged_and_deleted(client) {
    const StreamName = await fresh(client, 5);
    const { StreamDescription } = await client.send(new sdk.DescribeStreamCommand({ StreamName, Limit: 2 }));
    assert.equal(StreamDescription.Shards.length, 2);
    assert.equal(StreamDescription.HasMoreShards, true);
    assert.ok(StreamDescription.StreamCreationTimestamp instanceof Date);
    assert.equal(StreamDescription.RetentionPeriodHours, 24);
    const names = [];
    for await (const page of sdk.paginateListStreams({ client, pageSize: 1 }, {})) names.push(...page.StreamNames);
    assert.ok(names.includes(StreamName), `${names}`);
    assert.equal(new Set(names).size, names.length);
    const { StreamDescriptionSummary } = await client.send(
      new sdk.DescribeStreamSummaryCommand({ StreamARN: StreamDescription.StreamARN }));
    assert.equal(StreamDescriptionSummary.OpenShardCount, 5);
    await client.send(new sdk.DeleteStreamCommand({ StreamName }));
    const gone = await sdk.waitUntilStreamNotExists({ client, maxWaitTime: 30, minDelay: 1, maxDelay: 1 }, { StreamName });
    assert.equal(gone.state, "SUCCESS");
  },

  async tags_and_limits_are_kept(client) {
    const StreamName = await fresh(client);
    await client.send(new sdk.AddTagsToStreamCommand({ StreamName, Tags: { site: "north", "ünicode": "ja" } }));
    await client.send(new sdk.RemoveTagsFromStreamCommand({ StreamName, TagKeys: ["site"] }));
    const { Tags, HasMoreTags } = await client.send(new sdk.ListTagsForStreamCommand({ StreamName }));
    assert.deepEqual([Tags, HasMoreTags], [[{ Key: "ünicode", Value: "ja" }], false]);
    await client.send(new sdk.IncreaseStreamRetentionPeriodCommand({ StreamName, RetentionPeriodHours: 48 }));
    const { StreamDescriptionSummary } = await client.send(new sdk.DescribeStreamSummaryCommand({ StreamName }));
    assert.equal(StreamDescriptionSummary.RetentionPeriodHours, 48);
    const limits = await client.send(new sdk.DescribeLimitsCommand({}));
    assert.ok(limits.ShardLimit >= limits.OpenShardCount && limits.OpenShardCount >= 1);
  },

  async errors_have_the_types_of_the_model(client) {
    const StreamName = await fresh(client);
    const refused = async (type, command, wording) => {
      await assert.rejects(client.send(command), (error) => {
        assert.ok(error instanceof type, `${error.name}: ${error.message} is no ${type.name}`);
        assert.match(error.message, wording);
        assert.equal(error.$metadata.httpStatusCode, 400);
        assert.equal(error.$fault, "client");
        assert.match(error.$metadata.requestId, /^[0-9a-f-]{36}$/);
        return true;
      });
    };
    await refused(sdk.ResourceNotFoundException, new sdk.DescribeStreamCommand({ StreamName: "absent" }), /not found/);
    await refused(sdk.ResourceInUseException, new sdk.CreateStreamCommand({ StreamName, ShardCount: 1 }), /already exists/);
    await refused(sdk.LimitExceededException, new sdk.CreateStreamCommand({ StreamName: "large", ShardCount: 100_000 }), /limit/);
    await refused(sdk.InvalidArgumentException, new sdk.GetRecordsCommand({ ShardIterator: "AAAA" }), /Invalid ShardIterator/);
    await refused(sdk.ValidationException, new sdk.PutRecordCommand({ StreamName, Data: Buffer.alloc(0), PartitionKey: "" }),
      /1 validation error detected: Value '' at 'partitionKey'/);
  },

  async a_split_and_a_merge_are_followed_to_the_end(client) {
    const StreamName = await fresh(client);
    const middle = (LAST_HASH_KEY + 1n) / 2n;
    await put(client, StreamName, 0, 20);
    const parent = "shardId-000000000000";
    await client.send(new sdk.SplitShardCommand({ StreamName, ShardToSplit: parent, NewStartingHashKey: `${middle}` }));
    await active(client, StreamName);
    await put(client, StreamName, 20, 40);
    const [low, high] = ["shardId-000000000001", "shardId-000000000002"];
    await client.send(new sdk.MergeShardsCommand({ StreamName, ShardToMerge: low, AdjacentShardToMerge: high }));
    await active(client, StreamName);
    await put(client, StreamName, 40, 60);

    const shards = Object.fromEntries((await shardsOf(client, StreamName)).map((shard) => [shard.ShardId, shard]));
    assert.deepEqual(Object.keys(shards), [parent, low, high, "shardId-000000000003"]);
    assert.equal(shards[low].ParentShardId, parent);
    assert.deepEqual(shards[high].HashKeyRange, { StartingHashKey: `${middle}`, EndingHashKey: `${LAST_HASH_KEY}` });
    assert.deepEqual([shards["shardId-000000000003"].ParentShardId, shards["shardId-000000000003"].AdjacentParentShardId], [low, high]);
    assert.ok(shards[parent].SequenceNumberRange.EndingSequenceNumber, "a closed shard says where it ended");

    // As a consumer does: the parent to its end, then what it says its children are, each shard once.
    const found = [];
    const seen = new Set();
    const waiting = [parent];
    while (waiting.length > 0) {
      const ShardId = waiting.shift();
      if (seen.has(ShardId)) continue;
      seen.add(ShardId);
      const { records, children } = await drain(client, StreamName, ShardId);
      found.push(records.map(text));
      for (const child of children ?? []) {
        assert.ok(child.ParentShards.includes(ShardId), `${JSON.stringify(child)} is no child of ${ShardId}`);
        waiting.push(child.ShardId);
      }
    }
    assert.equal(seen.size, 4);
    assert.deepEqual(found[0], numbers(0, 20));
    assert.deepEqual([...found[1], ...found[2]].sort((a, b) => a - b), numbers(20, 40));
    assert.deepEqual(found[3], numbers(40, 60));
  },

  async a_stream_is_resized(client) {
    const StreamName = await fresh(client, 2);
    const answer = await client.send(
      new sdk.UpdateShardCountCommand({ StreamName, TargetShardCount: 4, ScalingType: "UNIFORM_SCALING" }));
    assert.deepEqual([answer.CurrentShardCount, answer.TargetShardCount], [2, 4]);
    await active(client, StreamName);
    const shards = await shardsOf(client, StreamName);
    const open = shards.filter((shard) => !shard.SequenceNumberRange.EndingSequenceNumber);
    assert.equal(open.length, 4);
    const step = (LAST_HASH_KEY + 1n) / 4n;
    const starts = open.map((shard) => BigInt(shard.HashKeyRange.StartingHashKey)).sort((a, b) => (a < b ? -1 : 1));
    assert.deepEqual(starts, [0n, step, step * 2n, step * 3n]);
  },
};

const [endpoint, protocol, ...wanted] = process.argv.slice(2);
const client = clientOf(endpoint, protocol);
assert.equal(client.config.requestHandler.metadata.handlerProtocol, protocol === "h1" ? "http/1.1" : "h2");
run(tests, client, wanted);
