//! Messages from a sidecar to the operator.

use crate::{EarlyEnd, Failure, Load, NamedArtifact, Preflight, RequestUid, Uploaded};
use serde::{Deserialize, Serialize};

/// What a sidecar says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum SidecarMessage {
    /// The first message of a connection.
    Hello(Hello),
    /// The answer to `Look`.
    Seen(Seen),
    /// A session's state, sent at every change of phase, every 10 % of its window (at most once a second),
    /// and in answer to a repeated `Start`.
    Report(Box<SessionReport>),
    /// More part URLs are needed; answered with `Grant`.
    NeedParts {
        /// The request.
        request: RequestUid,
        /// The session's process.
        process: ProcessId,
        /// The upload that goes on; empty to begin a new one, when the old grant has expired.
        upload_id: String,
        /// The first part that has no URL yet.
        first_part: u32,
        /// Which of the session's artifacts; empty: the first.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        artifact: String,
    },
}

/// Who dials, and what it still holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The newest protocol version that the sidecar speaks.
    pub version: u16,
    /// The sidecar's own version, for people.
    pub sidecar_version: String,
    /// The pod that it believes to be in. The token says who it is; a difference closes the connection.
    pub pod: PodRef,
    /// The highest leader epoch that it has obeyed; 0 when none.
    pub epoch: u64,
    /// Every session that runs or whose end was not acknowledged.
    pub sessions: Vec<SessionReport>,
}

/// A pod, by the names of the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRef {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
}

/// A process that can't be mistaken for a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessId {
    /// The pid in the pod's shared process namespace.
    pub pid: u32,
    /// `starttime` of `/proc/PID/stat`: clock ticks after boot.
    pub start_ticks: u64,
}

/// The processes of the containers that were asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// From the `Look`.
    pub request: RequestUid,
    /// Processes whose executable is Node, wrappers (`npm start`) left out when a descendant is Node too.
    /// At most [`crate::MAX_PROCESSES`].
    pub processes: Vec<Process>,
    /// How many other processes there were.
    pub others: u32,
    /// Of those, the ones that people may take for Node. At most [`crate::MAX_LOOKALIKES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lookalikes: Vec<Lookalike>,
}

/// A process of a runtime that isn't Node, or not as Pitwall records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lookalike {
    /// Its pid in the pod's shared process namespace.
    pub pid: u32,
    /// The name of its container, from the `Look`.
    pub container: String,
    /// What it is, as people call it: `Bun`, `Deno`.
    pub runtime: String,
}

/// A Node process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Its identity.
    pub id: ProcessId,
    /// The name of its container, from the `Look`.
    pub container: String,
    /// Its command line, joined with spaces, at most 256 bytes. Text of the app's own: shown, never obeyed.
    pub command: String,
    /// Whether it can be signalled, or the proof that says no.
    pub readiness: Readiness,
    /// The CPU time of all its threads while it was measured, in thousandths of a core, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millicores: Option<u32>,
}

/// Whether a Node process would survive, and obey, SIGUSR1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum Readiness {
    /// Every proof that can be had without a signal holds.
    Ready,
    /// A proof failed.
    NotReady(Failure),
}

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionReport {
    /// The request.
    pub request: RequestUid,
    /// The session's process.
    pub process: ProcessId,
    /// The name of its container.
    pub container: String,
    /// Where it stands.
    pub phase: SessionPhase,
    /// `process.version`, once asked; for instance `v22.23.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_version: Option<String>,
    /// Who opened the inspector, and whether it was seen closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<Attach>,
    /// What the session cost the app's event loop.
    #[serde(default)]
    pub stall: Stall,
    /// Why a recording was ended early, in a sentence with its numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// Under which load a CPU recording was made, once it is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// What was checked before the recording began, where anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<Preflight>,
}

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "camelCase")]
pub enum SessionPhase {
    /// Climbing the ladder of proofs, up to the profiler's start.
    Attaching,
    /// The profiler runs.
    #[serde(rename_all = "camelCase")]
    Recording {
        /// Milliseconds since the profiler's start.
        elapsed_ms: u64,
        /// The window in milliseconds.
        duration_ms: u64,
    },
    /// The recording is taken over and compressed.
    #[serde(rename_all = "camelCase")]
    Collecting {
        /// Of a heap snapshot: how much of the heap was walked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        percent: Option<u8>,
    },
    /// Parts are on their way.
    #[serde(rename_all = "camelCase")]
    Uploading {
        /// Bytes that the store has taken.
        sent_bytes: u64,
        /// Bytes in all.
        bytes: u64,
    },
    /// The end: all parts are at the store, for the operator to complete.
    Published {
        /// What was stored.
        artifact: Uploaded,
        /// The other artifacts, at most [`crate::MAX_ARTIFACTS`] in all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        more: Vec<NamedArtifact>,
        /// Set when the recording is shorter than its window.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended_early: Option<EarlyEnd>,
        /// The length of the recording in milliseconds.
        recorded_ms: u64,
    },
    /// The end of a dry run: every proof held, and [`SessionReport::preflight`] says what was checked.
    Checked,
    /// The end: no artifact.
    Failed(Failure),
    /// The end: thrown away as asked.
    Discarded,
}

impl SessionPhase {
    /// Whether the session is over.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Published { .. } | Self::Checked | Self::Failed(_) | Self::Discarded)
    }
}

/// How the inspector was come by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attach {
    /// Who opened it.
    pub opened_by: OpenedBy,
    /// Whether its port was seen closed again.
    pub closed: bool,
    /// Microseconds from the signal to the proved connection.
    pub attach_us: u64,
}

/// Who opened the inspector that a session used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenedBy {
    /// The session, with SIGUSR1.
    Pitwall,
    /// The process itself, with `--inspect`: it was used, and left open.
    Process,
    /// A way that a newer sidecar knows.
    #[serde(other)]
    Unknown,
}

/// Stalls of the app's main thread that the session caused, as the round trip of the command that caused
/// them; 0 when it wasn't sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stall {
    /// Microseconds of `Profiler.start`.
    #[serde(default)]
    pub start_us: u64,
    /// Microseconds of `Profiler.stop`, the transfer of its answer included.
    #[serde(default)]
    pub stop_us: u64,
}
