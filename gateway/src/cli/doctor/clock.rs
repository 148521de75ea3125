//! The clock: is it one of today, does something keep it right, and did it jump under a gateway that runs.

use super::Subject;
use super::report::Finding;
use crate::cli::status::seen::Clock;
use crate::host_time::is_synchronised;
use headwater_aws::Timestamp;
use headwater_telemetry::TimeQuality;
use std::time::{SystemTime, UNIX_EPOCH};

const ABOUT: &str = "clock";

/// No program of this version ran before: 2026-01-01. A Raspberry Pi begins in 1970, or where it was switched off.
const FIRST_MS: u64 = 1_767_225_600_000;

/// Two digits tell no later year, and small parsers of certificates know no more: 2050-01-01.
const LAST_MS: u64 = 2_524_608_000_000;

pub(super) async fn check(subject: &Subject<'_>) -> Vec<Finding> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let mut findings =
        vec![sane(now_ms), synchronised(is_synchronised().await, subject.config.gateway.time_quality)];
    findings.extend(subject.running.as_ref().and_then(|seen| jumped(&seen.health.clock)));
    findings
}

fn jumped(clock: &Clock) -> Option<Finding> {
    let remedy = "see what sets it (`timedatectl timesync-status`, or somebody's hand) and whether it is right now; nothing is lost, \
                  records are kept longer meanwhile";
    Some(Finding::warn(ABOUT, clock.jump()?, remedy))
}

fn sane(now_ms: u64) -> Finding {
    let shown = Timestamp::from_ms(now_ms).basic();
    match now_ms {
        ..FIRST_MS | LAST_MS.. => Finding::fail(
            ABOUT,
            format!("it says {shown}, which cannot be"),
            "set it (`date -s`), and let something keep it right: `timedatectl set-ntp true`; records would carry this time, \
             and AWS refuses signatures until the gateway has learned the time from its answers",
        ),
        _ => Finding::ok(ABOUT, format!("it says {shown}")),
    }
}

fn synchronised(known: Option<bool>, told: TimeQuality) -> Finding {
    match known {
        Some(true) => Finding::ok(ABOUT, "it is synchronised"),
        Some(false) | None => {
            let found = match known {
                None => "nobody here can say whether it is synchronised",
                Some(_) => "it is not synchronised",
            };
            let told = match told {
                TimeQuality::Synced => {
                    "; until then tell devices the truth: [gateway] time_quality = \"estimated\""
                }
                _ => "",
            };
            Finding::warn(ABOUT, found, format!("`timedatectl set-ntp true`, or install chrony{told}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn a_clock_of_1970_fails_and_one_that_nobody_keeps_is_told_of() {
        assert_eq!(sane(86_400_000).level, Level::Fail);
        assert_eq!(sane(u64::MAX).level, Level::Fail);
        assert_eq!(sane(1_795_248_000_000).level, Level::Ok);
        assert_eq!(synchronised(Some(true), TimeQuality::Synced).level, Level::Ok);
        let finding = synchronised(Some(false), TimeQuality::Synced);
        assert!(finding.level == Level::Warn && finding.remedy.unwrap().contains("time_quality"));
        assert!(!synchronised(None, TimeQuality::Estimated).remedy.unwrap().contains("time_quality"));
    }

    #[test]
    fn a_jump_under_a_gateway_that_runs_is_told_as_long_as_it_matters() {
        assert_eq!(jumped(&Clock::default()), None);
        let clock = Clock { jumped_by_ms: Some(-7_200_000), jumped_ago_ms: Some(60_000), held_ms: 3_600_000 };
        let finding = jumped(&clock).unwrap();
        assert_eq!(finding.level, Level::Warn);
        assert!(finding.found.starts_with("it was set back by 2 h"), "{}", finding.found);
    }
}
