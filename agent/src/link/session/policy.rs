//! Other rules for a link that is open.

use super::{Peer, Policy, Session};
use crate::roster;

impl Session {
    /// Goes by `policy` from now on. A device that is not taken any more is refused as if it had just said who it is, and keeps its data;
    /// one that was refused is asked again who it is. Others notice nothing.
    pub(crate) fn handle_policy(&mut self, policy: Policy) {
        self.policy = policy;
        match &self.peer {
            Peer::Known(device) if !self.policy.allow.takes(device) => {
                let (device, reason) = (device.clone(), "not in devices.allow");
                tracing::warn!(%device, reason, "device refused");
                self.peer = Peer::Refused;
                self.forget();
                self.news = Some(roster::Peer::Refused { device, reason });
            }
            Peer::Refused => self.peer = Peer::Unknown { asked_at_ms: None },
            Peer::Known(_) | Peer::Unknown { .. } => {}
        }
    }
}
