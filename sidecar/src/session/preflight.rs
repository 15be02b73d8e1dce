//! What a recording can do to its pod, worked out before it starts. Pure.
//!
//! A heap snapshot stops the app and can't be cancelled, so everything is decided here. What it takes was
//! measured on Node 18 to 26 and depends on the number of objects, which nobody can ask for without a walk of the
//! heap. So the figures are upper bounds, from heaps of nothing but small objects: 200 to 370 bytes and 3 to 5
//! microseconds an object, and an object of 37 bytes.

use pitwall_protocol::{Check, CheckResult, ContainerBounds, Preflight, Recording};
use std::fmt::Write as _;
use std::time::Duration;

/// Growth, in bytes a byte of heap: of small objects, and of those in the spaces for large ones, whose slots are
/// edges.
const SNAPSHOT_GROWTH: u64 = 10;
const SNAPSHOT_GROWTH_LARGE: u64 = 4;
/// The pause, in microseconds a KiB of heap.
const SNAPSHOT_PAUSE: u64 = 135;
const SNAPSHOT_PAUSE_LARGE: u64 = 20;
/// The file, in tenths of a byte a byte of heap.
const SNAPSHOT_FILE: u64 = 21;
const SNAPSHOT_FILE_LARGE: u64 = 25;
/// By how much a snapshot compresses at the least.
const COMPRESSION: u64 = 4;
/// How much of a limit may be used, in percent: the kernel's own share of a container isn't in anyone's memory.
const OF_LIMIT: u64 = 95;
/// What starting the CPU profiler takes: it walks the heap too.
const PROFILER_GROWTH: u64 = 64 << 20;
const PROFILER_PAUSE: u64 = 2;
/// What the sampling heap profiler takes; its end forces a collection, half a millisecond a MiB.
const SAMPLING_GROWTH: u64 = 32 << 20;

/// What a worker thread takes beside the main thread: 2 to 4 MiB where it runs little code.
const WORKER_GROWTH: u64 = 16 << 20;
/// What the CPU profiler takes of a busy thread's CPU, in percent, at 1 ms a sample; and at most.
const SAMPLER_PERCENT: u64 = 5;
const MOST_SAMPLER_PERCENT: u64 = 25;

/// What was measured before the start. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// The resident memory of the container's processes together.
    pub used: u64,
    /// The JavaScript heap's used bytes.
    pub heap: u64,
    /// Of those, the bytes in the spaces for large objects.
    pub large_objects: u64,
    /// What the node has free.
    pub node_free: u64,
    /// What the spool may still take.
    pub spool_left: u64,
    /// The worker threads, where all threads are to be recorded.
    pub workers: u32,
}

/// What the request allows. Absent: anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// The most bytes of one artifact, as stored.
    pub largest: Option<u64>,
    /// How long the recording may take from now on.
    pub time_left: Option<Duration>,
}

/// Works out the worst case, and checks it against the bounds.
pub fn preflight(
    recording: &Recording,
    measured: &Measured,
    bounds: &ContainerBounds,
    allowed: Allowed,
) -> Preflight {
    let Measured { used, heap, large_objects, node_free, spool_left, workers } = *measured;
    let large = large_objects.min(heap);
    let small = heap - large;
    let sum = |of_small: u64, of_large: u64| {
        small.saturating_mul(of_small).saturating_add(large.saturating_mul(of_large))
    };
    let mut result = Preflight { used_bytes: used, heap_bytes: heap, ..Preflight::default() };
    match recording.of_one() {
        Recording::Cpu { .. }
        | Recording::CpuInChunks { .. }
        | Recording::AllThreads { .. }
        | Recording::Series { .. }
        | Recording::Check { .. }
        | Recording::Unknown => {
            result.growth_bytes = PROFILER_GROWTH;
            result.pause_ms = PROFILER_PAUSE * (small >> 20) + 20;
        }
        Recording::HeapSampling { .. } => {
            result.growth_bytes = SAMPLING_GROWTH;
            result.pause_ms = (heap >> 21) + 5;
        }
        Recording::HeapSnapshot { .. } => {
            result.growth_bytes = sum(SNAPSHOT_GROWTH, SNAPSHOT_GROWTH_LARGE);
            result.pause_ms = sum(SNAPSHOT_PAUSE, SNAPSHOT_PAUSE_LARGE) / 1024 / 1000 + 1;
            let one = sum(SNAPSHOT_FILE, SNAPSHOT_FILE_LARGE) / 10;
            let count = if let Recording::Series { count, .. } = recording { *count } else { 1 };
            result.artifact_bytes = one.saturating_mul(count.into());
            result.checks = checks(&result, bounds, node_free, spool_left);
            result.checks.extend(allowed.largest.map(|largest| artifact_size(one, largest)));
            result.checks.extend(allowed.time_left.map(|left| time(recording, result.pause_ms, left)));
        }
    }
    if let Recording::Series { count, interval_ms, .. } = recording {
        let message = format!(
            "between the {count} snapshots, {:.0} s each time, the inspector is held so that objects keep their ids: \
             Node.js 18, 24 and later then allocate 3 to 10 times slower",
            *interval_ms as f64 / 1000.0
        );
        result.checks.push(CheckResult { check: Check::SeriesCost, holds: true, message });
    }
    if let Recording::AllThreads { recording, workers: most } = recording {
        let threads = u64::from(workers.min(*most)) + 1;
        result.growth_bytes += (threads - 1).saturating_mul(WORKER_GROWTH);
        let what = format!("a recording of {threads} threads");
        result.checks.push(memory(&result, bounds, node_free, &what));
        result.checks.push(threads_cost(recording, threads, result.growth_bytes));
    }
    result
}

/// Whether the growth fits where the container runs.
fn memory(facts: &Preflight, bounds: &ContainerBounds, node_free: u64, what: &str) -> CheckResult {
    let growth = mib(facts.growth_bytes);
    if let Some(limit) = bounds.memory_bytes {
        CheckResult {
            check: Check::MemoryLimit,
            holds: facts.used_bytes.saturating_add(facts.growth_bytes) <= limit / 100 * OF_LIMIT,
            message: format!(
                "the container uses {} MiB, and {what} can add up to {growth} MiB: its memory limit is {} MiB",
                mib(facts.used_bytes),
                mib(limit)
            ),
        }
    } else {
        CheckResult {
            check: Check::NodeMemory,
            holds: facts.growth_bytes <= node_free / 100 * OF_LIMIT,
            message: format!(
                "{what} can add up to {growth} MiB, and the container has no memory limit: the node has {} MiB free",
                mib(node_free)
            ),
        }
    }
}

fn threads_cost(recording: &Recording, threads: u64, growth: u64) -> CheckResult {
    let cpu = match recording {
        Recording::Cpu { sampling_interval_us } => {
            let of_one = SAMPLER_PERCENT * 1000 / u64::from(*sampling_interval_us).max(1);
            format!(", and up to {} % of a CPU", of_one.min(MOST_SAMPLER_PERCENT) * threads)
        }
        _ => String::new(),
    };
    CheckResult {
        check: Check::ThreadsCost,
        holds: true,
        message: format!(
            "{threads} threads are recorded at once: if all are busy, that takes up to {} MiB{cpu}",
            mib(growth)
        ),
    }
}

fn checks(facts: &Preflight, bounds: &ContainerBounds, node_free: u64, spool_left: u64) -> Vec<CheckResult> {
    let (pause, heap) = (facts.pause_ms, mib(facts.heap_bytes));
    let mut all = vec![memory(facts, bounds, node_free, &format!("a snapshot of its heap of {heap} MiB"))];
    let mut check = |check, holds, message| all.push(CheckResult { check, holds, message });
    for (name, patience, what, then) in [
        (Check::LivenessProbe, bounds.liveness_patience_ms, "liveness", "killed"),
        (Check::ReadinessProbe, bounds.readiness_patience_ms, "readiness", "taken out of its Service"),
    ] {
        let Some(patience) = patience else { continue };
        check(
            name,
            pause < patience,
            format!(
                "a snapshot of the heap of {heap} MiB can stop the app for up to {:.1} s, and by its {what} probe the \
                 container can be {then} after {:.1} s of silence",
                pause as f64 / 1000.0,
                patience as f64 / 1000.0
            ),
        );
    }
    check(
        Check::SpoolSize,
        facts.artifact_bytes / COMPRESSION <= spool_left,
        format!(
            "the snapshot can have up to {} MiB, compressed {} MiB: the sidecar's spool has {} MiB left",
            mib(facts.artifact_bytes),
            mib(facts.artifact_bytes / COMPRESSION),
            mib(spool_left)
        ),
    );
    all
}

fn artifact_size(bytes: u64, largest: u64) -> CheckResult {
    CheckResult {
        check: Check::ArtifactSize,
        holds: bytes / COMPRESSION <= largest,
        message: format!(
            "the snapshot can have up to {} MiB, compressed {} MiB: output.maxSize is {} MiB",
            mib(bytes),
            mib(bytes / COMPRESSION),
            mib(largest)
        ),
    }
}

fn time(recording: &Recording, pause_ms: u64, left: Duration) -> CheckResult {
    let needed = match recording {
        Recording::Series { count, interval_ms, .. } => {
            let pauses = u64::from(count.saturating_sub(1));
            pause_ms.saturating_mul(u64::from(*count)).saturating_add(interval_ms.saturating_mul(pauses))
        }
        _ => pause_ms,
    };
    CheckResult {
        check: Check::Deadline,
        holds: u128::from(needed) <= left.as_millis(),
        message: format!(
            "it can take up to {:.0} s, and nothing can cancel a snapshot: until the deadline {:.0} s are left",
            needed as f64 / 1000.0,
            left.as_secs_f64()
        ),
    }
}

/// Whether nobody can take the responsibility: it would fail, or the request can allow more.
fn is_final(check: Check) -> bool {
    matches!(check, Check::SpoolSize | Check::ArtifactSize)
}

/// Why the recording must not start, in a message that names what to put in `safety.override`.
pub fn refusal(preflight: &Preflight, overridden: &[Check]) -> Option<String> {
    let stands = |one: &&CheckResult| !one.holds && (is_final(one.check) || !overridden.contains(&one.check));
    let failed: Vec<_> = preflight.checks.iter().filter(stands).collect();
    if failed.is_empty() {
        return None;
    }
    let mut text = String::new();
    for one in &failed {
        let _ = write!(text, "{:?}: {}. ", one.check, one.message);
    }
    text += "Nothing was recorded. ";
    let names: Vec<_> =
        failed.iter().filter(|one| !is_final(one.check)).map(|one| format!("{:?}", one.check)).collect();
    if names.len() == failed.len() {
        let _ = write!(text, "To take the risk, put into safety.override: {}", names.join(", "));
    } else if failed.iter().any(|one| one.check == Check::SpoolSize) {
        text += "Raise sidecar.spoolSize in the chart's values";
    } else {
        text += "Raise output.maxSize";
    }
    Some(text)
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const SNAPSHOT: Recording = Recording::HeapSnapshot { redact: false };

    fn measured() -> Measured {
        Measured {
            used: 100 * MIB,
            heap: 50 * MIB,
            large_objects: 0,
            node_free: 4096 * MIB,
            spool_left: 512 * MIB,
            workers: 0,
        }
    }

    fn failed(measured: &Measured, bounds: &ContainerBounds) -> Vec<Check> {
        let preflight = preflight(&SNAPSHOT, measured, bounds, Allowed::default());
        preflight.checks.iter().filter(|one| !one.holds).map(|one| one.check).collect()
    }

    #[test]
    fn each_bound_is_checked_against_the_worst_case() {
        let limit =
            |mib: u64| ContainerBounds { memory_bytes: Some(mib * MIB), ..ContainerBounds::default() };
        let alive = |ms| ContainerBounds { liveness_patience_ms: Some(ms), ..limit(4096) };
        let ready = |ms| ContainerBounds { readiness_patience_ms: Some(ms), ..limit(4096) };
        let none = ContainerBounds::default();
        for (bounds, change, expected) in [
            (limit(640), Measured { ..measured() }, vec![]),
            (limit(620), Measured { ..measured() }, vec![Check::MemoryLimit]),
            (limit(620), Measured { large_objects: 40 * MIB, ..measured() }, vec![]),
            // The node's memory counts only where nothing else bounds.
            (limit(640), Measured { node_free: 0, ..measured() }, vec![]),
            (none, Measured { node_free: 500 * MIB, ..measured() }, vec![Check::NodeMemory]),
            (none, Measured { node_free: 600 * MIB, ..measured() }, vec![]),
            (alive(6000), measured(), vec![Check::LivenessProbe]),
            (alive(8000), measured(), vec![]),
            (ready(6000), measured(), vec![Check::ReadinessProbe]),
            (ready(8000), measured(), vec![]),
            (limit(640), Measured { spool_left: 20 * MIB, ..measured() }, vec![Check::SpoolSize]),
            // Nothing overflows, whatever the app says of its heap.
            (
                none,
                Measured { heap: u64::MAX, large_objects: u64::MAX, ..measured() },
                vec![Check::NodeMemory, Check::SpoolSize],
            ),
        ] {
            assert_eq!(failed(&change, &bounds), expected, "{bounds:?} {change:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_numbers_and_the_override_and_an_override_lifts_it() {
        let bounds = ContainerBounds {
            memory_bytes: Some(512 * MIB),
            liveness_patience_ms: Some(3000),
            ..ContainerBounds::default()
        };
        let facts = preflight(&SNAPSHOT, &measured(), &bounds, Allowed::default());
        let text = refusal(&facts, &[]).unwrap();
        for part in ["100 MiB", "50 MiB", "500 MiB", "512 MiB", "3.0 s", "MemoryLimit, LivenessProbe"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let left = refusal(&facts, &[Check::MemoryLimit]).unwrap();
        assert!(left.ends_with("safety.override: LivenessProbe"), "{left}");
        assert_eq!(refusal(&facts, &[Check::MemoryLimit, Check::LivenessProbe]), None);
    }

    #[test]
    fn a_spool_that_is_too_small_is_not_overridden() {
        let small = Measured { spool_left: MIB, ..measured() };
        let facts = preflight(&SNAPSHOT, &small, &ContainerBounds::default(), Allowed::default());
        let text = refusal(&facts, &[Check::SpoolSize]).unwrap();
        assert!(text.contains("spool") && !text.contains("safety.override"), "{text}");
    }

    #[test]
    fn profiles_are_measured_and_not_refused() {
        for recording in [
            Recording::Cpu { sampling_interval_us: 1000 },
            Recording::HeapSampling { sampling_interval_bytes: 1 << 15, collected: false },
        ] {
            let facts = preflight(&recording, &measured(), &ContainerBounds::default(), Allowed::default());
            assert!(facts.pause_ms > 0 && facts.growth_bytes > 0);
            assert_eq!((facts.checks.len(), refusal(&facts, &[])), (0, None));
        }
    }

    #[test]
    fn a_snapshot_that_may_be_larger_than_the_request_allows_is_refused_by_that_word() {
        // 50 MiB of heap: 105 MiB at worst, 27 compressed.
        for (largest, holds) in [(26 * MIB, false), (27 * MIB, true)] {
            let facts = preflight(
                &SNAPSHOT,
                &measured(),
                &ContainerBounds::default(),
                Allowed { largest: Some(largest), ..Allowed::default() },
            );
            let check = facts.checks.iter().find(|one| one.check == Check::ArtifactSize).unwrap();
            assert_eq!(check.holds, holds, "{check:?}");
            let overridden = [Check::ArtifactSize, Check::MemoryLimit];
            let refusal = refusal(&facts, &overridden);
            assert_eq!(refusal.is_some(), !holds);
            assert!(refusal.is_none_or(|text| text.ends_with("Raise output.maxSize")));
        }
    }

    #[test]
    fn what_all_threads_take_is_counted_and_too_much_is_refused() {
        let cpu = Recording::Cpu { sampling_interval_us: 1000 };
        let sampling = Recording::HeapSampling { sampling_interval_bytes: 1 << 15, collected: false };
        for (of, workers, growth, cost) in [
            (&cpu, 0, 64, "64 MiB, and up to 5 % of a CPU"),
            (&cpu, 3, 112, "112 MiB, and up to 20 % of a CPU"),
            (&cpu, 30, 192, "192 MiB, and up to 45 % of a CPU"),
            (&sampling, 3, 80, "80 MiB"),
        ] {
            let recording = Recording::AllThreads { recording: Box::new(of.clone()), workers: 8 };
            let measured = Measured { workers, ..measured() };
            for (limit, holds) in [(100 + growth, false), ((100 + growth) * 100 / 94, true)] {
                let bounds =
                    ContainerBounds { memory_bytes: Some(limit * MIB), ..ContainerBounds::default() };
                let facts = preflight(&recording, &measured, &bounds, Allowed::default());
                assert_eq!(facts.growth_bytes, growth * MIB);
                let check = facts.checks.iter().find(|one| one.check == Check::MemoryLimit).unwrap();
                assert_eq!(check.holds, holds, "{check:?}");
                let told = facts.checks.iter().find(|one| one.check == Check::ThreadsCost).unwrap();
                assert!(told.holds && told.message.ends_with(cost), "{told:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_done_by_the_deadline_is_not_begun() {
        // 50 MiB of small objects: 7 s at worst.
        let series = |count| Recording::Series { recording: Box::new(SNAPSHOT), count, interval_ms: 10_000 };
        for (recording, seconds, holds) in
            [(SNAPSHOT, 6, false), (SNAPSHOT, 7, true), (series(3), 40, false), (series(3), 41, true)]
        {
            let allowed = Allowed { time_left: Some(Duration::from_secs(seconds)), ..Allowed::default() };
            let facts = preflight(&recording, &measured(), &ContainerBounds::default(), allowed);
            let check = facts.checks.iter().find(|one| one.check == Check::Deadline).unwrap();
            assert_eq!(check.holds, holds, "{recording:?} in {seconds} s: {check:?}");
            let refusal = refusal(&facts, &[]);
            assert_eq!(refusal.is_some_and(|text| text.contains("safety.override: Deadline")), !holds);
        }
    }
}
