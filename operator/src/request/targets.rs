//! The targets of a request, brought up to date with what their sidecars reported. Pure.

use super::{observe::Observed, work::CollectionState};
use crate::channel::{PodUid, SessionKey};
use pitwall_crds::{
    AttachStatus, Duration, EventLoopDelayStatus, InspectorOpener, LoadStatus, MainThreadStatus,
    PreflightCheckStatus, PreflightStatus, Reason, StallStatus, TargetPhase, TargetStatus, ThrottlingStatus,
};
use pitwall_protocol::{
    EarlyEnd, FailureReason, Load, OpenedBy, Preflight, ProcessId, SessionPhase, SessionReport,
};

/// The session of a target, once its process was chosen.
pub fn session_key(request: &pitwall_protocol::RequestUid, target: &TargetStatus) -> Option<SessionKey> {
    let process = ProcessId {
        pid: u32::try_from(target.pid?).ok()?,
        start_ticks: u64::try_from(target.process_start_ticks?).ok()?,
    };
    Some(SessionKey { request: request.clone(), pod: PodUid(target.pod_uid.clone()), process })
}

/// A target in a pod that was chosen, its process not known yet.
pub fn in_pod(name: &str, uid: &PodUid) -> TargetStatus {
    TargetStatus {
        pod: name.to_owned(),
        pod_uid: uid.0.clone(),
        container: None,
        pid: None,
        process_start_ticks: None,
        node_version: None,
        phase: TargetPhase::Pending,
        progress: None,
        reason: None,
        message: None,
        attach: None,
        stall: None,
        load: None,
        redact: None,
        preflight: None,
        recorded: None,
        artifacts: Vec::new(),
    }
}

/// Fails a target for good.
pub fn fail(target: &mut TargetStatus, reason: Reason, message: impl Into<String>) {
    target.phase = TargetPhase::Failed;
    wait(target, reason, message);
}

/// Says what a target waits for.
pub fn wait(target: &mut TargetStatus, reason: Reason, message: impl Into<String>) {
    target.reason = Some(reason);
    target.message = Some(bounded(message.into()));
    target.progress = None;
}

/// At most 1,024 characters: a sidecar's words may be an app's.
fn bounded(text: String) -> String {
    if text.chars().count() <= 1024 { text } else { text.chars().take(1023).chain(['…']).collect() }
}

/// Brings every target up to date with its session's report and its upload's collection. Sessions that no
/// target knows (the operator ended between starting them and writing it down) become targets.
pub fn fold(
    request: &pitwall_protocol::RequestUid,
    may_wait: bool,
    mut targets: Vec<TargetStatus>,
    observed: &Observed,
) -> Vec<TargetStatus> {
    let known: Vec<_> = targets.iter().filter_map(|target| session_key(request, target)).collect();
    let mut unknown: Vec<_> = observed.sessions.keys().filter(|key| !known.contains(key)).collect();
    unknown.sort();
    for key in unknown {
        // Without its name there is no key to store it under; its next hello brings the name.
        let Some(name) = observed.pod_names.get(&key.pod) else { continue };
        let mut adopted = in_pod(name, &key.pod);
        set_process(&mut adopted, key.process, &observed.sessions[key].container);
        // It takes the place of the target that waits in that pod for a process.
        match targets.iter_mut().find(|target| target.pod_uid == key.pod.0 && target.pid.is_none()) {
            Some(waiting) => *waiting = adopted,
            None => targets.push(adopted),
        }
    }
    for target in &mut targets {
        if target.phase.is_over() {
            continue;
        }
        let Some(key) = session_key(request, target) else { continue };
        if let Some(report) = observed.sessions.get(&key) {
            follow(target, report, may_wait);
        }
        match observed.collections.get(&key) {
            Some(CollectionState::Stored(artifacts)) => {
                target.phase = TargetPhase::Stored;
                target.progress = None;
                target.artifacts.clone_from(artifacts);
            }
            Some(CollectionState::Failed(reason, message)) => fail(target, *reason, message.clone()),
            Some(CollectionState::Running) | None => {}
        }
    }
    targets
}

/// The process that a target is.
pub fn set_process(target: &mut TargetStatus, process: ProcessId, container: &str) {
    target.container = Some(container.to_owned());
    target.pid = Some(i64::from(process.pid));
    target.process_start_ticks = i64::try_from(process.start_ticks).ok();
}

fn follow(target: &mut TargetStatus, report: &SessionReport, may_wait: bool) {
    let SessionReport {
        request: _,
        process: _,
        container: _,
        phase,
        node_version,
        attach,
        stall,
        load,
        remark,
        preflight,
    } = report;
    if let Some(version) = node_version {
        // The app's own word: shown, and bounded.
        target.node_version = Some(version.chars().take(32).collect());
    }
    if let Some(attach) = attach {
        target.attach = Some(AttachStatus {
            opened_by: match attach.opened_by {
                OpenedBy::Process => InspectorOpener::Process,
                OpenedBy::Pitwall | OpenedBy::Unknown => InspectorOpener::Pitwall,
            },
            closed: attach.closed,
            took: Duration::from_micros(attach.attach_us),
        });
    }
    let micros = |us: u64| (us > 0).then(|| Duration::from_micros(us));
    if stall.start_us > 0 || stall.stop_us > 0 {
        target.stall = Some(StallStatus { start: micros(stall.start_us), stop: micros(stall.stop_us) });
    }
    if let Some(load) = load {
        target.load = Some(load_status(load));
    }
    if let Some(preflight) = preflight {
        target.preflight = Some(preflight_status(preflight));
    }
    target.reason = None;
    target.message = None;
    match phase {
        SessionPhase::Attaching => {
            target.phase = TargetPhase::Attaching;
            target.progress = None;
        }
        SessionPhase::Recording { elapsed_ms, duration_ms } => {
            target.phase = TargetPhase::Recording;
            let seconds = |ms: u64| ms / 1000;
            target.progress = Some(format!("{}s of {}s", seconds(*elapsed_ms), seconds(*duration_ms)));
        }
        SessionPhase::Collecting { percent } => {
            let walks_the_heap = percent.is_some_and(|percent| percent < 100);
            target.phase = if walks_the_heap { TargetPhase::Recording } else { TargetPhase::Uploading };
            target.progress = percent.map(|percent| format!("{percent}% of the heap"));
        }
        SessionPhase::Checked => {
            target.phase = TargetPhase::Succeeded;
            target.progress = None;
            target.reason = Some(Reason::Checked);
            target.message = Some(checked(preflight.as_ref()));
        }
        SessionPhase::Uploading { sent_bytes, bytes } => {
            target.phase = TargetPhase::Uploading;
            target.progress = Some(format!("{} of {} KiB", sent_bytes / 1024, bytes / 1024));
        }
        SessionPhase::Published { ended_early, recorded_ms, .. } => {
            target.phase = TargetPhase::Uploading;
            target.progress = None;
            target.recorded = Some(Duration::from_millis(*recorded_ms));
            let (reason, message) = match ended_early {
                None => (None, remark.as_deref()),
                Some(why) => {
                    let (reason, message) = ended(*why, remark.as_deref());
                    (Some(reason), Some(message))
                }
            };
            target.reason = reason;
            target.message = message.map(str::to_owned).map(bounded);
        }
        // Whether that is the end is for the plan to say: it knows `concurrency`.
        SessionPhase::Failed(failure) if failure.reason == FailureReason::Busy && may_wait => {}
        SessionPhase::Failed(failure) => fail(target, reason_of(failure.reason), failure.message.clone()),
        SessionPhase::Discarded => fail(target, Reason::Discarded, "the recording was thrown away as asked"),
    }
}

/// Why a recording that was kept is shorter than its window, in words.
fn ended(why: EarlyEnd, remark: Option<&str>) -> (Reason, &str) {
    match why {
        EarlyEnd::Cut => {
            (Reason::CutShort, remark.unwrap_or("the process ended; what had come over by then is kept"))
        }
        EarlyEnd::Stopped => (Reason::Stopped, "the recording was stopped and kept"),
        EarlyEnd::ProcessExiting => {
            (Reason::ProcessExiting, "the process began to exit; what was recorded until then is kept")
        }
        EarlyEnd::Deadline => {
            (Reason::EndedAtDeadline, "the deadline came; what was recorded until then is kept")
        }
        EarlyEnd::MemoryGuard => {
            (Reason::GuardedMemory, remark.unwrap_or("the container came too near its memory limit"))
        }
        EarlyEnd::CpuGuard => {
            (Reason::GuardedCPU, remark.unwrap_or("the main thread was on a CPU for too long"))
        }
        EarlyEnd::SampleBudget => {
            (Reason::EndedAtSampleBudget, remark.unwrap_or("the samples took too much memory"))
        }
        EarlyEnd::NotReady => {
            (Reason::GuardedReadiness, "the pod stopped being ready; what was recorded until then is kept")
        }
        EarlyEnd::Unknown => (Reason::Stopped, "the recording ended before its time and is kept"),
    }
}

/// A dry run's result in a sentence.
fn checked(preflight: Option<&Preflight>) -> String {
    let Some(preflight) = preflight else { return "every proof holds; nothing was recorded".to_owned() };
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let overridden = preflight.checks.iter().filter(|one| !one.holds).map(|one| format!("{:?}", one.check));
    let overridden: Vec<_> = overridden.collect();
    let but = if overridden.is_empty() {
        String::new()
    } else {
        format!(", but for {}, which safety.override takes out", overridden.join(", "))
    };
    format!(
        "every proof and check holds{but}. The heap has {} MiB; recording it can take up to {} MiB, and stop the main \
         thread for up to {} ms. Nothing was recorded",
        mib(preflight.heap_bytes),
        mib(preflight.growth_bytes),
        preflight.pause_ms
    )
}

fn load_status(load: &Load) -> LoadStatus {
    let micros = Duration::from_micros;
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    LoadStatus {
        event_loop_delay: load.event_loop_delay.map(|delay| EventLoopDelayStatus {
            p50: micros(delay.p50_us),
            p99: micros(delay.p99_us),
            max: micros(delay.max_us),
        }),
        main_thread: load.main_thread.map(|thread| MainThreadStatus {
            running: micros(thread.running_us),
            waiting: micros(thread.waiting_us),
        }),
        throttling: load.throttling.map(|throttling| ThrottlingStatus {
            periods: signed(throttling.periods),
            throttled_periods: signed(throttling.throttled_periods),
            throttled: micros(throttling.throttled_us),
        }),
    }
}

fn preflight_status(preflight: &Preflight) -> PreflightStatus {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let checks = preflight.checks.iter().take(8).map(|one| PreflightCheckStatus {
        name: format!("{:?}", one.check),
        holds: one.holds,
        message: bounded(one.message.clone()),
    });
    PreflightStatus {
        used_bytes: signed(preflight.used_bytes),
        heap_bytes: signed(preflight.heap_bytes),
        growth_bytes: signed(preflight.growth_bytes),
        pause: Duration::from_millis(preflight.pause_ms),
        artifact_bytes: (preflight.artifact_bytes > 0).then(|| signed(preflight.artifact_bytes)),
        checks: checks.collect(),
    }
}

/// The reason in status of a sidecar's failure. Same words on both sides, but for what only one side knows.
pub fn reason_of(reason: FailureReason) -> Reason {
    match reason {
        FailureReason::ProcessGone => Reason::ProcessGone,
        FailureReason::NotNode => Reason::NotNode,
        FailureReason::ExecutableUnreadable => Reason::ExecutableUnreadable,
        FailureReason::NotReady => Reason::NotReady,
        FailureReason::InspectorDisabled => Reason::InspectorDisabled,
        FailureReason::InspectorAlreadyOpen => Reason::InspectorAlreadyOpen,
        FailureReason::PortTaken => Reason::PortTaken,
        FailureReason::InspectorDidNotOpen => Reason::InspectorDidNotOpen,
        FailureReason::WrongProcess => Reason::WrongProcess,
        FailureReason::InspectorFailed | FailureReason::Unknown => Reason::InspectorFailed,
        FailureReason::ProfilerFailed => Reason::ProfilerFailed,
        FailureReason::ProcessExited => Reason::ProcessExited,
        FailureReason::PreflightRefused => Reason::PreflightRefused,
        FailureReason::UnsupportedByNode => Reason::UnsupportedByNode,
        FailureReason::TraceRefused => Reason::TraceRefused,
        FailureReason::Busy => Reason::TargetBusy,
        FailureReason::SidecarRestarted => Reason::SidecarRestarted,
        FailureReason::RedactionFailed => Reason::RedactionFailed,
        FailureReason::SpoolFailed => Reason::SpoolFailed,
        FailureReason::ArtifactTooLarge => Reason::ArtifactTooLarge,
        FailureReason::StoreFull => Reason::StoreFull,
        FailureReason::UploadFailed => Reason::UploadFailed,
        FailureReason::DeadlineExceeded => Reason::DeadlineExceeded,
        FailureReason::Unsupported => Reason::UnsupportedBySidecar,
    }
}
