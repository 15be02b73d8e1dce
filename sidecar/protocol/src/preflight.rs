//! What is checked before a recording that could hurt its pod.

use serde::{Deserialize, Serialize};

/// A check of the preflight, by the name that `safety.override` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Check {
    /// The recording's memory fits the container's limit.
    MemoryLimit,
    /// The recording's memory fits what the node has free, where the container has no limit.
    NodeMemory,
    /// The app answers again before its liveness probe has it killed.
    LivenessProbe,
    /// The app answers again before its readiness probe takes its traffic away.
    ReadinessProbe,
    /// The artifact fits the sidecar's spool. Not to be overridden: it would fail.
    SpoolSize,
    /// The artifact has no more bytes than the request allows. Not to be overridden: the request can allow more.
    ArtifactSize,
    /// The recording can be over by the request's deadline.
    Deadline,
    /// What the time between the snapshots of a series costs. Always holds: it is there to be known.
    SeriesCost,
    /// What a recording of all threads takes together. Always holds: it is there to be known.
    ThreadsCost,
    /// A check that a newer side knows.
    #[serde(other)]
    Unknown,
}

/// One check and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// Which.
    pub check: Check,
    /// Whether it holds.
    pub holds: bool,
    /// The numbers that were compared, in a sentence.
    pub message: String,
}

/// What is known before the start, and what was made of it. Bytes, and milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preflight {
    /// What the container's processes use: the sum of their resident memory.
    pub used_bytes: u64,
    /// The JavaScript heap of the process.
    pub heap_bytes: u64,
    /// By how much the recording can make the process grow, at worst.
    pub growth_bytes: u64,
    /// For how long the recording can stop the app's main thread in one go, at worst.
    pub pause_ms: u64,
    /// The artifact's size before compression, at worst.
    pub artifact_bytes: u64,
    /// Every check that applies.
    pub checks: Vec<CheckResult>,
}
