//! Who may open another connection: totals, totals by address, and rates by address.
//!
//! Pure: time is a parameter. The table of addresses is as long as there are open connections and addresses seen in the
//! last second, and no longer than `ADDRESSES_MAX`.

use super::limits::Limits;
use super::reason::Reason;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Addresses remembered for their rate alone are forgotten beyond this many.
const ADDRESSES_MAX: usize = 65_536;
/// An address without connections whose bucket had this long to refill is as good as new.
const FORGET_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Gate {
    connections: usize,
    connections_max: usize,
    per_ip_max: usize,
    rate: u32,
    by_ip: HashMap<IpAddr, Visitor>,
}

#[derive(Debug)]
struct Visitor {
    connections: usize,
    /// Connects left, in thousandths.
    credit_milli: u64,
    seen: Instant,
}

impl Gate {
    pub(crate) fn new(limits: &Limits) -> Gate {
        Gate {
            connections: 0,
            connections_max: limits.connections,
            // As the configuration has it: 0 is no limit.
            per_ip_max: if limits.connections_per_ip == 0 { usize::MAX } else { limits.connections_per_ip },
            rate: limits.connects_per_second_per_ip,
            by_ip: HashMap::new(),
        }
    }

    /// Keeps to `limits` from now on. Who is in stays in.
    pub(crate) fn set(&mut self, limits: &Limits) {
        let Gate { connections_max, per_ip_max, rate, .. } = Gate::new(limits);
        (self.connections_max, self.per_ip_max, self.rate) = (connections_max, per_ip_max, rate);
    }

    /// Counts a connection in, or says why not. Who was let in must [`Gate::leave`].
    pub(crate) fn enter(&mut self, ip: IpAddr, now: Instant) -> Result<(), Reason> {
        if self.connections >= self.connections_max {
            return Err(Reason::ServerBusy);
        }
        if self.by_ip.len() >= ADDRESSES_MAX {
            self.by_ip.retain(|_, visitor| visitor.connections > 0 || now < visitor.seen + FORGET_AFTER);
            if self.by_ip.len() >= ADDRESSES_MAX {
                return Err(Reason::ServerBusy);
            }
        }
        let full = u64::from(self.rate) * 1000;
        let visitor =
            self.by_ip.entry(ip).or_insert(Visitor { connections: 0, credit_milli: full, seen: now });
        let elapsed_ms = now.saturating_duration_since(visitor.seen).as_millis();
        let earned = u64::try_from(elapsed_ms).unwrap_or(u64::MAX).saturating_mul(u64::from(self.rate));
        visitor.credit_milli = visitor.credit_milli.saturating_add(earned).min(full);
        visitor.seen = now;
        if visitor.credit_milli < 1000 {
            return Err(Reason::ConnectionRateExceeded);
        }
        visitor.credit_milli -= 1000;
        if visitor.connections >= self.per_ip_max {
            return Err(Reason::QuotaExceeded);
        }
        visitor.connections += 1;
        self.connections += 1;
        Ok(())
    }

    /// A connection that was let in is gone.
    pub(crate) fn leave(&mut self, ip: IpAddr) {
        self.connections = self.connections.saturating_sub(1);
        if let Some(visitor) = self.by_ip.get_mut(&ip) {
            visitor.connections = visitor.connections.saturating_sub(1);
        }
    }

    /// Forgets addresses that are as good as new.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.by_ip.retain(|_, visitor| visitor.connections > 0 || now < visitor.seen + FORGET_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn gate(connections: usize, connections_per_ip: usize, connects_per_second_per_ip: u32) -> Gate {
        Gate::new(&Limits {
            connections,
            connections_per_ip,
            connects_per_second_per_ip,
            ..Limits::default()
        })
    }

    #[test]
    fn no_limit_for_one_address_is_none() {
        let (mut gate, now) = (gate(10, 0, 100), Instant::now());
        assert_eq!((0..11).filter(|_| gate.enter(A, now).is_ok()).count(), 10);
    }

    #[test]
    fn totals_hold_and_leaving_makes_room() {
        let (mut gate, now) = (gate(3, 2, 100), Instant::now());
        assert_eq!(gate.enter(A, now), Ok(()));
        assert_eq!(gate.enter(A, now), Ok(()));
        assert_eq!(gate.enter(A, now), Err(Reason::QuotaExceeded));
        assert_eq!(gate.enter(B, now), Ok(()));
        assert_eq!(gate.enter(B, now), Err(Reason::ServerBusy));
        gate.leave(A);
        assert_eq!(gate.enter(B, now), Ok(()));
    }

    #[test]
    fn an_address_that_connects_too_often_waits() {
        let (mut gate, now) = (gate(1000, 1000, 10), Instant::now());
        for _ in 0..10 {
            assert_eq!(gate.enter(A, now), Ok(()));
        }
        assert_eq!(gate.enter(A, now), Err(Reason::ConnectionRateExceeded));
        assert_eq!(gate.enter(B, now), Ok(()));
        assert_eq!(gate.enter(A, now + Duration::from_millis(100)), Ok(()));
        assert_eq!(gate.enter(A, now + Duration::from_millis(100)), Err(Reason::ConnectionRateExceeded));
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let (mut gate, now) = (gate(10, 10, 10), Instant::now());
        gate.enter(A, now).unwrap();
        gate.enter(B, now).unwrap();
        gate.leave(A);
        gate.sweep(now + FORGET_AFTER);
        assert_eq!(gate.by_ip.len(), 1);
    }
}
