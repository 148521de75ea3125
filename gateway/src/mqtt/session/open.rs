//! What a CONNECT is granted, before anything is remembered about the client.

use crate::mqtt::codec::{ConnackProperties, Connect, Version};
use crate::mqtt::limits::Limits;
use crate::mqtt::reason::Reason;
use std::time::Duration;

/// The terms of an accepted connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) client_id: String,
    /// Silence after which the client is taken for dead; `None` for a 3.1.1 client that switched it off.
    pub(crate) silence_max: Option<Duration>,
    pub(crate) session_expiry_s: u32,
    /// What to tell an MQTT 5 client.
    pub(crate) connack: ConnackProperties,
}

/// Decides the terms. `fresh` makes an assigned client identifier unique.
///
/// # Errors
/// With the reason code for CONNACK when the client cannot be accepted.
pub(crate) fn open(connect: &Connect, limits: &Limits, fresh: u64) -> Result<Terms, (Reason, &'static str)> {
    if connect.authentication {
        return Err((Reason::BadAuthenticationMethod, "enhanced authentication is not offered"));
    }
    let v5 = connect.version == Version::V5;
    let assigned = connect.client_id.is_empty().then(|| format!("headwater-{fresh:016x}"));
    // MQTT 3.1.1, 3.1.3.1: an empty identifier only for a clean session.
    if assigned.is_some() && !v5 && !connect.clean_start {
        return Err((Reason::ClientIdentifierNotValid, "empty client identifier without a clean session"));
    }
    let longest = u16::try_from(limits.keep_alive.as_secs()).unwrap_or(u16::MAX);
    let own = (v5 && (connect.keep_alive_s == 0 || connect.keep_alive_s > longest)).then_some(longest);
    let keep_alive_s = own.unwrap_or(connect.keep_alive_s);
    let expiry_max = u32::try_from(limits.session_expiry.as_secs()).unwrap_or(u32::MAX);
    let session_expiry_s = connect.session_expiry_s.min(expiry_max);
    Ok(Terms {
        client_id: assigned.clone().unwrap_or_else(|| connect.client_id.clone()),
        // MQTT 3.1.2.10: one and a half times the keep alive.
        silence_max: (keep_alive_s > 0).then(|| Duration::from_millis(u64::from(keep_alive_s) * 1500)),
        session_expiry_s,
        connack: ConnackProperties {
            session_expiry_s: (session_expiry_s != connect.session_expiry_s).then_some(session_expiry_s),
            receive_maximum: limits.inflight,
            packet_bytes_max: limits.packet_bytes,
            topic_alias_maximum: limits.topic_aliases,
            assigned_client_id: assigned,
            keep_alive_s: own,
        },
    })
}
