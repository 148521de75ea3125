//! What a device says, encoded as it says it.

use headwater_telemetry::{
    BatchBuilder, BootId, Channel, ChannelId, DeviceId, Hello, ResetReason, Schema, Seq, Up, Uptime, Value,
    ValueKind, encode_body,
};

/// The hello of the first boot of a device with one channel, `flow`.
pub(crate) fn hello(device: &str) -> Hello {
    let channels = [Channel::new("flow", "l/min", ValueKind::Fixed, -2).unwrap()].into_iter().collect();
    Hello::new(DeviceId::parse(device).unwrap(), BootId(1), "1", ResetReason::Power, channels)
}

/// Any message as an MQTT payload.
pub(crate) fn body(up: &Up) -> Vec<u8> {
    let mut buffer = [0; 512];
    encode_body(up, &mut buffer).unwrap().to_vec()
}

/// `readings` readings from entry `first` on, each with its number as its value.
pub(crate) fn batch(boot: u32, first: u32, readings: u32, schema: Schema) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BootId(boot), Seq(first), schema, Uptime(1_000));
    for n in 0..readings {
        let value = Value::Fixed(i32::try_from(first + n).unwrap());
        builder.reading(Uptime(1_000 + u64::from(n)), ChannelId(0), value).unwrap();
    }
    body(&Up::Batch(builder.finish(None)))
}
