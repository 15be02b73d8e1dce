//! What ends a recording before its time. Pure.

use pitwall_protocol::{EarlyEnd, Guard};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Over how long the main thread's use of the CPU counts.
pub const OVER: Duration = Duration::from_secs(10);

/// Watches one recording.
#[derive(Debug)]
pub struct Watcher {
    guard: Guard,
    /// What the main thread had run for by then, oldest first.
    runs: VecDeque<(Instant, Duration)>,
}

impl Watcher {
    /// A watcher for these limits; nothing where there are none.
    pub fn new(guard: Guard) -> Option<Self> {
        let any = guard.memory_bytes.is_some() || guard.main_thread_percent.is_some();
        any.then(|| Self { guard, runs: VecDeque::new() })
    }

    /// Looks: `used` is the memory of the container's processes together, `ran` the time that the main thread has been on
    /// a CPU so far. Says why the recording must end, with the numbers.
    pub fn look(&mut self, now: Instant, used: u64, ran: Option<Duration>) -> Option<(EarlyEnd, String)> {
        if let Some(limit) = self.guard.memory_bytes.filter(|limit| used > *limit) {
            let numbers = format!(
                "the container's processes use {} MiB together, more than the {} MiB that safety.guard allows",
                used >> 20,
                limit >> 20
            );
            return Some((EarlyEnd::MemoryGuard, numbers));
        }
        let (limit, ran) = (self.guard.main_thread_percent?, ran?);
        self.runs.push_back((now, ran));
        // The last one that is long enough ago stays.
        while self.runs.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= OVER) {
            self.runs.pop_front();
        }
        let (at, before) = *self.runs.front()?;
        let passed = now.saturating_duration_since(at);
        if passed < OVER {
            return None;
        }
        let percent = 100.0 * ran.saturating_sub(before).as_secs_f64() / passed.as_secs_f64();
        (percent > f64::from(limit)).then(|| {
            let numbers = format!(
                "the main thread was on a CPU for {percent:.0}% of the last {:.0} s, more than the {limit}% that \
                 safety.guard allows",
                passed.as_secs_f64()
            );
            (EarlyEnd::CpuGuard, numbers)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn watcher(memory_bytes: Option<u64>, main_thread_percent: Option<u32>) -> Watcher {
        Watcher::new(Guard { memory_bytes, main_thread_percent }).unwrap()
    }

    #[test]
    fn nothing_is_watched_without_a_limit() {
        assert!(Watcher::new(Guard::default()).is_none());
    }

    #[test]
    fn memory_counts_at_once() {
        let now = clock::now();
        let mut watcher = watcher(Some(100 << 20), None);
        assert_eq!(watcher.look(now, 100 << 20, None), None);
        let (why, numbers) = watcher.look(now, 101 << 20, None).unwrap();
        assert_eq!(why, EarlyEnd::MemoryGuard);
        assert!(numbers.contains("101 MiB") && numbers.contains("100 MiB"), "{numbers}");
    }

    #[test]
    fn the_main_thread_counts_over_ten_seconds() {
        // What it runs in each half second, in milliseconds, and when that is too much for 80 %.
        for (runs, ends_at) in [
            (vec![300; 60], None),
            (vec![450; 60], Some(20)),
            // Busy for eight seconds of ten is not more than 80 %.
            ([vec![500; 16], vec![0; 24]].concat(), None),
            ([vec![0; 20], vec![500; 20]].concat(), Some(37)),
        ] {
            let (begun, mut ran) = (clock::now(), Duration::ZERO);
            let mut watcher = watcher(None, Some(80));
            assert_eq!(watcher.look(begun, 0, Some(ran)), None);
            let mut ended = None;
            for (at, ms) in (1_u32..).zip(&runs) {
                ran += Duration::from_millis(*ms);
                if let Some((why, numbers)) =
                    watcher.look(begun + at * Duration::from_millis(500), 0, Some(ran))
                {
                    assert_eq!(why, EarlyEnd::CpuGuard);
                    assert!(numbers.contains("80%"), "{numbers}");
                    ended = Some(at);
                    break;
                }
            }
            assert_eq!(ended, ends_at, "{runs:?}");
            assert!(watcher.runs.len() <= 21);
        }
    }

    #[test]
    fn a_kernel_that_does_not_count_ends_nothing() {
        let now = clock::now();
        let mut watcher = watcher(None, Some(10));
        for second in 0..30 {
            assert_eq!(watcher.look(now + Duration::from_secs(second), 0, None), None);
        }
    }
}
