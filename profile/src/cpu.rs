//! CPU profiles: V8's `.cpuprofile`, as `Profiler.stop` and `node --cpu-prof` give it.
//!
//! The format is the Chrome `DevTools` Protocol's type `Profiler.Profile`: `nodes` (call-tree nodes, each an id, a
//! `callFrame` and either the ids of its `children` or its `parent`'s), `samples` (the id of the node that was
//! running, one a sample), `timeDeltas` (microseconds between a sample and the one before it), `startTime` and
//! `endTime` (microseconds of a monotonic clock). Lines and columns are counted from 0.
//!
//! A long recording comes in chunks that overlap: [`Joiner`] makes one profile of them.

mod analyse;
mod join;
mod profile;
mod read;

pub(crate) use analyse::durations;
pub use analyse::{CpuAnalysis, FrameTime, analyse};
pub use join::{Added, Gap, Gaps, JoinError, JoinLimits, Joined, Joiner};
pub use profile::{CpuProfile, Frame, FrameId, FrameKind, Node};
pub use read::{Limits, read};

#[cfg(test)]
mod tests;
