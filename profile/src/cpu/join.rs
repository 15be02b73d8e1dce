//! Joining chunks of a recording into one `.cpuprofile`.
//!
//! A long recording is cut into chunks while V8's sampler goes on: each chunk is begun before the one before it ends,
//! so they overlap by some milliseconds. The rules:
//!
//! - **Nodes** are one where their path is: the same `callFrame`s from the root on. Only paths of samples that are kept
//!   come into the profile, numbered from 1, each after its parent. Texts stay as V8 wrote them, lone surrogates too, but
//!   for their length: at most 1024 bytes.
//! - **Overlap**: samples at or before the last one that was taken before are dropped. `hitCount` is counted from the
//!   kept samples. `positionTicks` don't say which samples they are of: where some of a node's samples are dropped, its
//!   ticks are scaled by the share of those that are kept.
//! - **The start**: V8 counts its own start (25 to 1,500 ms) to the first sample. The profile begins at most one
//!   interval before that instead.
//! - **Order**: within a chunk V8 may write samples out of order; they are put in the order of time.
//! - **Gaps**: where a chunk's first sample comes more than 5 intervals, and 10 ms, after the end of the one before, the
//!   time between is that of a node `(not recorded)` below the root, and of no function. So is its `hitCount`, as
//!   the samples that would have been.
//! - **Limits**: when the tree is nearly full, samples on new paths go to their function below a node
//!   `(folded)` of the root: self times stay right, callers are lost. A function that passes a limit itself becomes
//!   `(folded)`. [`Joined`] says how many samples that are.
//! - **Thinning**: where there are more samples than were asked for, neighbours become one, which takes
//!   the time of all of them. `hitCount` and `positionTicks` still count all samples.

mod chunk;
mod scratch;
#[cfg(test)]
mod tests;
mod write;

use std::io::{self, BufWriter, Read, Seek, Write};
use std::time::Duration;

use crate::error::ReadError;
use crate::tree::{NONE, Nodes, Tree, TreeLimits};
use chunk::Chunk;
use scratch::{Sample, Scratch};
use write::Thinning;

/// How many intervals without a sample are a gap between chunks.
const GAP_INTERVALS: i64 = 5;

/// No gap is shorter: microseconds.
const SHORTEST_GAP: i64 = 10_000;

/// How many gaps are listed.
const LISTED_GAPS: usize = 100;

/// How much is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinLimits {
    /// Bytes of a chunk. More are an error of that chunk.
    pub chunk_bytes: u64,
    /// Nodes of a chunk, each 60 bytes of memory while the chunk is added. More are an error of that chunk.
    pub chunk_nodes: u32,
    /// Samples of a chunk, each 40 bytes of memory while the chunk is added. More are an error of that chunk.
    pub chunk_samples: u32,
    /// Samples of all chunks, about 5 bytes each of the scratch file and none of memory. More are an error of the chunk
    /// that passes it.
    pub samples: u32,
    /// Nodes of the profile, each up to 40 bytes of memory. From seven eighths of it on, new paths are folded.
    pub nodes: u32,
    /// Functions of the profile, each up to 100 bytes of memory beside its texts. Further ones are folded.
    pub functions: u32,
    /// Lines of `positionTicks`, each up to 40 bytes of memory. Ticks of further ones are left out.
    pub lines: u32,
    /// Bytes of different texts. Functions that need more are folded.
    pub text: u32,
}

impl Default for JoinLimits {
    /// For a process that has some 24 MiB for it: see the memory of each limit.
    fn default() -> Self {
        Self {
            chunk_bytes: 64 << 20,
            chunk_nodes: 100_000,
            chunk_samples: 100_000,
            samples: 500_000_000,
            nodes: 200_000,
            functions: 30_000,
            lines: 100_000,
            text: 3 << 20,
        }
    }
}

/// Why chunks can't be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// A chunk can't be read. It is left out; others can still be added.
    #[error("a chunk of the recording is left out: {0}")]
    Chunk(#[from] ReadError),
    /// With this chunk there would be too many samples. It is left out.
    #[error("a chunk of the recording is left out: with it there were more than {limit} samples")]
    TooManySamples {
        /// The limit.
        limit: u32,
    },
    /// The scratch file failed.
    #[error("the samples of the recording can't be {action} the scratch file: {source}")]
    Scratch {
        /// `written to` or `read from`.
        action: &'static str,
        /// What was seen.
        source: io::Error,
    },
    /// The profile can't be written.
    #[error("the joined profile can't be written: {0}")]
    Write(#[source] io::Error),
    /// No chunk held a sample.
    #[error("no chunk of the recording holds a sample: there is nothing to write")]
    Empty,
}

impl JoinError {
    fn reading(source: io::Error) -> Self {
        Self::Scratch { action: "read from", source }
    }

    fn writing(source: io::Error) -> Self {
        Self::Write(source)
    }
}

/// A time in which nothing was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When it began: microseconds of V8's clock.
    pub start: i64,
    /// How long it was.
    pub length: Duration,
}

/// All gaps between chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// The first 100.
    pub first: Vec<Gap>,
    /// How many there are.
    pub count: u64,
    /// Their sum.
    pub total: Duration,
}

/// What a chunk gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its samples that were kept.
    pub samples: u64,
    /// Its samples at or before the last one of the chunks before.
    pub dropped: u64,
    /// Its nodes.
    pub nodes: u32,
    /// Its kept samples on paths that aren't kept.
    pub folded: u64,
    /// When what it adds begins, without a gap before: microseconds of V8's clock.
    pub start: i64,
    /// When that ends, on the same clock. Where it adds nothing: as `start`.
    pub end: i64,
    /// The gap before it.
    pub gap: Option<Gap>,
    /// The mean time between its samples, dropped ones included. `None` with less than two.
    pub interval: Option<Duration>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    /// The chunks with samples that were kept.
    pub chunks: u32,
    /// The samples that were kept.
    pub samples: u64,
    /// The samples in the profile: less where they were thinned, and one more for each gap.
    pub written: u64,
    /// How many samples became one: 1 where all were written.
    pub thinned: f64,
    /// The nodes of the profile.
    pub nodes: u32,
    /// The samples that were dropped since another chunk covers their time.
    pub dropped: u64,
    /// The samples on paths that aren't kept, below `(folded)`.
    pub folded: u64,
    /// Ticks of lines that were left out for a limit.
    pub ticks_left_out: u64,
    /// When it begins: microseconds of V8's clock.
    pub start: i64,
    /// When it ends, on the same clock.
    pub end: i64,
    /// The gaps within.
    pub gaps: Gaps,
    /// The mean time that a kept sample stands for.
    pub interval: Duration,
}

/// Joins chunks, in the order of time, into one profile. Its memory grows with the tree, not with the samples.
///
/// # Guarantees
/// Whatever the bytes of a chunk: it is added or left out as a whole, within the limits.
pub struct Joiner<File> {
    tree: Tree,
    scratch: Scratch<File>,
    limits: JoinLimits,
    interval: i64,
    /// Of what was kept. `None` before the first sample.
    covered: Option<Covered>,
    chunks: u32,
    samples: u64,
    dropped: u64,
    folded: u64,
    ticks_left_out: u64,
    gaps: Gaps,
}

/// The time of the kept samples.
#[derive(Clone, Copy)]
struct Covered {
    start: i64,
    last: i64,
    end: i64,
}

impl<File: Read + Write + Seek> Joiner<File> {
    /// `scratch` is an empty file for the samples; `interval` the sampling interval that V8 was asked for. Limits below
    /// 16 count as that.
    pub fn new(scratch: File, interval: Duration, limits: JoinLimits) -> Self {
        let JoinLimits { nodes, functions, lines, text, .. } = limits;
        Self {
            tree: Tree::new(TreeLimits { nodes, functions, lines, text }),
            scratch: Scratch::new(scratch),
            limits,
            // An hour bounds sums of a few intervals.
            interval: i64::try_from(interval.as_micros()).unwrap_or(i64::MAX).clamp(1, 3_600_000_000),
            covered: None,
            chunks: 0,
            samples: 0,
            dropped: 0,
            folded: 0,
            ticks_left_out: 0,
            gaps: Gaps::default(),
        }
    }

    /// Adds one chunk: a `Profiler.Profile` as V8 wrote it, not compressed.
    ///
    /// After an error nothing of the chunk is kept, and others can be added.
    pub fn add(&mut self, chunk: impl Read) -> Result<Added, JoinError> {
        let mark = self.tree.mark();
        let added = self.try_add(chunk);
        if !matches!(added, Ok(Added { samples: 1.., .. })) {
            self.tree.back_to(&mark);
        }
        added
    }

    fn try_add(&mut self, chunk: impl Read) -> Result<Added, JoinError> {
        let chunk = chunk::read(chunk, &self.limits, &mut self.tree)?;
        let sampled = &chunk.sampled;
        let dropped =
            self.covered.map_or(0, |covered| sampled.times.partition_point(|&at| at <= covered.last));
        let kept = sampled.times.len() - dropped;
        let mut added = Added {
            samples: kept as u64,
            dropped: dropped as u64,
            nodes: u32::try_from(chunk.order.len()).expect("nodes are limited"),
            folded: 0,
            start: self.covered.map_or(sampled.start, |covered| covered.end),
            end: self.covered.map_or(sampled.start, |covered| covered.end),
            gap: None,
            interval: mean_interval(&sampled.times),
        };
        let Some(&first) = sampled.times.get(dropped) else {
            self.dropped += added.dropped;
            return Ok(added);
        };
        // A gap takes a sample, too.
        if self.scratch.samples() + added.samples + 1 > self.limits.samples.into() {
            return Err(JoinError::TooManySamples { limit: self.limits.samples });
        }
        let covered = self.covered.unwrap_or_else(|| {
            let start = first - (first - sampled.start).clamp(0, self.interval);
            Covered { start, last: start, end: start }
        });
        added.gap = gap(covered, first, self.interval);
        let counts = Counts::new(&chunk, dropped);
        let nodes = Nodes { parents: &chunk.parents, frames: &chunk.frames };
        let weight = |node| u64::from(counts.kept[node]);
        let targets = self.tree.place(&nodes, chunk.order.iter().copied(), weight, &mut added.folded);
        let marker = added.gap.map(|gap| (self.tree.not_recorded(), gap.start));
        let kept = sampled.samples[dropped..].iter().map(|&node| targets[node as usize]);
        let taken = marker.into_iter().chain(kept.zip(sampled.times[dropped..].iter().copied()));
        let entries = taken.scan(covered.last, |last, (node, at)| {
            let delta = u64::try_from(at - std::mem::replace(last, at)).unwrap_or(0);
            Some(Sample { node, delta })
        });
        self.scratch.append(entries).map_err(|source| JoinError::Scratch { action: "written to", source })?;
        // From here on nothing fails.
        let last = *sampled.times.last().expect("a sample is kept");
        let end = sampled.end.max(last).max(covered.end);
        added.start = added.gap.map_or(covered.end, |_| first).min(first);
        added.end = end;
        self.covered = Some(Covered { last, end, ..covered });
        self.count(&chunk, &counts, &targets);
        self.chunks += 1;
        self.samples += added.samples;
        self.dropped += added.dropped;
        self.folded += added.folded;
        if let Some(gap) = added.gap {
            self.gaps.count += 1;
            self.gaps.total += gap.length;
            if self.gaps.first.len() < LISTED_GAPS {
                self.gaps.first.push(gap);
            }
        }
        Ok(added)
    }

    /// Adds to the tree's counts.
    fn count(&mut self, chunk: &Chunk, counts: &Counts, targets: &[u32]) {
        for (&target, &kept) in targets.iter().zip(&counts.kept) {
            if kept > 0 {
                self.tree.hit(target, kept);
            }
        }
        for lines in chunk.lines.chunk_by(|one, other| one.node == other.node) {
            let node = lines[0].node as usize;
            let (all, kept) = (u128::from(counts.all[node]), u128::from(counts.kept[node]));
            if kept == 0 {
                continue;
            }
            // Rounded so that the sum is right.
            let (mut before, mut given) = (0, 0);
            for line in lines {
                before += u128::from(line.count);
                let so_far = (2 * before * kept + all) / (2 * all);
                let ticks = u32::try_from(so_far - given).unwrap_or(u32::MAX);
                given = so_far;
                let target = targets[node];
                if ticks > 0 && (self.tree.is_folded(target) || !self.tree.tick(target, line.line, ticks)) {
                    self.ticks_left_out += u64::from(ticks);
                }
            }
        }
        for &(node, text) in &chunk.reasons {
            if targets[node as usize] != NONE {
                self.tree.reason(targets[node as usize], text);
            }
        }
    }

    /// Writes the one profile, with at most `most_samples` of the samples (at least one). `DevTools` opens some 2
    /// million.
    pub fn finish(self, out: impl Write, most_samples: u64) -> Result<Joined, JoinError> {
        let Self { mut tree, mut scratch, covered, gaps, .. } = self;
        let Some(Covered { start, last, end }) = covered else { return Err(JoinError::Empty) };
        let recorded = micros(end - start).saturating_sub(gaps.total);
        let interval = div(recorded, self.samples);
        if gaps.count > 0 {
            let hits = gaps.total.as_nanos().checked_div(interval.as_nanos()).unwrap_or(gaps.count.into());
            let node = tree.not_recorded();
            tree.hit(node, u32::try_from(hits).unwrap_or(u32::MAX));
        }
        let tree = tree.into_whole();
        let thinning = Thinning::new(scratch.samples(), most_samples);
        let mut out = BufWriter::new(out);
        write::nodes(&mut out, &tree).map_err(JoinError::Write)?;
        let nodes = u32::try_from(tree.nodes.len()).expect("nodes are limited");
        drop(tree);
        write!(out, ",\"startTime\":{start},\"endTime\":{end},\"samples\":").map_err(JoinError::Write)?;
        thinning.samples(&mut out, &mut scratch, u64::try_from(end - last).unwrap_or(0))?;
        write!(out, ",\"timeDeltas\":").map_err(JoinError::Write)?;
        thinning.deltas(&mut out, &mut scratch)?;
        write!(out, "}}").and_then(|()| out.flush()).map_err(JoinError::Write)?;
        Ok(Joined {
            chunks: self.chunks,
            samples: self.samples,
            written: thinning.written(),
            thinned: scratch.samples() as f64 / thinning.written() as f64,
            nodes,
            dropped: self.dropped,
            folded: self.folded,
            ticks_left_out: self.ticks_left_out,
            start,
            end,
            gaps,
            interval,
        })
    }
}

/// How many samples each of a chunk's nodes has.
struct Counts {
    all: Vec<u32>,
    kept: Vec<u32>,
}

impl Counts {
    fn new(chunk: &Chunk, dropped: usize) -> Self {
        let count = |samples: &[u32]| {
            let mut counts = vec![0; chunk.parents.len()];
            for &node in samples {
                counts[node as usize] += 1;
            }
            counts
        };
        Self { all: count(&chunk.sampled.samples), kept: count(&chunk.sampled.samples[dropped..]) }
    }
}

/// The gap between what was covered and the next sample.
fn gap(covered: Covered, first: i64, interval: i64) -> Option<Gap> {
    let length = first - covered.end;
    let longest = (GAP_INTERVALS * interval).max(SHORTEST_GAP);
    (length > longest).then(|| Gap { start: covered.end, length: micros(length) })
}

fn mean_interval(times: &[i64]) -> Option<Duration> {
    let intervals = times.len().checked_sub(1).filter(|&count| count > 0)?;
    Some(div(micros(times.last()? - times.first()?), intervals as u64))
}

fn div(time: Duration, by: u64) -> Duration {
    let nanos = time.as_nanos().checked_div(by.into()).unwrap_or(0);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn micros(number: i64) -> Duration {
    Duration::from_micros(u64::try_from(number).unwrap_or(0))
}
