//! Devices and their readings as people and programs read them.

use headwater_telemetry::{Batch, Entry, Hello, Value};

pub(super) fn show_batch(hello: &Hello, batch: &Batch, json: bool) {
    for (seq, entry) in batch.sequenced() {
        let (boot, uptime) = (batch.boot.0, batch.uptime(entry).0);
        match entry {
            Entry::Reading(reading) => {
                let channel = hello.channel(reading.channel);
                let (name, unit) = channel.map_or(("?", ""), |channel| (&*channel.name, &*channel.unit));
                let value = match &reading.value {
                    Value::Fixed(raw) => {
                        let digits =
                            usize::from(channel.map_or(0, |channel| channel.exponent.min(0).unsigned_abs()));
                        let scale = 10f64.powi(channel.map_or(0, |channel| channel.exponent.into()));
                        format!("{:.digits$}", f64::from(*raw) * scale)
                    }
                    Value::Float(value) => value.to_string(),
                    Value::Integer(value) => value.to_string(),
                    Value::Boolean(value) => value.to_string(),
                    Value::Text(value) if json => format!("\"{}\"", escaped(value.as_str())),
                    Value::Text(value) => value.to_string(),
                };
                say(&if json {
                    format!(
                        "{{\"boot\":{boot},\"seq\":{},\"uptime_ms\":{uptime},\"channel\":\"{name}\",\"value\":{value},\
                         \"unit\":\"{unit}\"}}",
                        seq.0
                    )
                } else {
                    format!("boot {boot} seq {} at {uptime} ms: {name} {value} {unit}", seq.0)
                });
            }
            Entry::Gap(gap) => say(&if json {
                format!("{{\"boot\":{boot},\"seq\":{},\"uptime_ms\":{uptime},\"lost\":{}}}", seq.0, gap.count)
            } else {
                format!("boot {boot} seq {} at {uptime} ms: {} readings lost", seq.0, gap.count)
            }),
        }
    }
}

pub(super) fn shown(hello: &Hello) -> String {
    let channels: Vec<String> = hello
        .channels
        .iter()
        .map(|channel| format!("{} {}", channel.name, channel.unit).trim().to_owned())
        .collect();
    format!(
        "{}: {}, boot {}, started by {}, channels {}",
        hello.device,
        hello.firmware,
        hello.boot.0,
        format!("{:?}", hello.reset).to_lowercase(),
        channels.join(", ")
    )
}

pub(super) fn members(hello: &Hello) -> String {
    let channels: Vec<String> = hello
        .channels
        .iter()
        .map(|channel| {
            format!("{{\"name\":\"{}\",\"unit\":\"{}\"}}", escaped(&channel.name), escaped(&channel.unit))
        })
        .collect();
    format!(
        "\"device\":\"{}\",\"firmware\":\"{}\",\"boot\":{},\"reset\":\"{:?}\",\"channels\":[{}]",
        hello.device,
        escaped(&hello.firmware),
        hello.boot.0,
        hello.reset,
        channels.join(",")
    )
}

pub(super) fn escaped(text: &str) -> String {
    text.chars().flat_map(|letter| letter.escape_default()).collect()
}

#[expect(clippy::print_stdout, reason = "this is what the commands are for")]
pub(super) fn say(text: &str) {
    println!("{text}");
}
