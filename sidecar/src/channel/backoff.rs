//! How long to wait before the next dial. Pure.

use std::time::Duration;

/// The longest pause before the first repetition; it doubles each time.
const FIRST: Duration = Duration::from_millis(500);
/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(30);
/// A connection that lasted this long was a good one.
const GOOD: Duration = Duration::from_secs(10);
/// After this many replicas that don't lead, one after another, the pauses grow too.
const PATIENT_SEARCH: u32 = 10;

/// How a connection ended, as far as the next dial goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A replica that doesn't lead: the leader is a dial away.
    NotLeader,
    /// Anything else, after the operator had welcomed us for so long.
    After(Duration),
    /// Never welcomed.
    Failed,
}

/// The pauses between dials, with full jitter: ten thousand sidecars don't come back at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    not_leader: u32,
}

impl Backoff {
    /// The pause after a connection that ended so. `jitter` is drawn from 0 to 1.
    pub(super) fn pause(&mut self, ending: Ending, jitter: f64) -> Duration {
        let jitter = jitter.clamp(0.0, 1.0);
        match ending {
            Ending::NotLeader if self.not_leader < PATIENT_SEARCH => {
                self.not_leader += 1;
                return Duration::from_millis(200) + Duration::from_millis(800).mul_f64(jitter);
            }
            Ending::After(welcomed) if welcomed >= GOOD => *self = Self::default(),
            Ending::After(_) => self.not_leader = 0,
            Ending::NotLeader | Ending::Failed => {}
        }
        let longest = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        longest.mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..9).map(|_| backoff.pause(Ending::Failed, 1.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
    }

    #[test]
    fn jitter_reaches_down_to_nothing() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.pause(Ending::Failed, 0.0), Duration::ZERO);
        assert_eq!(backoff.pause(Ending::Failed, 0.5).as_millis(), 500);
    }

    #[test]
    fn a_good_connection_starts_the_pauses_anew_and_a_short_one_does_not() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.pause(Ending::Failed, 1.0);
        }
        assert_eq!(backoff.pause(Ending::After(Duration::from_secs(1)), 1.0).as_secs(), 16);
        assert_eq!(backoff.pause(Ending::After(Duration::from_mins(1)), 1.0).as_millis(), 500);
    }

    #[test]
    fn the_leader_is_looked_for_quickly_but_not_for_ever() {
        let mut backoff = Backoff::default();
        for _ in 0..PATIENT_SEARCH {
            assert_eq!(backoff.pause(Ending::NotLeader, 0.0).as_millis(), 200);
        }
        assert_eq!(backoff.pause(Ending::NotLeader, 1.0).as_millis(), 500);
        assert_eq!(backoff.pause(Ending::NotLeader, 1.0).as_millis(), 1000);
    }
}
