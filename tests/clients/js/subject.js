// What every JavaScript test here needs: a client of the AWS SDK, streams of its own, reading to the end, a runner.

"use strict";

const assert = require("node:assert/strict");
const { randomBytes } = require("node:crypto");
const { setTimeout: sleep } = require("node:timers/promises");
const sdk = require("@aws-sdk/client-kinesis");
const { NodeHttpHandler } = require("@smithy/node-http-handler");

/// The highest hash key.
const LAST_HASH_KEY = 2n ** 128n - 1n;

/// `h2` is the handler the SDK takes by itself (HTTP/2, h2c for an http endpoint), `h1` its handler for HTTP/1.1.
function clientOf(endpoint, protocol, more = {}) {
  const client = new sdk.KinesisClient({
    endpoint,
    region: "us-east-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
    maxAttempts: 1,
    ...(protocol === "h1" ? { requestHandler: new NodeHttpHandler() } : {}),
    ...more,
  });
  return client;
}

async function fresh(client, shards = 1) {
  const StreamName = `js-${randomBytes(6).toString("hex")}`;
  await client.send(new sdk.CreateStreamCommand({ StreamName, ShardCount: shards }));
  await active(client, StreamName);
  return StreamName;
}

/// Waits with the SDK's own waiter.
async function active(client, StreamName) {
  const { state } = await sdk.waitUntilStreamExists({ client, maxWaitTime: 30, minDelay: 1, maxDelay: 1 }, { StreamName });
  assert.equal(state, "SUCCESS");
}

async function shardsOf(client, StreamName) {
  const shards = [];
  let page = await client.send(new sdk.ListShardsCommand({ StreamName, MaxResults: 2 }));
  shards.push(...page.Shards);
  while (page.NextToken) {
    page = await client.send(new sdk.ListShardsCommand({ NextToken: page.NextToken, MaxResults: 2 }));
    shards.push(...page.Shards);
  }
  return shards;
}

/// Everything in a shard from its beginning: to its end when it is closed, else until nothing is behind.
async function drain(client, StreamName, ShardId) {
  const at = { StreamName, ShardId, ShardIteratorType: "TRIM_HORIZON" };
  let { ShardIterator } = await client.send(new sdk.GetShardIteratorCommand(at));
  const records = [];
  for (;;) {
    const page = await client.send(new sdk.GetRecordsCommand({ ShardIterator, Limit: 7 }));
    records.push(...page.Records);
    if (!page.NextShardIterator) return { records, children: page.ChildShards };
    if (page.Records.length === 0 && page.MillisBehindLatest === 0) return { records };
    ShardIterator = page.NextShardIterator;
  }
}

const text = (record) => Buffer.from(record.Data).toString();

/// The control: with HEADWATER_CONTROL set, one record that a test says it put is not put, and the test must find out.
let withheld = Boolean(process.env.HEADWATER_CONTROL);

async function put(client, StreamName, from, to, key = (n) => `key-${n % 5}`) {
  const Records = [];
  for (let n = from; n < to; n++) Records.push({ Data: Buffer.from(`${n}`), PartitionKey: key(n) });
  if (withheld) Records.pop();
  withheld = false;
  if (Records.length === 0) return [];
  const answer = await client.send(new sdk.PutRecordsCommand({ StreamName, Records }));
  assert.equal(answer.FailedRecordCount, 0);
  return answer.Records;
}

const numbers = (from, to) => Array.from({ length: to - from }, (_, i) => `${from + i}`);

/// No test takes longer; what hangs fails by its name.
const PATIENCE_MS = 60_000;

/// Runs all tests at once, each on streams of its own, and says of each how it ended. Exit code 1 when one failed.
async function run(tests, client, wanted) {
  const chosen = Object.entries(tests).filter(([name]) => wanted.length === 0 || wanted.includes(name));
  let failed = 0;
  const one = async ([name, test]) => {
    const late = AbortSignal.timeout(PATIENCE_MS);
    const over = new Promise((_, reject) => late.addEventListener("abort", () => reject(new Error("not done in time"))));
    try {
      await Promise.race([test(client), over]);
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}\n${error?.stack ?? error}`);
    }
  };
  await Promise.all(chosen.map(one));
  console.log(`${chosen.length} tests, ${failed} failed`);
  client.destroy();
  process.exit(failed === 0 && chosen.length > 0 ? 0 : 1);
}

module.exports = { LAST_HASH_KEY, active, assert, clientOf, drain, fresh, numbers, put, run, sdk, shardsOf, sleep, text };
