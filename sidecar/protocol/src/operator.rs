//! Messages from the operator to a sidecar.

use crate::{Check, EarlyEnd, ProcessId, RequestUid, UploadGrant};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the operator says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum OperatorMessage {
    /// The answer to `Hello`.
    Welcome(Welcome),
    /// Which Node processes are there? Answered with `Seen`.
    Look(Look),
    /// Record one process.
    Start(Box<Start>),
    /// End the sessions of a request in this pod.
    Stop(Stop),
    /// URLs for (more) parts, as asked for with `NeedParts`.
    Grant {
        /// The request.
        request: RequestUid,
        /// The session's process.
        process: ProcessId,
        /// Where the parts go.
        grant: UploadGrant,
    },
    /// The session's end is recorded; the sidecar forgets it and clears its spool.
    Acknowledge {
        /// The request.
        request: RequestUid,
        /// The session's process.
        process: ProcessId,
    },
}

/// The operator took the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The protocol version that both will speak.
    pub version: u16,
    /// The term of the leader that speaks. A sidecar obeys the highest that it has seen and hangs up on a
    /// lower one.
    pub epoch: u64,
    /// The CA bundle (PEM) to trust from the next dial on, so that a new CA is known before it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The private CA (PEM) of the store, trusted for uploads beside the public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_ca: Option<String>,
}

/// A container, by the name that people use and the id that shows in its processes' cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerRef {
    /// The name in the pod's spec.
    pub name: String,
    /// The runtime's id without its scheme (`containerd://` and the like), from the pod's status.
    pub id: String,
}

/// Asks for the Node processes of some containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Look {
    /// The request on whose behalf.
    pub request: RequestUid,
    /// The pod's other containers, the sidecar's own left out.
    pub containers: Vec<ContainerRef>,
    /// For how long to measure what CPU time the processes take, in milliseconds; 0: not at all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub measure_ms: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Begins one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The request.
    pub request: RequestUid,
    /// Namespace and name of the request, for logs and for the reports of other sessions.
    pub request_name: String,
    /// The process, as `Seen` named it.
    pub process: ProcessId,
    /// The container that the process is in.
    pub container: ContainerRef,
    /// What to record.
    pub recording: Recording,
    /// Whether V8's trace of optimizations and deoptimizations is recorded beside a CPU profile, as the artifact
    /// [`crate::OPTIMIZATIONS`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trace_optimizations: bool,
    /// The window, in milliseconds from the profiler's start; 0 for a heap snapshot.
    pub duration_ms: u64,
    /// When everything must be over, in milliseconds from now.
    pub deadline_ms: u64,
    /// Where the artifact goes. More URLs are asked for with `NeedParts`.
    pub grant: UploadGrant,
    /// What the container may use and how long it may be silent, as its pod's spec says.
    #[serde(default)]
    pub bounds: ContainerBounds,
    /// What ends the recording early, and keeps what there is.
    #[serde(default)]
    pub guard: Guard,
    /// The most bytes that an artifact may have, as stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_bytes: Option<u64>,
    /// The preflight checks that the request's author takes responsibility for.
    #[serde(default, rename = "override", skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<Check>,
}

/// What ends a recording early. Absent: nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guard {
    /// The memory that the container's processes may use together, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The share of ten seconds that the main thread may be on a CPU, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_thread_percent: Option<u32>,
}

/// What a container may use, and how long its probes let it be silent. Absent: not bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerBounds {
    /// Its memory limit, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The shortest silence after which kubelet kills it, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness_patience_ms: Option<u64>,
    /// The shortest silence after which its pod gets no more traffic, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_patience_ms: Option<u64>,
}

/// What to record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Recording {
    /// V8's CPU profiler on the main thread.
    #[serde(rename_all = "camelCase")]
    Cpu {
        /// Microseconds between samples.
        sampling_interval_us: u32,
    },
    /// The same over hours: in chunks that overlap, joined into one profile.
    #[serde(rename_all = "camelCase")]
    CpuInChunks {
        /// Microseconds between samples.
        sampling_interval_us: u32,
        /// Milliseconds of a chunk.
        chunk_ms: u32,
    },
    /// V8's sampling heap profiler on the main thread.
    #[serde(rename_all = "camelCase")]
    HeapSampling {
        /// Bytes that are allocated between two samples, on average.
        sampling_interval_bytes: u32,
        /// Whether what the garbage collector freed stays in the profile. Not on Node 18.
        collected: bool,
    },
    /// A snapshot of the main thread's heap.
    #[serde(rename_all = "camelCase")]
    HeapSnapshot {
        /// Whether the contents of strings are replaced before anything leaves the pod.
        redact: bool,
    },
    /// A CPU recording or a heap sampling of the main thread and of worker threads, an artifact each.
    AllThreads {
        /// Of each thread.
        recording: Box<Recording>,
        /// How many worker threads at most.
        workers: u32,
    },
    /// Several heap snapshots of one process in one session with its inspector, so that objects keep their ids.
    #[serde(rename_all = "camelCase")]
    Series {
        /// Of each.
        recording: Box<Recording>,
        /// How many.
        count: u32,
        /// From the end of one to the start of the next, in milliseconds.
        interval_ms: u64,
    },
    /// A dry run: prove, check and report what this would take, and record nothing. Ends in
    /// [`crate::SessionPhase::Checked`]. A type of its own, so that a sidecar that doesn't know it refuses.
    Check {
        /// What would be recorded.
        recording: Box<Recording>,
    },
    /// Something that a newer operator asks for; refused as `Unsupported`.
    #[serde(other)]
    Unknown,
}

impl Recording {
    /// A CPU recording. In one piece the app holds all of its samples until its end.
    pub fn cpu(sampling_interval: Duration, in_chunks: bool) -> Self {
        let sampling_interval_us = u32::try_from(sampling_interval.as_micros()).unwrap_or(u32::MAX);
        if in_chunks {
            // At most a minute, and some 100,000 samples: V8 takes no more than 5,000 a second.
            let chunk_ms = (sampling_interval_us.max(200).saturating_mul(100)).min(60_000);
            Self::CpuInChunks { sampling_interval_us, chunk_ms }
        } else {
            Self::Cpu { sampling_interval_us }
        }
    }

    /// Whether it is of the CPU.
    pub fn is_cpu(&self) -> bool {
        match self {
            Self::Cpu { .. } | Self::CpuInChunks { .. } => true,
            Self::AllThreads { recording, .. } => recording.is_cpu(),
            Self::HeapSampling { .. }
            | Self::HeapSnapshot { .. }
            | Self::Series { .. }
            | Self::Check { .. }
            | Self::Unknown => false,
        }
    }

    /// The same with the contents of strings replaced, where it holds any.
    #[must_use]
    pub fn redacted(self) -> Self {
        let redacted = |recording: Box<Self>| Box::new(recording.redacted());
        match self {
            Self::HeapSnapshot { .. } => Self::HeapSnapshot { redact: true },
            Self::Series { recording, count, interval_ms } => {
                Self::Series { recording: redacted(recording), count, interval_ms }
            }
            Self::AllThreads { recording, workers } => {
                Self::AllThreads { recording: redacted(recording), workers }
            }
            Self::Check { recording } => Self::Check { recording: redacted(recording) },
            other @ (Self::Cpu { .. }
            | Self::CpuInChunks { .. }
            | Self::HeapSampling { .. }
            | Self::Unknown) => other,
        }
    }

    /// Whether the contents of strings are replaced in it.
    pub fn redacts(&self) -> bool {
        matches!(self.of_one(), Self::HeapSnapshot { redact: true })
    }

    /// What each of several artifacts is.
    pub fn of_one(&self) -> &Self {
        match self {
            Self::AllThreads { recording, .. } | Self::Series { recording, .. } => recording,
            other => other,
        }
    }
}

/// Ends the sessions of a request in this pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// The request.
    pub request: RequestUid,
    /// Whether what was recorded so far is published (`spec.stop`) or thrown away (deletion).
    pub keep: bool,
    /// Why, where it isn't [`EarlyEnd::Stopped`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<EarlyEnd>,
}
