//! What sending costs: `load ENDPOINT RECORDS BYTES CALLS_AT_ONCE json|cbor` puts records of one size in calls of 500 to a
//! stream of four shards, makes it where it is missing, and prints records/s and microseconds of CPU a record.

#![expect(clippy::print_stdout, reason = "an example talks to the terminal")]

use headwater_aws::{Environment, FormatChoice, Kinesis, KinesisSettings, NewStream, PutBody, StreamRef};
use std::error::Error;
use std::time::{Duration, Instant};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, records, bytes, at_once, format] = arguments.as_slice() else {
        return Err("load ENDPOINT RECORDS BYTES CALLS_AT_ONCE json|cbor".into());
    };
    let (records, bytes, at_once): (usize, usize, usize) =
        (records.parse()?, bytes.parse()?, at_once.parse()?);
    let format = if format == "cbor" { FormatChoice::Cbor } else { FormatChoice::Json };
    let environment: Environment =
        [("AWS_ACCESS_KEY_ID", "any"), ("AWS_SECRET_ACCESS_KEY", "any")].into_iter().collect();
    let settings =
        KinesisSettings { endpoint: Some(endpoint.clone()), format, ..KinesisSettings::of(environment) };
    let client = Kinesis::new(settings)?;
    let stream = StreamRef::name("load");
    client.create_stream("load", NewStream { shards: Some(4), record_kib_max: None }).await?;
    let info = client.wait_until_active(&stream, Duration::from_secs(60)).await?;

    let (begun, cpu) = (Instant::now(), cpu()?);
    let calls = records / 500;
    let mut under_way = tokio::task::JoinSet::new();
    for call in 0..calls {
        while under_way.len() >= at_once {
            under_way.join_next().await.ok_or("nothing is under way")??;
        }
        let (client, stream) = (client.clone(), stream.clone());
        under_way.spawn(async move {
            let data = vec![7; bytes];
            let mut body = PutBody::new(&stream, client.format(), info.record_bytes_max, 500 * (bytes + 10));
            for record in 0..500 {
                body.put(&format!("device-{}", (call * 500 + record) % 1_000), None, &data).expect("it fits");
            }
            let answer = client.put_records(body).await.expect("the server answers");
            assert_eq!(answer.failed(), 0);
        });
    }
    while let Some(ended) = under_way.join_next().await {
        ended?;
    }
    let (elapsed, used) = (begun.elapsed(), self::cpu()? - cpu);
    let sent = (calls * 500) as f64;
    println!(
        "{:.0} records/s, {:.2} us of CPU a record",
        sent / elapsed.as_secs_f64(),
        used.as_secs_f64() * 1e6 / sent
    );
    Ok(())
}

/// CPU time of this process so far, of user and kernel together.
fn cpu() -> Result<Duration, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit(')').next().ok_or("no fields")?.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}
