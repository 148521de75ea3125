//! What goes out for a call.
//!
//! In: a call, what was kept of its records. Out: the body of a PutRecords. Invariant: a body has every record of its call, or there is
//! none: what is sent is taken for delivered.

use super::Carrier;
use headwater_aws::PutBody;
use headwater_aws::kpl::Aggregate;
use headwater_relay::{Call, CallFailure};

impl Carrier {
    /// The body of a call; or how the call failed before it was made.
    pub(super) fn body(&self, call: &Call) -> Result<PutBody, CallFailure> {
        let format = self.tools.client.format();
        let expected = usize::try_from(call.size_bytes).unwrap_or(0);
        let mut body = PutBody::new(&self.target, format, self.record_bytes_max, expected);
        for entry in &call.entries {
            let records = &call.records[entry.records.clone()];
            let kept = records.iter().map(|record| self.kept.get(record.source, record.offset));
            let Some(payloads) = kept.collect::<Option<Vec<_>>>() else {
                tracing::error!(sink = self.tools.settings.name, stream = %self.stream.name(), "record to be sent is not kept, please report this");
                return Err(CallFailure::Unknown);
            };
            let put = match &payloads[..] {
                [one] => body.put(one.key(), None, one.data()),
                several => {
                    let mut aggregate = Aggregate::new();
                    if let Some(error) =
                        several.iter().find_map(|one| aggregate.put(one.key(), None, one.data()).err())
                    {
                        tracing::error!(sink = self.tools.settings.name, stream = %self.stream.name(), %error, "record does not fit its aggregate");
                        return Err(CallFailure::Refused);
                    }
                    let key = several.first().map_or("-", |first| first.key());
                    body.put_aggregate(key, Some(headwater_aws::hash_key(key)), &aggregate)
                }
            };
            if let Err(error) = put {
                // Sizes are those of the forwarding, so this is a difference of opinion with the client; the records are not lost.
                tracing::error!(sink = self.tools.settings.name, stream = %self.stream.name(), %error, "record does not fit its call");
                return Err(CallFailure::Refused);
            }
        }
        Ok(body)
    }
}
