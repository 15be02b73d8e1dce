//! The status that a request should have. Pure.

use super::{
    observe::Observed,
    plan::{Choice, Plan},
    targets::{fail, wait},
    validate::ValidRequest,
    work::AnalysisState,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pitwall_crds::{
    ConditionType, Phase, ProfileRequest, ProfileRequestStatus, Reason, Summary, TargetPhase, TargetStatus,
    set_condition,
};

/// Progress alone is written when this much time has passed.
const PROGRESS_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);
/// How long the analysis may take without its beginning being written.
pub const ANALYSIS_QUIET: jiff::SignedDuration = jiff::SignedDuration::from_millis(500);

/// What `apply` could not do.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Targets that could not be started: their index, why, and whether to try again.
    pub not_started: Vec<NotStarted>,
}

/// A target that could not be started.
#[derive(Clone, Debug)]
pub struct NotStarted {
    /// The index in the plan's targets.
    pub target: usize,
    /// Why.
    pub reason: Reason,
    /// What was tried and seen.
    pub message: String,
    /// Whether it is tried again.
    pub again: bool,
}

/// The status after the plan was applied.
pub fn status(
    request: &ValidRequest,
    observed: &Observed,
    plan: Plan,
    applied: &Applied,
    now: Timestamp,
) -> ProfileRequestStatus {
    let previous = &request.previous;
    if request.is_finished() || request.deleted.is_some() {
        return follow_generation(request);
    }
    let Plan { mut targets, choice, actions: _, again: _ } = plan;
    for NotStarted { target, reason, message, again } in &applied.not_started {
        let target = &mut targets[*target];
        if *again {
            target.phase = TargetPhase::Pending;
            wait(target, *reason, message.clone());
        } else {
            fail(target, *reason, message.clone());
        }
    }
    let mut next = ProfileRequestStatus {
        observed_generation: request.generation,
        target: Some(request.target.display()),
        conditions: previous.conditions.clone(),
        start_time: previous.start_time.clone(),
        summary: previous.summary.clone(),
        findings: previous.findings.clone(),
        pods: pods(&targets),
        ..ProfileRequestStatus::default()
    };
    let started =
        targets.iter().any(|target| target.attach.is_some() || target.phase == TargetPhase::Attaching);
    if started && next.start_time.is_none() {
        next.start_time = Some(Time(now));
    }
    next.targets = targets;
    conditions(&mut next, request, observed, &choice, now);
    next
}

fn conditions(
    next: &mut ProfileRequestStatus,
    request: &ValidRequest,
    observed: &Observed,
    choice: &Choice,
    now: Timestamp,
) {
    let generation = request.generation;
    let mut conditions = std::mem::take(&mut next.conditions);
    let mut set = |kind, holds, reason, message: String| {
        set_condition(&mut conditions, kind, holds, reason, message, generation, now);
    };
    let targets = &next.targets;
    let in_phase = |phase| targets.iter().filter(move |target| target.phase == phase);
    let stored = in_phase(TargetPhase::Stored).count() + in_phase(TargetPhase::Succeeded).count();
    let over = targets.iter().all(|target| target.phase.is_over());

    match choice {
        Choice::Impossible(reason, message) => {
            set(ConditionType::Accepted, false, *reason, message.clone());
            set(ConditionType::Failed, true, *reason, message.clone());
            set(ConditionType::Finished, true, *reason, message.clone());
            next.phase = Some(Phase::Failed);
            next.completion_time = Some(Time(now));
        }
        Choice::Waits(reason, message) => {
            set(ConditionType::Accepted, false, *reason, message.clone());
            let deferred = *reason == Reason::RolloutInProgress;
            next.phase = Some(if deferred { Phase::Deferred } else { Phase::Pending });
        }
        // Nobody has looked yet.
        Choice::Made if targets.is_empty() => next.phase = Some(Phase::Pending),
        Choice::Made => {
            set(ConditionType::Accepted, true, Reason::TargetFound, pods_message(targets));
            if let Some(target) = in_phase(TargetPhase::Recording).next() {
                let message =
                    format!("{} of pod {}", target.container.as_deref().unwrap_or_default(), target.pod);
                set(ConditionType::Recording, true, Reason::Recording, message);
            } else if conditions_have(&request.previous, ConditionType::Recording) || stored > 0 {
                set(ConditionType::Recording, false, Reason::RecordingEnded, String::new());
            }
            next.phase = Some(match in_phase(TargetPhase::Pending).count() {
                waiting if waiting == targets.len() => Phase::Pending,
                _ => Phase::Running,
            });
            if over && stored == 0 {
                let (reason, message) = why_all_failed(targets);
                set(ConditionType::Failed, true, reason, message.clone());
                set(ConditionType::Finished, true, reason, message);
                next.phase = Some(Phase::Failed);
                next.completion_time = Some(Time(now));
            } else if over && request.dry_run {
                let (reason, message) = how_complete(targets, stored);
                set(ConditionType::Finished, true, reason, message);
                next.phase = Some(Phase::Succeeded);
                next.completion_time = Some(Time(now));
            } else if over {
                let (reason, message) = how_complete(targets, stored);
                set(ConditionType::Complete, true, reason, message.clone());
                match &observed.analysis {
                    Some(AnalysisState::Done(analysis)) => {
                        next.summary = Some(analysis.summary.clone());
                        next.findings.clone_from(&analysis.findings);
                        set(ConditionType::Analyzed, true, Reason::FindingsReady, String::new());
                    }
                    Some(AnalysisState::Failed(why)) => {
                        next.summary = Some(Summary::default());
                        set(ConditionType::Analyzed, false, Reason::AnalysisFailed, why.clone());
                    }
                    Some(AnalysisState::Running) | None => {}
                }
                if in_phase(TargetPhase::Stored).next().is_none() {
                    set(ConditionType::Finished, true, reason, message);
                    next.phase = Some(Phase::Succeeded);
                    next.completion_time = Some(Time(now));
                }
            }
        }
    }
    next.conditions = conditions;
}

/// A finished request stays as it is, but for the generation that it has been looked at for.
fn follow_generation(request: &ValidRequest) -> ProfileRequestStatus {
    let mut next = request.previous.clone();
    next.observed_generation = request.generation;
    for condition in &mut next.conditions {
        condition.observed_generation = request.generation;
    }
    next
}

fn conditions_have(status: &ProfileRequestStatus, kind: ConditionType) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == kind.as_str())
}

fn pods(targets: &[TargetStatus]) -> Option<String> {
    let count = |wanted: fn(&TargetStatus) -> bool| {
        let mut pods: Vec<_> = targets.iter().filter(|t| wanted(t)).map(|t| t.pod_uid.as_str()).collect();
        pods.sort_unstable();
        pods.dedup();
        pods.len()
    };
    let all = count(|_| true);
    (all > 0).then(|| format!("{}/{all}", count(|target| !target.artifacts.is_empty())))
}

fn pods_message(targets: &[TargetStatus]) -> String {
    let mut names: Vec<_> = targets.iter().map(|target| target.pod.as_str()).collect();
    names.dedup();
    let shown = names.len().min(4);
    let more = if names.len() > shown { format!(" and {} more", names.len() - shown) } else { String::new() };
    format!("pods {}{more}", names[..shown].join(", "))
}

fn why_all_failed(targets: &[TargetStatus]) -> (Reason, String) {
    let first = &targets[0];
    let reason = first.reason.unwrap_or(Reason::InternalError);
    let same = targets.iter().all(|target| target.reason == first.reason);
    let message = first.message.clone().unwrap_or_default();
    if same {
        (reason, message)
    } else {
        (Reason::AllTargetsFailed, format!("the first of {}: {message}", targets.len()))
    }
}

fn how_complete(targets: &[TargetStatus], stored: usize) -> (Reason, String) {
    if stored < targets.len() {
        return (Reason::SomeTargetsFailed, format!("{stored} of {} targets are stored", targets.len()));
    }
    let early = targets.iter().find_map(|target| Some((target.reason?, target.message.clone()?)));
    early.unwrap_or_else(|| (Reason::AllStored, format!("{stored} of {stored} targets are stored")))
}

/// The status of a request that the schema should have refused.
pub fn refused(request: &ProfileRequest, message: &str, now: Timestamp) -> ProfileRequestStatus {
    let generation = request.metadata.generation;
    let previous = request.status.clone().unwrap_or_default();
    let mut next = ProfileRequestStatus {
        phase: Some(Phase::Failed),
        observed_generation: generation,
        completion_time: previous.completion_time.clone().or(Some(Time(now))),
        ..previous
    };
    for kind in [ConditionType::Failed, ConditionType::Finished] {
        set_condition(&mut next.conditions, kind, true, Reason::InternalError, message, generation, now);
    }
    next
}

/// When a request's status was written, and since when nothing is missing but its analysis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// The last write.
    pub last: Option<Timestamp>,
    /// When the analysis was begun.
    pub analysing: Option<Timestamp>,
}

/// Whether the new status is worth a write: at every change that isn't progress alone, and of those each
/// [`PROGRESS_EVERY`]. That all is stored is said together with what the analysis found, if that doesn't take
/// longer than [`ANALYSIS_QUIET`].
pub fn is_worth_writing(
    old: &ProfileRequestStatus,
    new: &ProfileRequestStatus,
    writes: Writes,
    now: Timestamp,
) -> bool {
    let looking = |target: &TargetStatus| {
        target.phase == TargetPhase::Pending && target.reason == Some(Reason::InProgress)
    };
    if old == new || !new.targets.is_empty() && new.targets.iter().all(looking) {
        return false;
    }
    let since = |earlier: Option<Timestamp>| earlier.map(|earlier| now.duration_since(earlier));
    if awaits_analysis(new) && since(writes.analysing).is_none_or(|analysing| analysing < ANALYSIS_QUIET) {
        return false;
    }
    let progress_only = essence(old) == essence(new);
    !progress_only || since(writes.last).is_none_or(|last| last >= PROGRESS_EVERY)
}

/// Whether nothing is missing but the analysis.
pub fn awaits_analysis(status: &ProfileRequestStatus) -> bool {
    status.targets.iter().all(|target| target.phase.is_over())
        && status.targets.iter().any(|target| target.phase == TargetPhase::Stored)
}

/// The status without what changes all the time: progress, and the steps between recording and stored.
fn essence(status: &ProfileRequestStatus) -> ProfileRequestStatus {
    let mut status = status.clone();
    for target in &mut status.targets {
        target.progress = None;
        target.node_version = None;
        target.attach = None;
        target.stall = None;
        target.load = None;
        target.recorded = None;
        if matches!(target.phase, TargetPhase::Attaching | TargetPhase::Uploading) {
            target.phase = TargetPhase::Recording;
        }
        if target.phase == TargetPhase::Recording {
            target.reason = None;
            target.message = None;
        }
    }
    for condition in &mut status.conditions {
        condition.observed_generation = None;
        // That the recording ended is said together with what came of it.
        if condition.type_ == ConditionType::Recording.as_str() {
            "True".clone_into(&mut condition.status);
            condition.reason.clear();
            condition.message.clear();
            condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
        }
    }
    status
}

#[cfg(test)]
mod tests;
