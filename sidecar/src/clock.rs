//! The only place that reads a clock. Decisions get `now` as an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the IO loops' one reading of the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970, for what must survive a restart of the worker.
#[expect(clippy::disallowed_methods, reason = "the journal's one reading of the wall clock")]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
