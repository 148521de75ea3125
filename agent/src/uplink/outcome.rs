//! What a PUBACK reason means for a record.

use headwater_relay::Outcome;
use rumqttc::v5::mqttbytes::v5::PubAckReason;

/// Decides by MQTT 5, 3.4.2.1.
///
/// Rejected is only what the same bytes on the same topic will always meet: then waiting would hold up every device
/// behind it for ever. It takes one answer, not several: sending again after later records were accepted could
/// neither keep the order nor tell a late acceptance from a dropped repeat. Everything a person or time can mend
/// (permissions, quota, a broken store behind the broker) is tried again.
///
/// 0x10 says that no route of the gateway (no subscriber of another broker) wanted it: nothing was stored. A batch was
/// acked to its device, so it waits until a person mends the routes; births and log lines may be unwanted.
pub(super) fn outcome_of(reason: PubAckReason, is_batch: bool) -> Outcome {
    match reason {
        PubAckReason::Success => Outcome::Acked,
        PubAckReason::NoMatchingSubscribers if is_batch => Outcome::Retry,
        PubAckReason::NoMatchingSubscribers => Outcome::Acked,
        PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid => Outcome::Rejected,
        PubAckReason::UnspecifiedError
        | PubAckReason::ImplementationSpecificError
        | PubAckReason::NotAuthorized
        | PubAckReason::PacketIdentifierInUse
        | PubAckReason::QuotaExceeded => Outcome::Retry,
    }
}

/// The reason as the number of the standard, for the record set aside.
pub(super) fn reason_code(reason: PubAckReason) -> u8 {
    match reason {
        PubAckReason::Success => 0x00,
        PubAckReason::NoMatchingSubscribers => 0x10,
        PubAckReason::UnspecifiedError => 0x80,
        PubAckReason::ImplementationSpecificError => 0x83,
        PubAckReason::NotAuthorized => 0x87,
        PubAckReason::TopicNameInvalid => 0x90,
        PubAckReason::PacketIdentifierInUse => 0x91,
        PubAckReason::QuotaExceeded => 0x97,
        PubAckReason::PayloadFormatInvalid => 0x99,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_never_be_taken_is_rejected() {
        assert_eq!(outcome_of(PubAckReason::QuotaExceeded, true), Outcome::Retry, "a full gateway");
        assert_eq!(outcome_of(PubAckReason::NotAuthorized, true), Outcome::Retry, "a person can mend it");
        assert_eq!(outcome_of(PubAckReason::PayloadFormatInvalid, true), Outcome::Rejected);
        assert_eq!(
            outcome_of(PubAckReason::NoMatchingSubscribers, true),
            Outcome::Retry,
            "nothing stored it"
        );
        assert_eq!(outcome_of(PubAckReason::NoMatchingSubscribers, false), Outcome::Acked);
        assert_eq!(reason_code(PubAckReason::PayloadFormatInvalid), 0x99);
    }
}
