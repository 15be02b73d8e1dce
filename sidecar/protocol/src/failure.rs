//! Why a session failed, or ended before its window did.

use serde::{Deserialize, Serialize};

/// The proof or step that failed, in the words that reach `status.targets[].reason`.
///
/// The operator carries each of these into the one list of reasons (`pitwall_crds::Reason`), which says
/// what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureReason {
    /// The process was gone, or another one has its pid, before the recording began.
    ProcessGone,
    /// The executable isn't Node.
    NotNode,
    /// The executable can't be read: the sidecar's ids aren't the process's.
    ExecutableUnreadable,
    /// Node hasn't installed its SIGUSR1 handler yet; the signal would kill it.
    NotReady,
    /// SIGUSR1 is blocked: `--disable-sigusr1`, or `--permission` without `--allow-inspector`.
    InspectorDisabled,
    /// An inspector was open before the session began; it isn't ours to use or close.
    InspectorAlreadyOpen,
    /// Another process listens on the port that this Node would open.
    PortTaken,
    /// The signal was sent and no port opened in time: a handler of the app's own, or a long native call.
    InspectorDidNotOpen,
    /// The port that opened could not be shown to belong to the process.
    WrongProcess,
    /// The inspector refused, dropped or garbled the conversation.
    InspectorFailed,
    /// Node answered a profiler command with an error.
    ProfilerFailed,
    /// The process ended while it was recorded, and nothing could be saved.
    ProcessExited,
    /// A check of the preflight doesn't hold, and wasn't overridden.
    PreflightRefused,
    /// This version of Node can't record that.
    UnsupportedByNode,
    /// V8 can't be told to trace optimizations in this process without risk.
    TraceRefused,
    /// Another session records this process.
    Busy,
    /// The sidecar's worker died during the recording; what V8 had recorded died with its connection.
    SidecarRestarted,
    /// The snapshot couldn't be redacted; nothing of it was kept.
    RedactionFailed,
    /// The spool is full or can't be written.
    SpoolFailed,
    /// The artifact would have more bytes than the request allows.
    ArtifactTooLarge,
    /// The store has no space left.
    StoreFull,
    /// The store refused the upload, or couldn't be reached in time.
    UploadFailed,
    /// The deadline came before the artifact was stored.
    DeadlineExceeded,
    /// The sidecar doesn't know what it was asked to record.
    Unsupported,
    /// A reason that a newer sidecar gave.
    #[serde(other)]
    Unknown,
}

/// A session that ended without an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The proof or step that failed.
    pub reason: FailureReason,
    /// What was tried, on what, what was seen, and what to do. At most 1,024 bytes.
    pub message: String,
}

/// Why a recording that was kept is shorter than its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EarlyEnd {
    /// Someone set `spec.stop`.
    Stopped,
    /// The process was about to exit.
    ProcessExiting,
    /// The request's deadline came.
    Deadline,
    /// The container came too near its memory limit; [`crate::SessionReport::remark`] has the numbers.
    MemoryGuard,
    /// The main thread was on a CPU for longer than the request allows; [`crate::SessionReport::remark`] has the numbers.
    CpuGuard,
    /// The samples of a heap sampling took too much of the process's memory; [`crate::SessionReport::remark`] has the
    /// numbers.
    SampleBudget,
    /// The pod stopped being ready.
    NotReady,
    /// The process ended, or something else closed its inspector: what had come over by then is kept.
    /// [`crate::SessionReport::remark`] has the words.
    Cut,
    /// A reason that a newer sidecar gave.
    #[serde(other)]
    Unknown,
}
