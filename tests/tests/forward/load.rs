//! Who sends: simulated devices over MQTT, with power cuts of their own, and programs that call PutRecords for other devices.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use headwater_sim::{Faults, Fleet, Progress, SimConfig, Summary};
use serde_json::json;
use system_tests::gateway::Gateway;
use system_tests::kinesis::{Answer, Kinesis};
use tokio::sync::watch;

/// Simulated devices.
pub(crate) const DEVICES: u32 = 30;

/// Readings of each a second: more than a real one takes, so that every fault finds some on the way.
const READINGS_PER_SEC: f64 = 3.0;

/// Each loses its power about once in half a minute.
const REBOOTS_PER_HOUR: f64 = 120.0;

/// After the last fault: the devices deliver what they hold, and the simulator reads the gateway's shards.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);

/// Devices of one program, and readings of each in one call.
const PROGRAM_DEVICES: usize = 10;
const READINGS_PER_CALL: u64 = 2;

/// Between the calls of a program.
const PACE: Duration = Duration::from_millis(200);

/// Everybody who sends, each in a thread.
pub(crate) struct Load {
    fleet: JoinHandle<Summary>,
    stop: Arc<AtomicBool>,
    programs: Vec<JoinHandle<u64>>,
}

impl Load {
    /// `programs` beside the devices, which sample for so long.
    pub(crate) fn start(near: &Gateway, directory: &Path, seed: u64, seconds: u64, programs: usize) -> Self {
        let config = SimConfig {
            devices: 0,
            mqtt_devices: DEVICES,
            seed,
            rate_per_sec: READINGS_PER_SEC,
            duration: Some(Duration::from_secs(seconds)),
            drain: DRAIN_PATIENCE,
            faults: Faults { reboots_per_hour: REBOOTS_PER_HOUR, ..Faults::default() },
            ..SimConfig::new(directory.join("fleet"), near.mqtt, near.kinesis)
        };
        let fleet = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let (progress, _) = watch::channel(Progress::default());
            let fleet = Fleet::run(config, progress, std::future::pending());
            runtime.block_on(fleet).expect("the fleet runs and the shards can be read back")
        });
        let stop = Arc::new(AtomicBool::new(false));
        let programs = (0..programs)
            .map(|program| {
                let (address, stop) = (near.kinesis, Arc::clone(&stop));
                std::thread::spawn(move || send(address, program, &stop))
            })
            .collect();
        Self { fleet, stop, programs }
    }

    /// Waits for the devices, stops the programs; readings that were acknowledged to each of the two kinds.
    pub(crate) fn finish(self) -> (u64, u64) {
        let summary = self.fleet.join().expect("the fleet ends");
        println!("the fleet's own check of the gateway: {summary}");
        assert!(summary.is_good() && summary.waiting == 0, "{summary}: {:#?}", summary.examples);
        self.stop.store(true, Ordering::SeqCst);
        let by_programs =
            self.programs.into_iter().map(|program| program.join().expect("a program ends")).sum();
        (summary.acked, by_programs)
    }
}

/// Sends the next readings until they are acknowledged, then the next ones: after a lost answer they are in the stream twice.
fn send(address: SocketAddr, program: usize, stop: &AtomicBool) -> u64 {
    let mut kinesis = Kinesis::new(address);
    let (mut first, mut acked) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        let records: Vec<_> = (0..PROGRAM_DEVICES)
            .flat_map(|device| (first..first + READINGS_PER_CALL).map(move |seq| (device, seq)))
            .map(|(device, seq)| {
                let device = format!("program-{program}-{device}");
                let reading = json!({ "kind": "reading", "device": device, "boot": 7, "seq": seq,
                                      "channel": "level", "value": 1.5 });
                let data = base64_simd::STANDARD.encode_to_string(reading.to_string());
                json!({ "PartitionKey": device, "Data": data })
            })
            .collect();
        let count = records.len() as u64;
        let call = json!({ "StreamName": "telemetry", "Records": records });
        if let Ok(Answer { status: 200, body }) = kinesis.call("PutRecords", &call) {
            assert_eq!(body["FailedRecordCount"], 0, "a call is one batch: {body}");
            (first, acked) = (first + READINGS_PER_CALL, acked + count);
        }
        std::thread::sleep(PACE);
    }
    acked
}
