//! How far a recording has come, between status writes.
//!
//! Status is written at most each 10 s or 10 %, so the time in between is the program's own. Its clock may
//! differ from the cluster's: the cluster's times are used only when the recording had begun before the
//! program first looked, and status says no progress.

use std::time::Duration;

/// An observed position, and the interpolation from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meter {
    anchor: Option<Anchor>,
    total: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Anchor {
    /// On the program's clock.
    at: Duration,
    /// How much was recorded then.
    recorded: Duration,
    /// The text that said so, to tell a new one.
    progress: Option<Duration>,
}

/// What one look at a request that records says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// The duration that was asked for.
    pub total: Duration,
    /// What `progress` says, of the target that is least far.
    pub progress: Option<Duration>,
    /// By the cluster's and this machine's wall clocks, how long it has recorded.
    pub by_wall_clocks: Option<Duration>,
    /// Whether the program saw the request before it recorded.
    pub saw_it_begin: bool,
}

/// A newer word of status that is behind by less is latency, and the bar doesn't go back for it.
const LATENCY: Duration = Duration::from_secs(2);

impl Meter {
    /// Takes a look into account; `now` is on the program's clock.
    pub(crate) fn observe(&mut self, sight: Sight, now: Duration) {
        self.total = sight.total;
        let recorded = match (&self.anchor, sight.progress) {
            (Some(anchor), progress) if progress.is_none() || progress == anchor.progress => return,
            (_, Some(progress)) => {
                let interpolated = self.recorded(now);
                if progress < interpolated && interpolated < progress + LATENCY {
                    interpolated
                } else {
                    progress
                }
            }
            (_, None) if sight.saw_it_begin => Duration::ZERO,
            (_, None) => sight.by_wall_clocks.unwrap_or_default(),
        };
        let recorded = recorded.min(self.total);
        self.anchor = Some(Anchor { at: now, recorded, progress: sight.progress });
    }

    /// How much is recorded by now, as far as one can know.
    pub(crate) fn recorded(&self, now: Duration) -> Duration {
        self.anchor
            .as_ref()
            .map(|anchor| (anchor.recorded + now.saturating_sub(anchor.at)).min(self.total))
            .unwrap_or_default()
    }

    /// What there is to record.
    pub(crate) fn total(&self) -> Duration {
        self.total
    }
}

/// The first duration of a progress text such as `12s of 30s`.
pub(crate) fn parse_progress(text: &str) -> Option<Duration> {
    let (done, _) = text.split_once(" of ")?;
    done.trim().parse().ok().map(pitwall_crds::Duration::as_std)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const SIGHT: Sight = Sight { total: s(30), progress: None, by_wall_clocks: None, saw_it_begin: true };

    #[test]
    fn the_bar_runs_between_status_writes_and_stops_at_the_end() {
        let mut meter = Meter::default();
        assert_eq!(meter.recorded(s(5)), s(0));
        meter.observe(SIGHT, s(100));
        for (now, recorded) in [(100, 0), (104, 4), (129, 29), (140, 30)] {
            assert_eq!(meter.recorded(s(now)), s(recorded), "{now}");
        }
    }

    /// What each look says, and at which time.
    type Looks<'a> = &'a [(Sight, u64)];

    #[test]
    fn later_looks_correct_it() {
        let progress = |seconds| Sight { progress: Some(s(seconds)), ..SIGHT };
        let late = Sight { saw_it_begin: false, by_wall_clocks: Some(s(20)), ..SIGHT };
        let skewed = Sight { by_wall_clocks: Some(s(5000)), ..late };
        let table: [(&str, Looks<'_>, u64); 7] = [
            ("the same look again changes nothing", &[(SIGHT, 0), (SIGHT, 8)], 8),
            ("ahead", &[(SIGHT, 0), (progress(12), 8)], 12),
            ("behind by latency", &[(SIGHT, 0), (progress(10), 11)], 11),
            ("behind by more, as of a second target", &[(SIGHT, 0), (progress(3), 11)], 3),
            ("an old word isn't a new one", &[(progress(10), 0), (progress(10), 6)], 16),
            ("joined late", &[(late, 50)], 20),
            ("joined late with clocks apart", &[(skewed, 50)], 30),
        ];
        for (what, looks, shown) in table {
            let mut meter = Meter::default();
            for (sight, at) in looks {
                meter.observe(*sight, s(*at));
            }
            assert_eq!(meter.recorded(s(looks.last().unwrap().1)), s(shown), "{what}");
        }
    }

    #[test]
    fn progress_texts_are_read() {
        for (text, seconds) in
            [("12s of 30s", Some(12)), ("1m5s of 10m", Some(65)), ("half", None), ("x of 30s", None)]
        {
            assert_eq!(parse_progress(text), seconds.map(s), "{text}");
        }
    }
}
