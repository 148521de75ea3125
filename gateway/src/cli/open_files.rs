//! The limit of open files of this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as the packaged service may open: each connection is one, and more than this a box of this size does not serve. A shell's
/// soft limit of 1,024 is older than programs that serve thousands.
const OPEN_FILES: u64 = 65_536;

/// Takes as many open files as the hard limit allows, up to [`OPEN_FILES`]; a limit that is higher stays.
pub(super) fn raise() {
    let found = getrlimit(Resource::Nofile);
    let Some(wanted) = wanted(found) else { return };
    // Not allowed is not fatal: connections beyond the limit wait, as they would have anyway.
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..found }) {
        Ok(()) => tracing::debug!(files = wanted, "open files"),
        Err(error) => tracing::warn!(files = wanted, %error, "the limit of open files stays"),
    }
}

fn wanted(found: Rlimit) -> Option<u64> {
    let wanted = found.maximum.unwrap_or(OPEN_FILES).min(OPEN_FILES);
    found.current.is_some_and(|current| current < wanted).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hard_limit_and_what_is_needed_bound_what_is_taken() {
        let limit = |current, maximum| Rlimit { current, maximum };
        assert_eq!(wanted(limit(Some(1_024), Some(4_096))), Some(4_096));
        assert_eq!(wanted(limit(Some(1_024), None)), Some(OPEN_FILES));
        assert_eq!(wanted(limit(Some(1_024), Some(1 << 30))), Some(OPEN_FILES));
        assert_eq!(wanted(limit(Some(1 << 20), Some(1 << 20))), None, "a higher limit stays");
        assert_eq!(wanted(limit(None, None)), None);
    }

    #[test]
    fn a_raised_limit_is_the_processs_limit() {
        raise();
        let found = getrlimit(Resource::Nofile);
        assert_eq!(wanted(found), None, "{found:?}");
    }
}
