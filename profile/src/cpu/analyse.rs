//! What the samples of a CPU profile say.

use std::cmp::Reverse;
use std::time::Duration;

use super::profile::{CpuProfile, Frame, FrameId, FrameKind};
use crate::place::Origin;

/// How many functions are named in each list.
const NAMED: usize = 5;

/// What a recording's time went to. It is wall time: a thread that waits for a CPU counts as busy.
#[derive(Clone, Debug, Default)]
pub struct CpuAnalysis {
    /// From the first sample to the end, without gaps in which nothing was recorded.
    pub duration: Duration,
    /// When nothing ran.
    pub idle: Duration,
    /// When native code ran, with no JavaScript on the stack.
    pub program: Duration,
    /// When V8 collected garbage.
    pub garbage_collection: Duration,
    /// How many samples there are.
    pub samples: usize,
    /// How many samples found the thread busy.
    pub busy_samples: usize,
    /// The real mean time between samples. `None` with less than two of them.
    pub sampling_interval: Option<Duration>,
    /// The time of each frame, in the order of the profile's frames.
    pub frames: Vec<FrameTime>,
    /// The five functions of most self time, most first.
    pub most_self: Vec<FrameId>,
    /// The five functions of the app that take most time together with what they call, most first. Node's own and
    /// native functions are left out, and modules' code: it is what they call that an engineer can change. So are
    /// dependencies, except where the profile has no function of the app.
    pub most_total: Vec<FrameId>,
}

/// The time of one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameTime {
    /// When it ran itself.
    pub self_time: Duration,
    /// When it or what it called ran; once, however often it is on the stack.
    pub total_time: Duration,
    /// How many samples found it running itself.
    pub self_samples: u32,
    /// How many samples found it on the stack.
    pub total_samples: u32,
}

impl CpuAnalysis {
    /// All time but idle.
    pub fn busy(&self) -> Duration {
        self.duration.saturating_sub(self.idle)
    }

    /// A time's share of busy time, in percent: 0 to 100.
    pub fn percent_of_busy(&self, time: Duration) -> f64 {
        percent(time, self.busy())
    }

    /// The share of idle time in all time, in percent: 0 to 100.
    pub fn idle_percent(&self) -> f64 {
        percent(self.idle, self.duration)
    }
}

fn percent(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { (100.0 * part.as_secs_f64() / whole.as_secs_f64()).clamp(0.0, 100.0) }
}

/// Says what the samples say. Takes time in proportion to nodes and samples.
pub fn analyse(profile: &CpuProfile) -> CpuAnalysis {
    let mut analysis =
        CpuAnalysis { frames: vec![FrameTime::default(); profile.frames.len()], ..CpuAnalysis::default() };
    // By node first: the time in which it or what lies below it was running.
    let mut not_recorded = Duration::ZERO;
    let mut below = vec![(Duration::ZERO, 0u32); profile.nodes.len()];
    for (&node, duration) in profile.samples.iter().zip(durations(profile)) {
        let frame = profile.nodes[node as usize].frame;
        let kind = profile.frames[frame.index()].kind;
        if kind == FrameKind::NotRecorded {
            not_recorded += duration;
            continue;
        }
        analysis.samples += 1;
        let time = &mut analysis.frames[frame.index()];
        time.self_time += duration;
        time.self_samples += 1;
        below[node as usize].0 += duration;
        below[node as usize].1 += 1;
        analysis.duration += duration;
        match kind {
            FrameKind::Idle => analysis.idle += duration,
            FrameKind::Program | FrameKind::Root => analysis.program += duration,
            FrameKind::GarbageCollector => analysis.garbage_collection += duration,
            FrameKind::Function | FrameKind::Module | FrameKind::Native | FrameKind::NotRecorded => {}
        }
        if kind != FrameKind::Idle {
            analysis.busy_samples += 1;
        }
    }
    for (at, node) in profile.nodes.iter().enumerate().rev() {
        if let Some(parent) = node.parent {
            let (time, samples) = below[at];
            let sum = &mut below[parent as usize];
            *sum = (sum.0 + time, sum.1 + samples);
        }
    }
    analysis.sampling_interval = mean_interval(&profile.times, analysis.samples, not_recorded);
    add_totals(profile, &below, &mut analysis.frames);
    analysis.most_self = most_self(profile, &analysis);
    analysis.most_total = most_total(profile, &analysis);
    analysis
}

/// Adds to each function what was below its nodes, except below a node of the same function.
fn add_totals(profile: &CpuProfile, below: &[(Duration, u32)], frames: &mut [FrameTime]) {
    let mut on_stack = vec![0u32; frames.len()];
    let mut stack: Vec<u32> = Vec::new();
    for (at, node) in (0..).zip(&profile.nodes) {
        while stack.last().copied() != node.parent
            && let Some(left) = stack.pop()
        {
            on_stack[profile.nodes[left as usize].frame.index()] -= 1;
        }
        let depth = &mut on_stack[node.frame.index()];
        if *depth == 0 {
            let (time, samples) = below[at as usize];
            frames[node.frame.index()].total_time += time;
            frames[node.frame.index()].total_samples += samples;
        }
        *depth += 1;
        stack.push(at);
    }
}

/// How long each sample counts: until the next one. The time before the first, in which the profiler started, counts
/// for none. The last one counts until the end, but no longer than is usual, since the profiler stops within it.
pub(crate) fn durations(profile: &CpuProfile) -> impl Iterator<Item = Duration> {
    let times = &profile.times;
    let last = times.last().map(|&last| micros(profile.end.saturating_sub(last)).min(usual_interval(times)));
    times.windows(2).map(|pair| micros(pair[1] - pair[0])).chain(last)
}

fn micros(number: i64) -> Duration {
    Duration::from_micros(u64::try_from(number).unwrap_or(0))
}

/// The median time between samples.
fn usual_interval(times: &[i64]) -> Duration {
    let mut intervals: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if intervals.is_empty() {
        return Duration::ZERO;
    }
    let middle = intervals.len() / 2;
    micros(*intervals.select_nth_unstable(middle).1)
}

fn mean_interval(times: &[i64], samples: usize, not_recorded: Duration) -> Option<Duration> {
    let intervals = u32::try_from(samples.checked_sub(1)?).ok().filter(|&count| count > 0)?;
    Some(micros(times.last()? - times.first()?).saturating_sub(not_recorded) / intervals)
}

fn most_self(profile: &CpuProfile, analysis: &CpuAnalysis) -> Vec<FrameId> {
    most(
        profile,
        analysis,
        |time| time.self_time,
        |frame| matches!(frame.kind, FrameKind::Function | FrameKind::Module | FrameKind::Native),
    )
}

fn most_total(profile: &CpuProfile, analysis: &CpuAnalysis) -> Vec<FrameId> {
    let of = |origin| {
        most(
            profile,
            analysis,
            |time| time.total_time,
            move |frame| frame.kind == FrameKind::Function && Origin::of_url(&frame.url) == origin,
        )
    };
    let app = of(Origin::App);
    if app.is_empty() { of(Origin::Dependency) } else { app }
}

/// The functions of most time among those that `counts`, ties in the order of their names and places.
fn most(
    profile: &CpuProfile,
    analysis: &CpuAnalysis,
    time: impl Fn(&FrameTime) -> Duration,
    counts: impl Fn(&Frame) -> bool,
) -> Vec<FrameId> {
    let mut ids: Vec<FrameId> = (0..)
        .map(FrameId)
        .zip(profile.frames.iter().zip(&analysis.frames))
        .filter(|(_, (frame, spent))| !time(spent).is_zero() && counts(frame))
        .map(|(id, _)| id)
        .collect();
    ids.sort_by_key(|id| {
        let (frame, spent) = (&profile.frames[id.index()], &analysis.frames[id.index()]);
        (Reverse(time(spent)), Reverse(spent.self_time), &frame.name, &frame.url, frame.line, frame.column)
    });
    ids.truncate(NAMED);
    ids
}
