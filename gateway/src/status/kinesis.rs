//! CloudWatch's metrics of AWS/Kinesis for Prometheus: `kinesis_` and their names in snake case, with labels `stream`,
//! `shard` and `consumer`. What is beyond the engine's bounds on streams and shards is added up under an empty label.

use super::metrics::Text;
use headwater_engine::{Metric, MetricKind, Reading};

pub(super) fn render(out: &mut Text, metrics: &[Metric]) {
    for metric in metrics.iter().filter(|metric| !metric.samples.is_empty()) {
        let (name, kind) = match metric.kind {
            MetricKind::Counter => (format!("kinesis_{}_total", metric.name), "counter"),
            MetricKind::Gauge => (format!("kinesis_{}", metric.name), "gauge"),
            MetricKind::Summary => (format!("kinesis_{}", metric.name), "summary"),
        };
        out.head(&name, kind, metric.help);
        for sample in &metric.samples {
            let shard = sample.shard.as_deref().map(|shard| ("shard", shard));
            let consumer = sample.consumer.as_deref().map(|consumer| ("consumer", consumer));
            let labels: Vec<_> =
                [Some(("stream", &*sample.stream)), shard, consumer].into_iter().flatten().collect();
            match sample.value {
                Reading::Single(value) => out.labelled(&name, &labels, value),
                Reading::Observed { sum, count } => {
                    out.labelled(&format!("{name}_sum"), &labels, sum);
                    out.labelled(&format!("{name}_count"), &labels, count);
                }
            }
        }
    }
}
