//! Every reason that can reach a user, in one list. `docs/reasons.md` has a row for each; a test holds it
//! to that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $advice:literal,)+) => {
        /// Why something is as it is: `conditions[].reason`, `targets[].reason` and the reason of Events.
        #[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// As it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What the reader can do about it; empty where nothing needs doing.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)+ }
            }
        }
    };
}

reasons! {
    // How a request goes well.
    /// The target was found.
    TargetFound => "",
    /// At least one target records.
    Recording => "",
    /// No target records any more.
    RecordingEnded => "",
    /// Every chosen target's artifact is stored.
    AllStored => "",
    /// Some targets' artifacts are stored, others failed.
    SomeTargetsFailed => "Read status.targets for each one's reason.",
    /// The findings are in status.
    FindingsReady => "",
    /// The dry run proved and checked everything, and recorded nothing.
    Checked => "",
    /// Recordings and their analysis are under way.
    InProgress => "",
    /// The recording was stopped by spec.stop, and what there was is kept.
    Stopped => "",
    /// The process was about to exit; what was recorded until then is kept.
    ProcessExiting => "",
    /// The deadline came while recording; what was recorded until then is kept.
    EndedAtDeadline => "Raise activeDeadline, or shorten duration.",

    /// The process ended, or something closed its inspector; what had come over by then is kept.
    CutShort => "Look at the container's last state with kubectl describe.",
    /// The container came too near its memory limit; what was recorded until then is kept.
    GuardedMemory => "Raise the container's memory limit, or safety.guard.memoryPercent.",
    /// The main thread was on a CPU for longer than safety.guard allows; what was recorded until then is kept.
    GuardedCPU => "Raise safety.guard.mainThreadPercent.",
    /// The samples took too much of the process' memory; what was recorded until then is kept.
    EndedAtSampleBudget => "Raise heapSampling.samplingInterval, or shorten duration.",
    /// The pod stopped being ready; what was recorded until then is kept.
    GuardedReadiness => "See why the pod wasn't ready, or set safety.guard.readiness to Ignore.",

    // What a request can wait for.
    /// The chosen pod's sidecar isn't connected to the operator.
    WaitingForSidecar => "See the logs of the pod's container named pitwall.",
    /// Another request records the target.
    TargetBusy => "Wait for the other request, stop it, or set concurrency to Refuse to fail at once.",
    /// As many of the target's pods are recorded as target.pods.atOnce allows.
    WaitingForTurn => "Raise target.pods.atOnce to record more pods at once.",
    /// No pod of the target is ready yet.
    NoPodReady => "Check the target's pods with kubectl describe.",
    /// The target's workload is being rolled out.
    RolloutInProgress => "Wait for the rollout, see why it doesn't end with kubectl rollout status, or set safety.duringRollout to Allow.",
    /// The store can't be reached just now.
    StoreUnreachable => "Check the store's address, and that the operator and the pods may reach it.",

    // Why a request, or one of its targets, fails: the target.
    /// The workload or pod that the request names doesn't exist.
    TargetNotFound => "Check the kind, the name and the namespace.",
    /// No pod belongs to the target.
    NoPods => "Scale the workload up, or correct the selector.",
    /// The target's pods have no sidecar.
    NotInjected => "Label the namespace or the pod template with pitwall.dev/inject=enabled, then restart the workload.",
    /// The target has no such container.
    ContainerNotFound => "Set target.container to one of the names in the message.",
    /// Several containers run Node.js and none was named.
    SeveralContainers => "Set target.container to one of the names in the message.",
    /// No process in the container is Node.js.
    NoNodeProcess => "Set target.container to the container that runs Node.js.",
    /// The pod was deleted.
    PodGone => "Make a new request.",
    /// The sidecar stayed away until the deadline.
    SidecarLost => "See the logs of the pod's container named pitwall.",

    // Why a target fails: the proofs on the way to its inspector.
    /// The process was gone, or another one had its pid.
    ProcessGone => "Make a new request.",
    /// The executable isn't Node.js.
    NotNode => "Set target.container to the container that runs Node.js.",
    /// The sidecar may not read the process' executable: it runs under other ids, or with more capabilities.
    ExecutableUnreadable => "State runAsUser and runAsGroup in the pod, or annotate it with pitwall.dev/run-as: uid:gid; a container must add no capabilities.",
    /// Node.js has only just started, and the signal would end it.
    NotReady => "Make a new request when the process is up.",
    /// The process was started so that the signal opens nothing.
    InspectorDisabled => "Remove --disable-sigusr1, or add --allow-inspector beside --permission.",
    /// The process' inspector is open already.
    InspectorAlreadyOpen => "Detach the debugger, or start the process without --inspect.",
    /// Another process listens on the inspector's port.
    PortTaken => "Give the process a port of its own with --inspect-port.",
    /// The process got the signal and opened no inspector.
    InspectorDidNotOpen => "Look for a SIGUSR1 handler in the app, or try when it isn't in a long native call.",
    /// The port that opened isn't the process' own.
    WrongProcess => "Give each process a port of its own with --inspect-port.",
    /// The inspector refused, dropped or garbled the conversation.
    InspectorFailed => "Try again; if it stays so, report it with the message.",
    /// A check before the recording says that it could hurt the pod.
    PreflightRefused => "Raise the limit in the message, record a pod with a smaller heap, or put the check's name into safety.override.",
    /// This version of Node.js can't record that.
    UnsupportedByNode => "Change the settings as the message says, or run a newer Node.js.",
    /// V8 can't be told to trace optimizations in this process without risk.
    TraceRefused => "Change what the message names, or record without cpu.traceOptimizations.",
    /// Node.js answered a profiler command with an error.
    ProfilerFailed => "Try again; if it stays so, report it with the message.",
    /// The process ended while it was recorded, or just before, and nothing could be saved.
    ProcessExited => "See why the process ended, then make a new request.",
    /// The sidecar's worker died while it recorded; the inspector was closed, the recording is lost.
    SidecarRestarted => "Make a new request.",

    // Why a target fails: the artifact.
    /// The snapshot couldn't be redacted; nothing of it left the pod.
    RedactionFailed => "Report it with the message and the Node.js version.",
    /// The spool volume in the pod is full or can't be written.
    SpoolFailed => "Shorten duration, or raise the sidecar's spool size in the chart's values.",
    /// The artifact has more than output.maxSize.
    ArtifactTooLarge => "Raise output.maxSize, or shorten duration.",
    /// The store refused a part, or couldn't be reached in time.
    UploadFailed => "Check that pods of the namespace can reach the store.",
    /// The store refuses the operator: wrong key, no rights, or no such bucket.
    StoreRefused => "Check the store's bucket and credentials in the chart's values.",
    /// The store has no space left.
    StoreFull => "Delete old requests, or enlarge the store's volume.",
    /// The stored bytes aren't the ones that the sidecar reported.
    ArtifactMismatch => "Make a new request; if it stays so, suspect the pod or the store.",
    /// The activeDeadline came.
    DeadlineExceeded => "Raise activeDeadline, or see why it took so long in status.targets.",
    /// The analysis failed or was ended by its limits; the artifact is stored.
    AnalysisFailed => "Download the artifact and open it in Chrome DevTools.",
    /// The sidecar is of a version that can't do this.
    UnsupportedBySidecar => "Restart the workload, so that its pods get the present sidecar.",
    /// The request's end has no more precise reason.
    AllTargetsFailed => "Read status.targets for each one's reason.",
    /// Something that should not happen did.
    InternalError => "Report it with the message and the operator's log.",

    // Events only.
    /// A sidecar's recording was stopped because its request was deleted.
    Discarded => "",
    /// The webhook left the pod alone; the message says why.
    LeftAlone => "See docs/injection.md for the reason in the message.",

    // ArtifactDownload.
    /// The sealed URL is in status.
    UrlReady => "",
    /// No such request in the namespace.
    RequestNotFound => "Check spec.request.name.",
    /// The request has no such artifact.
    ArtifactNotFound => "Take a name from the request's status.targets[].artifacts.",
    /// The artifact is of another type than the download says.
    TypeMismatch => "Set spec.type to the artifact's type.",
    /// The public key isn't 32 bytes of base64.
    InvalidPublicKey => "Use kubectl pitwall download, which makes the key.",
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
