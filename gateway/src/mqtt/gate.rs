//! Who may open another connection: totals and rates, of all and by address.
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
/// Who was let in lately is counted in slots of so many milliseconds: with fewer slots a second, less of a rate could be used.
const SLOT_MS: u128 = 50;
/// Any second lies within so many slots.
const SLOTS: usize = 21;

#[derive(Debug)]
pub(crate) struct Gate {
    connections: usize,
    connections_max: usize,
    per_ip_max: usize,
    rate: u32,
    rate_of_all: u32,
    lately: Lately,
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
            rate_of_all: limits.connects_per_second,
            lately: Lately::default(),
            by_ip: HashMap::new(),
        }
    }

    /// Keeps to `limits` from now on. Who is in stays in.
    pub(crate) fn set(&mut self, limits: &Limits) {
        let Gate { connections_max, per_ip_max, rate, rate_of_all, .. } = Gate::new(limits);
        (self.connections_max, self.per_ip_max) = (connections_max, per_ip_max);
        (self.rate, self.rate_of_all) = (rate, rate_of_all);
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
        // Last, so that who is refused anyway takes nobody's turn.
        if !self.lately.take(self.rate_of_all, now) {
            return Err(Reason::ConnectionRateExceeded);
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

/// How many were let in within the last second. A bucket that fills again would let in a burst and a second's worth behind it, and it is
/// the first second after a start that hurts; so this never lets in more than the rate in any second.
#[derive(Debug, Default)]
struct Lately {
    began: Option<Instant>,
    counts: [u32; SLOTS],
    sum: u32,
    /// The slot of the newest count.
    slot: u64,
}

impl Lately {
    /// Counts one more unless that is more than `rate` in a second.
    fn take(&mut self, rate: u32, now: Instant) -> bool {
        let since = now.saturating_duration_since(*self.began.get_or_insert(now));
        let slot = u64::try_from(since.as_millis() / SLOT_MS).unwrap_or(u64::MAX).max(self.slot);
        for passed in 1..=(slot - self.slot).min(SLOTS as u64) {
            let count = std::mem::take(&mut self.counts[place(self.slot.saturating_add(passed))]);
            self.sum -= count;
        }
        self.slot = slot;
        let has_room = self.sum < rate;
        if has_room {
            self.counts[place(slot)] += 1;
            self.sum += 1;
        }
        has_room
    }
}

/// Where the count of a slot is.
fn place(slot: u64) -> usize {
    usize::try_from(slot % SLOTS as u64).unwrap_or(0)
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
    fn no_second_lets_in_more_than_the_rate_of_all_from_however_many_addresses() {
        let limits = Limits { connections: 1 << 20, connects_per_second: 200, ..Limits::default() };
        let (mut gate, began) = (Gate::new(&limits), Instant::now());
        let mut let_in = Vec::new();
        // Somebody new knocks every 700 µs for 10 s, but for a pause in the middle; 7,000 and more in step at its end.
        for knock in 0_u32..14_000 {
            let at_us =
                if knock < 7_000 { u64::from(knock) * 700 } else { 9_000_000 + u64::from(knock % 100) };
            let ip = IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + knock));
            match gate.enter(ip, began + Duration::from_micros(at_us)) {
                Ok(()) => let_in.push(at_us),
                Err(reason) => assert_eq!(reason, Reason::ConnectionRateExceeded),
            }
        }
        for (first, at_us) in let_in.iter().enumerate() {
            let within = let_in[first..].iter().filter(|other| **other < at_us + 1_000_000).count();
            assert!(within <= 200, "{within} in the second from {at_us} µs on");
        }
        // 4.9 s, and the one after the pause; of a rate nearly all can be used.
        assert!(let_in.len() >= 1_100, "{}", let_in.len());
    }

    #[test]
    fn a_rate_that_is_changed_counts_who_came_before() {
        let limits = |connects_per_second| Limits { connects_per_second, ..Limits::default() };
        let (mut gate, now) = (Gate::new(&limits(10)), Instant::now());
        assert_eq!((0..20).filter(|_| gate.enter(A, now).is_ok()).count(), 10);
        gate.set(&limits(15));
        assert_eq!((0..20).filter(|_| gate.enter(A, now).is_ok()).count(), 5);
        gate.set(&limits(5));
        let later = now + Duration::from_millis(1_100);
        assert_eq!((0..20).filter(|_| gate.enter(A, later).is_ok()).count(), 5);
    }

    #[test]
    fn who_comes_too_often_takes_nobodys_turn() {
        let limits = Limits { connects_per_second_per_ip: 3, connects_per_second: 4, ..Limits::default() };
        let (mut gate, now) = (Gate::new(&limits), Instant::now());
        assert_eq!((0..50).filter(|_| gate.enter(A, now).is_ok()).count(), 3);
        assert_eq!(gate.enter(B, now), Ok(()));
        assert_eq!(gate.enter(B, now), Err(Reason::ConnectionRateExceeded));
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
