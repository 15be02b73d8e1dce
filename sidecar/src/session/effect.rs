//! What a session hears, and what it asks for.

use super::preflight::Measured;
use crate::attach::close::Closure;
use crate::attach::ladder::Proved;
use crate::discover::parse::Listener;
use crate::journal::Record;
use crate::publish::collect::Collected;
use crate::publish::upload::{Put, PutError};
use pitwall_protocol::{EarlyEnd, Failure, Guard, Part, Recording, SessionReport, UploadGrant};
use std::time::Duration;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// To [`Effect::Prove`].
    Proved(Result<Proved, Failure>),
    /// While [`Effect::Open`] runs: the inspector's socket.
    Found(Listener),
    /// To [`Effect::Open`]: connected, proved, the switch armed.
    Opened {
        /// `process.version`.
        node_version: String,
        /// From the signal to the proof.
        took: Duration,
    },
    /// To [`Effect::Open`]: nothing was signalled.
    NotSignalled(Failure),
    /// To [`Effect::Open`]: the signal was sent, and nothing opened.
    Silent(Failure),
    /// To [`Effect::Open`]: what opened can't be used.
    Unusable(Failure),
    /// To [`Effect::Measure`].
    Measured(Result<Measured, BeginError>),
    /// To [`Effect::Begin`]: the recording runs; what its start took.
    Began(Result<Duration, BeginError>),
    /// To [`Effect::Watch`]: the app wants to exit and waits for us.
    Exiting,
    /// To [`Effect::Watch`]: the recording must end early, by a guard or a budget; why, with the numbers.
    Guarded(EarlyEnd, String),
    /// To [`Effect::Watch`] or [`Effect::Collect`]: the connection ended.
    Lost(String),
    /// While [`Effect::Collect`] runs: how much of the heap was walked, in percent.
    Progress(u8),
    /// To [`Effect::Collect`]: the recording is on the spool. Of a recording in chunks also to [`Effect::Watch`]: the
    /// connection ended, and what had come by then is on the spool.
    Collected(Box<Collected>),
    /// To [`Effect::Collect`]: there is no profile.
    NotCollected(Failure),
    /// To [`Effect::Close`] and [`Effect::CloseLate`].
    Closed(Closure),
    /// To [`Effect::Put`].
    PutDone(Result<Part, PutError>),
    /// The operator signed URLs.
    Grant(UploadGrant),
    /// Someone wants the recording to end, and what there is kept or not.
    Stop {
        /// Whether to keep it.
        keep: bool,
        /// Why, where it isn't that somebody asked for it.
        why: Option<EarlyEnd>,
    },
    /// The pod is ending.
    Shutdown,
    /// The channel to the operator is up again.
    Connected,
    /// The operator has taken note of the end.
    Acknowledged,
    /// The moment that [`super::Session::wake_at`] named has come.
    Tick,
}

/// Why the profiler doesn't run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeginError {
    /// The connection ended.
    Lost(String),
    /// The app wants to exit.
    Exiting,
    /// Node refused.
    Failed(Failure),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Inspector's lane: look at the process and climb the ladder.
    Prove,
    /// Inspector's lane: write the record, signal, find the socket, connect, prove the pid, arm the switch.
    Open {
        /// What was proved.
        proved: Proved,
        /// How long the port may take to open.
        patience: Duration,
        /// When the dead-man's switch fires.
        disarm_after: Duration,
        /// The record to be written before the signal.
        record: Box<Record>,
    },
    /// Inspector's lane: measure what the preflight asks for.
    Measure {
        /// Of this recording.
        recording: Recording,
    },
    /// Inspector's lane: start to record.
    Begin {
        /// What.
        recording: Recording,
        /// `process.version`.
        node_version: String,
        /// Whether V8's trace of optimizations is recorded beside it, and after how long it ends by itself.
        trace: Option<Duration>,
        /// The name that its file on the spool will have.
        file: String,
    },
    /// Inspector's lane: listen for the app's exit and the connection's end, and watch the container's memory.
    Watch {
        /// What ends the recording.
        guard: Guard,
        /// The file on the spool for what had come over when the connection ends.
        file: String,
    },
    /// Inspector's lane: end the recording, and take it over to the spool.
    Collect {
        /// What was recorded.
        recording: Recording,
        /// The file on the spool.
        file: String,
    },
    /// Inspector's lane, while it collects: no further snapshot of the series.
    Enough,
    /// Inspector's lane: close what was opened, and see it closed.
    Close {
        /// The inspector's socket.
        listener: Listener,
    },
    /// Inspector's lane: hang up, and leave the inspector as the process had it. Answered as a closing.
    Leave,
    /// Inspector's lane: wait for what may still open, and close it.
    CloseLate {
        /// The sockets that listened before the signal.
        known: Vec<u64>,
        /// How long.
        watch_for: Duration,
    },
    /// Artifact's lane: send one part.
    Put {
        /// The file on the spool.
        file: String,
        /// Which part, and where to.
        part: Put,
    },
    /// Artifact's lane: give up the part that is on its way.
    DropPut,
    /// Ask the operator for URLs.
    NeedParts {
        /// The upload that goes on; empty for a new one.
        upload_id: String,
        /// The first part without a URL.
        first_part: u32,
        /// Which of the session's artifacts.
        artifact: String,
    },
    /// Tell the operator.
    Report(Box<SessionReport>),
    /// Write the session's record.
    Journal(Box<Record>),
    /// Delete the artifact from the spool.
    DeleteSpooled(String),
    /// The session is over in every respect: delete its record.
    Forget,
}
