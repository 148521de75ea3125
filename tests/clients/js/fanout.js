// Enhanced fan-out with the AWS SDK for JavaScript: `node fanout.js ENDPOINT h2|h1 [test name ...]`. Each test is a claim.

"use strict";

const { LAST_HASH_KEY, active, assert, clientOf, fresh, numbers, put, run, sdk, sleep, text } = require("./subject.js");

/// The service sends an event at least every five seconds; the rest is for a loaded machine.
const KEEP_ALIVE_MS = 10_000;

async function consumerOf(client, StreamName, ConsumerName = "reader") {
  const { StreamDescriptionSummary } = await client.send(new sdk.DescribeStreamSummaryCommand({ StreamName }));
  const { StreamARN } = StreamDescriptionSummary;
  const { Consumer } = await client.send(new sdk.RegisterStreamConsumerCommand({ StreamARN, ConsumerName }));
  for (let tries = 0; tries < 60; tries++) {
    const { ConsumerDescription } = await client.send(
      new sdk.DescribeStreamConsumerCommand({ ConsumerARN: Consumer.ConsumerARN }));
    if (ConsumerDescription.ConsumerStatus === "ACTIVE") return { StreamARN, ConsumerARN: Consumer.ConsumerARN };
    await sleep(500);
  }
  throw new Error("the consumer does not become ACTIVE");
}

/// One subscription. `next` gives its next event, or nothing at its end, and fails when neither comes.
async function subscribe(client, ConsumerARN, ShardId, StartingPosition) {
  const command = new sdk.SubscribeToShardCommand({ ConsumerARN, ShardId, StartingPosition });
  const abort = new AbortController();
  const { EventStream } = await client.send(command, { abortSignal: abort.signal });
  const events = EventStream[Symbol.asyncIterator]();
  const next = async (within = KEEP_ALIVE_MS) => {
    const late = sleep(within, "late", { ref: true });
    const first = await Promise.race([events.next(), late]);
    if (first === "late") throw new Error(`no event within ${within} ms`);
    if (first.done) return undefined;
    assert.ok(first.value.SubscribeToShardEvent, JSON.stringify(first.value));
    return first.value.SubscribeToShardEvent;
  };
  /// Events until so many records have come. Three without any are ten seconds of nothing.
  const records = async (count) => {
    const found = [];
    let last;
    for (let empty = 0; found.length < count; ) {
      last = await next();
      empty += last?.Records.length === 0;
      if (!last || empty === 3) throw new Error(`${found.length} of ${count} records came`);
      found.push(...last.Records);
    }
    return { found: found.map(text), last };
  };
  const end = async () => {
    abort.abort();
    await events.return?.().catch(() => {});
  };
  return { next, records, end };
}

const SHARD = "shardId-000000000000";

const tests = {
  async a_consumer_is_registered_listed_and_deregistered(client) {
    const StreamName = await fresh(client);
    const { StreamARN, ConsumerARN } = await consumerOf(client, StreamName, "one");
    await consumerOf(client, StreamName, "two");
    const names = [];
    for await (const page of sdk.paginateListStreamConsumers({ client, pageSize: 1 }, { StreamARN })) {
      names.push(...page.Consumers.map((consumer) => consumer.ConsumerName));
    }
    assert.deepEqual(names.sort(), ["one", "two"]);
    await assert.rejects(
      client.send(new sdk.RegisterStreamConsumerCommand({ StreamARN, ConsumerName: "one" })), sdk.ResourceInUseException);
    await client.send(new sdk.DeregisterStreamConsumerCommand({ ConsumerARN }));
    for (let tries = 0; tries < 60; tries++) {
      const { Consumers } = await client.send(new sdk.ListStreamConsumersCommand({ StreamARN }));
      if (Consumers.length === 1) return;
      await sleep(500);
    }
    throw new Error("the consumer does not go");
  },

  // Against HTTP/2 servers whose library takes the client's GOAWAY for the end of its requests, this ended after the first
  // batch: the SDK closes its session gracefully, one GOAWAY, as soon as it has the head of the answer.
  async a_subscription_goes_on_beyond_its_first_batch(client) {
    const StreamName = await fresh(client);
    const { ConsumerARN } = await consumerOf(client, StreamName);
    await put(client, StreamName, 0, 5);
    const subscription = await subscribe(client, ConsumerARN, SHARD, { Type: "TRIM_HORIZON" });
    assert.deepEqual((await subscription.records(5)).found, numbers(0, 5));
    for (let n = 5; n < 12; n++) {
      await put(client, StreamName, n, n + 1);
      const { found, last } = await subscription.records(1);
      assert.deepEqual(found, [`${n}`]);
      assert.equal(last.MillisBehindLatest, 0);
      await sleep(100);
    }
    await subscription.end();
  },

  async a_quiet_subscription_is_kept_alive_and_continued_where_it_was(client) {
    const StreamName = await fresh(client);
    const { ConsumerARN } = await consumerOf(client, StreamName);
    const subscription = await subscribe(client, ConsumerARN, SHARD, { Type: "TRIM_HORIZON" });
    await put(client, StreamName, 0, 5);
    await subscription.records(5);
    const quiet = await subscription.next();
    assert.deepEqual(quiet.Records, []);
    assert.equal(quiet.MillisBehindLatest, 0);
    assert.match(quiet.ContinuationSequenceNumber, /^\d{56}$/);
    await subscription.end();
    await put(client, StreamName, 5, 8);
    const position = { Type: "AFTER_SEQUENCE_NUMBER", SequenceNumber: quiet.ContinuationSequenceNumber };
    const continued = await subscribe(client, ConsumerARN, SHARD, position);
    assert.deepEqual((await continued.records(3)).found, numbers(5, 8));
    await continued.end();
  },

  async a_subscription_follows_a_split_from_the_parents_end_into_its_children(client) {
    const StreamName = await fresh(client);
    const { ConsumerARN } = await consumerOf(client, StreamName);
    await put(client, StreamName, 0, 5);
    const subscription = await subscribe(client, ConsumerARN, SHARD, { Type: "TRIM_HORIZON" });
    await subscription.records(5);
    const NewStartingHashKey = `${(LAST_HASH_KEY + 1n) / 2n}`;
    await client.send(new sdk.SplitShardCommand({ StreamName, ShardToSplit: SHARD, NewStartingHashKey }));
    await active(client, StreamName);
    await put(client, StreamName, 5, 25);
    let last;
    for (let event = await subscription.next(); event; event = await subscription.next()) {
      assert.deepEqual(event.Records, [], "the parent takes nothing after the split");
      last = event;
    }
    assert.equal(last.ContinuationSequenceNumber, undefined, "there is nothing to continue at a shard's end");
    assert.deepEqual(last.ChildShards.map((child) => [child.ShardId, child.ParentShards]),
      [["shardId-000000000001", [SHARD]], ["shardId-000000000002", [SHARD]]]);
    const found = [];
    for (const child of last.ChildShards) {
      const { HashKeyRange, ShardId } = child;
      assert.ok(BigInt(HashKeyRange.StartingHashKey) <= BigInt(HashKeyRange.EndingHashKey));
      const reader = await subscribe(client, ConsumerARN, ShardId, { Type: "TRIM_HORIZON" });
      const event = await reader.next();
      found.push(...event.Records.map(text));
      await reader.end();
    }
    assert.deepEqual(found.sort((a, b) => a - b), numbers(5, 25));
  },

  async refusals_of_a_subscription_have_their_types(client) {
    const StreamName = await fresh(client);
    const { StreamARN, ConsumerARN } = await consumerOf(client, StreamName);
    const latest = { Type: "LATEST" };
    await assert.rejects(subscribe(client, `${ConsumerARN.slice(0, -3)}999`, SHARD, latest), sdk.ResourceNotFoundException);
    await assert.rejects(subscribe(client, ConsumerARN, "shardId-000000000009", latest), sdk.ResourceNotFoundException);
    const first = await subscribe(client, ConsumerARN, SHARD, latest);
    await assert.rejects(subscribe(client, ConsumerARN, SHARD, latest), sdk.ResourceInUseException);
    await first.end();
    await client.send(new sdk.DeleteStreamCommand({ StreamARN, EnforceConsumerDeletion: true }));
  },
};

const [endpoint, protocol, ...wanted] = process.argv.slice(2);
run(tests, clientOf(endpoint, protocol), wanted);
