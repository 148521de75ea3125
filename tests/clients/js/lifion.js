// A lifion-kinesis consumer with its leases in a dynalite of its own: `node lifion.js ENDPOINT STREAM polling|fan-out`.
// Prints one JSON line per record, and goes on until it is killed.

"use strict";

const dns = require("node:dns");

// In fan-out mode the client signs each subscription with aws4, which puts the service's own host name into the request: port
// and scheme of the endpoint stay, its host is lost. So that name must be the test's machine, or the client never reaches it
// (and must never reach anybody's real account).
const { lookup } = dns;
dns.lookup = (hostname, options, callback) =>
  lookup(hostname.endsWith(".amazonaws.com") ? "127.0.0.1" : hostname, options, callback);

const dynalite = require("dynalite");
const Kinesis = require("lifion-kinesis");

const [endpoint, streamName, mode] = process.argv.slice(2);
const local = { accessKeyId: "test", secretAccessKey: "test", region: "us-east-1" };
const say = (level) => (...words) => console.error(new Date().toISOString(), level, ...words);

const leases = dynalite({ createTableMs: 0 }).listen(0, "127.0.0.1", async () => {
  const consumer = new Kinesis({
    ...local,
    endpoint,
    streamName,
    consumerGroup: "headwater",
    createStreamIfNeeded: false,
    dynamoDb: { ...local, endpoint: `http://127.0.0.1:${leases.address().port}` },
    initialPositionInStream: "TRIM_HORIZON",
    // Its own 20 s would be most of the test's time.
    leaseAcquisitionInterval: 1_000,
    leaseAcquisitionRecoveryInterval: 1_000,
    noRecordsPollDelay: 250,
    maxEnhancedConsumers: 1,
    useEnhancedFanOut: mode === "fan-out",
    logger: { debug: say("debug"), warn: say("warn"), error: say("error") },
  });
  consumer.on("data", ({ shardId, records }) => {
    for (const { data, partitionKey, sequenceNumber } of records) {
      console.log(JSON.stringify({ shard: shardId, sequence: sequenceNumber, key: partitionKey, data }));
    }
  });
  consumer.on("error", (error) => console.error("error event:", error));
  await consumer.startConsumer();
  console.error("consuming");
});
