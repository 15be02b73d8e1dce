//! CPU profiles in the formats of other tools.
//!
//! | format | as | time |
//! | --- | --- | --- |
//! | [`collapsed`] | a line a stack, `root;caller;callee 17` | number of samples |
//! | [`speedscope`] | speedscope's JSON, in the order of time | microseconds |
//! | [`pprof`] | pprof's `profile.proto`, gzip | samples, and nanoseconds of wall time |
//!
//! Where nothing ran or nothing was recorded, none has a stack. Names are the app's, whatever they hold: each format's own
//! escapes are all that is done to them.

mod collapsed;
mod pprof;
mod speedscope;

pub use collapsed::collapsed;
pub use pprof::pprof;
pub use speedscope::speedscope;

use crate::cpu::{CpuProfile, Frame, FrameKind};

/// The name under which tools show a function.
fn name(frame: &Frame) -> &str {
    match frame.kind {
        FrameKind::Module => "(module)",
        _ if frame.name.is_empty() => "(anonymous)",
        _ => &frame.name,
    }
}

/// The node of a sample, if it has a stack.
fn running(profile: &CpuProfile, node: u32) -> Option<u32> {
    let kind = profile.frames[profile.nodes[node as usize].frame.index()].kind;
    (!matches!(kind, FrameKind::Idle | FrameKind::NotRecorded | FrameKind::Root)).then_some(node)
}

/// The caller of a node. `None`: it is the outermost that tools show.
fn caller(profile: &CpuProfile, node: u32) -> Option<u32> {
    profile.nodes[node as usize].parent.and_then(|parent| running(profile, parent))
}

/// A node and its callers, innermost first.
fn stack(profile: &CpuProfile, node: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(node), |&node| caller(profile, node))
}

#[cfg(test)]
mod tests;
