//! The memory of a heap sampling that keeps what was collected: it grows with all that the app allocates. Pure.

use std::time::{Duration, Instant};

/// A chunk is taken over when its samples take this much of the process's memory: some 80,000 of them, which V8 takes
/// 0.2 s to write out, on the main thread, and 50 MiB more for a moment.
const OF_A_CHUNK: i64 = 8 << 20;
/// The most that all may take, what the process's allocator keeps of earlier chunks included.
const OF_ALL: i64 = 256 << 20;
/// The same where all samples come at the end.
const OF_ONE: i64 = 32 << 20;
/// The next chunk is to last so long.
const LONG_ENOUGH: Duration = Duration::from_secs(10);
/// No chunk is so many times coarser than the one before it.
const MOST_COARSER: u32 = 16;
/// How often to look: this, or an eighth of the time for which the chunk lasts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// How much a sampling may take.
#[derive(Debug)]
pub struct Budget {
    /// The process's memory outside of its heap before the sampling.
    before: i64,
    /// What was taken when the chunk began. `None`: as soon as it is known what is left of the chunk before.
    taken: Option<i64>,
    /// Whether it may come in chunks.
    may_turn: bool,
    begun: Instant,
    /// The time in which the chunk took what a chunk may take, when it is to be taken over.
    filled_in: Duration,
    /// How long a chunk may be: where an allocator keeps what was freed, memory doesn't show what a chunk takes.
    longest: Option<Duration>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    GoOn,
    /// The chunk is to be taken over, and the next one begun, with so many times the interval.
    TakeOver {
        /// A power of two.
        coarser: u32,
    },
    /// The sampling must end; the numbers.
    End(String),
}

impl Budget {
    /// Of a sampling that begins. One that may not come in chunks only ends.
    pub fn new(before: i64, may_turn: bool, now: Instant) -> Self {
        Self { before, taken: Some(0), may_turn, begun: now, filled_in: Duration::ZERO, longest: None }
    }

    /// When to look next.
    pub fn look_at(&self, now: Instant) -> Instant {
        let (least, most) = PAUSES;
        now + (now.saturating_duration_since(self.begun) / 8).clamp(least, most)
    }

    /// Decides by the process's memory outside of its heap.
    pub fn look(&mut self, memory: i64, now: Instant) -> Verdict {
        let grown = memory.saturating_sub(self.before);
        let most = if self.may_turn { OF_ALL } else { OF_ONE };
        if grown > most {
            return Verdict::End(format!(
                "its samples took {} MiB of the process's memory, more than the {} MiB that are allowed: the app allocates \
                 much; a larger heapSampling.samplingInterval takes fewer",
                grown >> 20,
                most >> 20
            ));
        }
        let taken = grown - *self.taken.get_or_insert(grown.max(0));
        let length = now.saturating_duration_since(self.begun);
        if self.may_turn && (taken > OF_A_CHUNK || self.longest.is_some_and(|longest| length >= longest)) {
            // An app that allocates gigabytes a second takes several times as much before anyone looks.
            let over = taken.max(OF_A_CHUNK) as f64 / OF_A_CHUNK as f64;
            self.filled_in = length.div_f64(over);
            let times = LONG_ENOUGH.as_millis().div_ceil(self.filled_in.as_millis().max(1));
            let times = u32::try_from(times).unwrap_or(MOST_COARSER).clamp(2, MOST_COARSER);
            Verdict::TakeOver { coarser: times.next_power_of_two() }
        } else {
            Verdict::GoOn
        }
    }

    /// A chunk was taken over; the next one takes a sample so many times less often.
    pub fn taken_over(&mut self, coarser: u32, now: Instant) {
        self.longest = Some(self.filled_in.saturating_mul(coarser));
        self.taken = None;
        self.begun = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i64 = 1 << 20;

    /// Looks once a second at these MiB above a process of 30; says at which seconds something was to be done. An
    /// interval can grow by `most` at once.
    fn acted(memory: &[i64], may_turn: bool, most: u32) -> Vec<(usize, Verdict)> {
        let start = crate::clock::now();
        let at = |second: usize| start + Duration::from_secs(second as u64);
        let mut budget = Budget::new(30 * MIB, may_turn, start);
        let mut acted = vec![];
        for (second, memory) in (1..).zip(memory) {
            let verdict = budget.look((30 + memory) * MIB, at(second));
            if let Verdict::TakeOver { coarser } = verdict {
                budget.taken_over(coarser.min(most), at(second));
            }
            if verdict != Verdict::GoOn {
                acted.push((second, verdict));
            }
        }
        acted
    }

    fn turns(memory: &[i64], most: u32) -> Vec<(usize, u32)> {
        let acted = acted(memory, true, most).into_iter();
        let turn = |(second, verdict)| match verdict {
            Verdict::TakeOver { coarser } => (second, coarser),
            other => panic!("{other:?}"),
        };
        acted.map(turn).collect()
    }

    #[test]
    fn a_chunk_is_taken_over_at_its_budget_and_again_after_as_many_samples() {
        assert_eq!(turns(&[-20, 5, 0, 8, 8, 3], 16), []);
        // An allocator that keeps what was freed: the time tells.
        let kept: Vec<_> = (0..40).map(|second: i64| (4 * second).min(12)).collect();
        assert_eq!(turns(&kept, 16), [(4, 4), (15, 2), (37, 2)]);
        // At the largest interval they are equally long.
        let turns = turns(&kept, 1);
        assert_eq!(
            turns.iter().map(|(second, _)| *second).collect::<Vec<_>>(),
            [4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, 37, 40]
        );
    }

    #[test]
    fn a_chunk_that_took_five_times_its_budget_is_followed_by_one_that_does_not() {
        let kept = [40; 30];
        assert_eq!(turns(&kept, 16), [(1, 16), (5, 4), (21, 2)]);
    }

    #[test]
    fn the_next_chunk_is_to_last_ten_seconds() {
        for (full_at, coarser) in [(1, 16), (2, 8), (3, 4), (5, 4), (9, 2), (30, 2)] {
            let memory: Vec<_> = (1..=full_at).map(|second| if second == full_at { 9 } else { 1 }).collect();
            assert_eq!(turns(&memory, 16), [(memory.len(), coarser)]);
        }
    }

    #[test]
    fn an_app_that_then_allocates_faster_passes_the_budget_of_the_next_chunk_sooner() {
        assert_eq!(turns(&[3, 6, 9, 6, 9, 12, 15, 18], 16), [(3, 4), (7, 4)]);
    }

    #[test]
    fn what_passes_the_budget_of_all_ends_with_the_numbers() {
        for (may_turn, most) in [(true, 256), (false, 32)] {
            let ends = acted(&[1, most, most + 1], may_turn, 16);
            let Some((3, Verdict::End(numbers))) = ends.last() else { panic!("{ends:?}") };
            assert!(numbers.contains(&format!("more than the {most} MiB")), "{numbers}");
            assert_eq!(ends.len(), if may_turn { 2 } else { 1 });
        }
    }

    #[test]
    fn a_chunk_that_has_lasted_is_looked_at_less_often() {
        let start = crate::clock::now();
        let budget = Budget::new(0, true, start);
        for (age, pause) in [(0, 250), (1, 250), (8, 1000), (3600, 2000)] {
            let now = start + Duration::from_secs(age);
            assert_eq!(budget.look_at(now) - now, Duration::from_millis(pause));
        }
    }
}
