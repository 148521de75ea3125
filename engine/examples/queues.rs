//! What consuming through a queue costs: `queues --dir DIR [--records N] [--receivers N] [--bytes N]`. Puts records of one
//! stream, then receives and acknowledges all of them with JSON requests in the process, without sockets, and prints
//! records per second and CPU time per record, everything from request to answer included.

#![expect(clippy::print_stdout, reason = "an example talks to the terminal")]

use headwater_engine::{Engine, EngineConfig};
use serde_json::{Value, json};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut dir, mut records, mut receivers, mut bytes) = (None, 100_000, 8, 200);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--dir" => dir = Some(value),
            "--records" => records = value.parse()?,
            "--receivers" => receivers = value.parse()?,
            "--bytes" => bytes = value.parse()?,
            _ => return Err(format!("{name} is none of --dir, --records, --receivers, --bytes").into()),
        }
    }
    let dir = dir.ok_or("--dir is missing")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (engine, _) = Engine::open(EngineConfig::new(dir))?;
        let queue = fill(&engine, records, bytes).await?;
        let (start, cpu) = (Instant::now(), cpu_time());
        let left = Arc::new(AtomicUsize::new(records));
        let running: Vec<_> = (0..receivers)
            .map(|_| tokio::spawn(consume(engine.clone(), queue.clone(), Arc::clone(&left))))
            .collect();
        let mut calls = 0;
        for receiver in running {
            calls += receiver.await??;
        }
        let (took, cpu) = (start.elapsed(), cpu_time().saturating_sub(cpu));
        let count = u32::try_from(records)?;
        println!(
            "{records} records of {bytes} bytes, {receivers} receivers: {:.0} records/s, {:.2} us CPU a record, {:.1} records a receive",
            f64::from(count) / took.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / f64::from(count),
            f64::from(count) / f64::from(calls),
        );
        engine.close().await;
        Ok(())
    })
}

async fn ask(engine: &Engine, operation: &str, body: &Value) -> Result<Value, String> {
    let answer = engine.call(operation, body.to_string().as_bytes()).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.status != 200 {
        return Err(format!("{operation}: {text}"));
    }
    if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text).map_err(|e| e.to_string()) }
}

async fn fill(engine: &Engine, records: usize, bytes: usize) -> Result<Arc<str>, String> {
    let mode = json!({ "StreamMode": "ON_DEMAND" });
    ask(engine, "CreateStream", &json!({ "StreamName": "bench", "StreamModeDetails": mode })).await?;
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/bench";
    let start = json!({ "Type": "TRIM_HORIZON" });
    let configuration = json!([{ "StreamARN": arn, "StartingPosition": start }]);
    let asked = json!({ "QueueName": "bench", "StreamConfigurationList": configuration });
    let queue = ask(engine, "CreateQueue", &asked).await?;
    let data = base64_simd::STANDARD.encode_to_string(vec![b'x'; bytes]);
    for first in (0..records).step_by(500) {
        let record = |i| json!({ "Data": data, "PartitionKey": format!("key-{i}") });
        let all: Vec<_> = (first..records.min(first + 500)).map(record).collect();
        ask(engine, "PutRecords", &json!({ "StreamName": "bench", "Records": all })).await?;
    }
    Ok(queue["QueueDescription"]["QueueARN"].as_str().unwrap_or_default().into())
}

/// Receives and acknowledges until nothing is left; how many receives that took.
async fn consume(engine: Engine, queue: Arc<str>, left: Arc<AtomicUsize>) -> Result<u32, String> {
    let asked = json!({ "QueueARN": &*queue, "WaitTimeSeconds": 1 }).to_string();
    let mut calls = 0;
    while left.load(Ordering::Relaxed) > 0 {
        let answer = engine.call("ReceiveQueueRecords", asked.as_bytes()).await;
        let entries = entries(&answer.body);
        if entries.is_empty() {
            continue;
        }
        calls += 1;
        left.fetch_sub(entries.len(), Ordering::Relaxed);
        let handles: Vec<String> = entries.iter().map(|h| format!(r#"{{"ReceiptHandle":"{h}"}}"#)).collect();
        let asked = format!(r#"{{"QueueARN":"{queue}","Entries":[{}]}}"#, handles.join(","));
        let answer = engine.call("AcknowledgeQueueRecords", asked.as_bytes()).await;
        if !answer.body.ends_with(br#""Failed":[]}"#) {
            return Err(String::from_utf8_lossy(&answer.body).into_owned());
        }
    }
    Ok(calls)
}

/// The handles of an answer, found without parsing it: the client's part should cost little.
fn entries(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let parts = text.split(r#""ReceiptHandle":""#).skip(1);
    parts.filter_map(|part| part.split_once('"')).map(|(handle, _)| handle.to_owned()).collect()
}

/// CPU time of the process so far; zero where the system does not say.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    // User and system time, in ticks of 10 ms on every Linux this runs on.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
