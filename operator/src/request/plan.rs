//! What to do next for a request. Pure: what is the case goes in, actions come out.

use super::{
    observe::{Candidates, Observed, PodFacts},
    targets::{fail, fold, in_pod, session_key, set_process, wait},
    validate::ValidRequest,
    work::AnalysisState,
};
use crate::channel::{PodUid, SessionKey, registry::PartsWanted};
use jiff::{SignedDuration, Timestamp};
use pitwall_crds::{
    Artifact, Concurrency, DuringRollout, OnUnready, PodPick, ProfileType, Reason, Redaction, TargetPhase,
    TargetStatus,
};
use pitwall_protocol::{
    ContainerBounds, ContainerRef, EarlyEnd, Failure, FailureReason, Lookalike, NamedArtifact, Process,
    Readiness, Recording, Seen, SessionPhase,
};
use std::{collections::BTreeSet, time::Duration};

/// How long a chosen pod's sidecar may stay away before anything is recorded.
const CONNECT_PATIENCE: SignedDuration = SignedDuration::from_secs(120);
/// How long a process may take to become ready for the signal.
const READY_PATIENCE: SignedDuration = SignedDuration::from_secs(30);
/// How old a sidecar's sight of its processes may be when a session is started on it.
const FRESH: SignedDuration = SignedDuration::from_secs(5);
/// How long pods are measured to find the busiest, and for how long that is true.
const MEASURE: Duration = Duration::from_secs(1);
const MEASURE_FRESH: SignedDuration = SignedDuration::from_secs(15);
/// How long a session may be unknown to its connected sidecar before it is taken for lost.
const REPORT_PATIENCE: SignedDuration = SignedDuration::from_secs(10);
/// How long a session that was told to start may be unknown to its connected sidecar before it is told again.
const START_PATIENCE: SignedDuration = SignedDuration::from_secs(2);
/// What a sidecar gets beyond the deadline to hand over what it has.
const DEADLINE_GRACE: SignedDuration = SignedDuration::from_secs(15);
/// How long a deletion waits for sidecars and the store.
pub const DELETION_PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// How many processes of one pod are recorded, one after another.
const MAX_PROCESSES: usize = 8;
/// When to look again though nothing was heard.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(10);

/// One thing to do. `apply` does it and decides nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask a sidecar which Node processes there are.
    Look {
        /// Whose sidecar.
        pod: PodUid,
        /// The containers to look into.
        containers: Vec<ContainerRef>,
        /// For how long to measure the CPU time that they take.
        measure: Duration,
    },
    /// Put the finalizer on, before anything exists that it would have to clean up.
    Hold,
    /// Begin an upload and a session. On failure the target with this index says why.
    Start {
        /// The index in [`Plan::targets`].
        target: usize,
        /// The session.
        key: SessionKey,
        /// The container, with its id.
        container: ContainerRef,
        /// What its pod's spec allows it.
        bounds: ContainerBounds,
        /// What is recorded.
        recording: Recording,
    },
    /// End the request's sessions in a pod.
    Stop {
        /// Whose sidecar.
        pod: PodUid,
        /// Whether what was recorded is published.
        keep: bool,
        /// Why, where it isn't that somebody asked for it.
        why: Option<EarlyEnd>,
    },
    /// Sign more parts.
    Grant {
        /// The session.
        key: SessionKey,
        /// The pod's name, for the artifact's key.
        pod_name: String,
        /// What it waits for.
        wanted: PartsWanted,
    },
    /// Complete an upload, and check the stored bytes.
    Collect {
        /// The session.
        key: SessionKey,
        /// The pod's name, for the artifact's key.
        pod_name: String,
        /// What the sidecar says that it uploaded; the first one has no name.
        artifacts: Vec<NamedArtifact>,
    },
    /// Let a sidecar forget a session whose end is in the stored status.
    Acknowledge(SessionKey),
    /// Analyse the stored artifacts.
    Analyse(Vec<Artifact>),
    /// Store the list of the artifacts beside them.
    WriteManifest,
    /// Abort the uploads of targets that failed.
    AbortUploads,
    /// Delete the request's artifacts and unfinished uploads, then let the object go.
    DeleteArtifacts,
    /// The store stays away: leave the deletion to the sweeper, then let the object go.
    Tombstone,
    /// The finished request has been kept for long enough.
    DeleteRequest,
    /// Drop what is kept in memory for it.
    Forget,
}

/// What to do, and the targets as they will be when it is done.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In order.
    pub actions: Vec<Action>,
    /// The targets.
    pub targets: Vec<TargetStatus>,
    /// Why no target could be chosen: for good, or for now.
    pub choice: Choice,
    /// When to look again if nothing is heard.
    pub again: Option<Duration>,
}

/// Whether targets could be chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Choice {
    /// They are in [`Plan::targets`].
    #[default]
    Made,
    /// Not now.
    Waits(Reason, String),
    /// Not ever.
    Impossible(Reason, String),
}

/// Decides.
pub fn plan(request: &ValidRequest, observed: &Observed, now: Timestamp) -> Plan {
    let may_wait = request.concurrency == Concurrency::Wait;
    let targets = fold(&request.uid, may_wait, request.previous.targets.clone(), observed);
    let mut plan = Plan { targets, ..Plan::default() };
    plan.acknowledge(request, observed);
    if let Some(since) = request.deleted {
        plan.delete(request, observed, since, now);
    } else if request.is_finished() {
        plan.keep_or_expire(request, now);
    } else {
        plan.advance(request, observed, now);
    }
    plan.hold(request);
    plan
}

impl Plan {
    /// Before a session can be there, and while the sidecar looks anyway. Also of a finished request, which may
    /// have lost its finalizer while Pitwall was scaled to zero.
    fn hold(&mut self, request: &ValidRequest) {
        if request.deleted.is_some() || request.has_finalizer {
            return;
        }
        if self.targets.iter().any(|target| target.pid.is_some()) {
            self.actions.insert(0, Action::Hold);
        } else if self.actions.iter().any(|action| matches!(action, Action::Look { .. })) {
            self.actions.push(Action::Hold);
        }
    }

    /// Sessions whose end is written down, or that nobody wants, are let go.
    fn acknowledge(&mut self, request: &ValidRequest, observed: &Observed) {
        for (key, report) in sorted(&observed.sessions) {
            let written = request.previous.targets.iter().any(|target| {
                target.phase.is_over() && session_key(&request.uid, target).as_ref() == Some(key)
            });
            if report.phase.is_end() && (written || request.deleted.is_some()) {
                self.actions.push(Action::Acknowledge(key.clone()));
            }
        }
    }

    fn delete(&mut self, request: &ValidRequest, observed: &Observed, since: Timestamp, now: Timestamp) {
        if !request.has_finalizer {
            self.actions.push(Action::Forget);
            return;
        }
        let patience_left = DELETION_PATIENCE - now.duration_since(since);
        let active: Vec<_> =
            sorted(&observed.sessions).filter(|(_, report)| !report.phase.is_end()).collect();
        for (key, _) in &active {
            self.actions.push(Action::Stop { pod: key.pod.clone(), keep: false, why: None });
        }
        // Half of the patience for the sidecars, the other half for the store.
        if !active.is_empty() && patience_left > DELETION_PATIENCE / 2 {
            self.again = Some(SOON);
        } else if patience_left > SignedDuration::ZERO {
            self.actions.push(Action::DeleteArtifacts);
            self.again = Some(SOON);
        } else {
            self.actions.push(Action::Tombstone);
        }
    }

    fn keep_or_expire(&mut self, request: &ValidRequest, now: Timestamp) {
        self.actions.push(Action::Forget);
        let Some(ttl) = request.ttl else { return };
        let ended = request.previous.completion_time.as_ref().map_or(request.created, |time| time.0);
        let left = ended.saturating_add(ttl).map_or(SignedDuration::MAX, |end| end.duration_since(now));
        if left <= SignedDuration::ZERO {
            self.actions.push(Action::DeleteRequest);
        } else {
            self.again = Some(left.unsigned_abs() + SOON);
        }
    }

    fn advance(&mut self, request: &ValidRequest, observed: &Observed, now: Timestamp) {
        if self.targets.is_empty() {
            self.choose(request, observed, now);
        }
        self.find_processes(request, observed, now);
        self.start(request, observed, now);
        self.follow(request, observed, now);
        self.keep_deadline(request, now);
        if !self.targets.is_empty() && self.targets.iter().all(|target| target.phase.is_over()) {
            if self.targets.iter().any(|target| target.phase == TargetPhase::Failed && target.pid.is_some()) {
                self.actions.push(Action::AbortUploads);
            }
            self.analyse(request, observed);
        }
        if self.again.is_none() {
            self.again = Some(LATER);
        }
    }

    /// Chooses pods.
    fn choose(&mut self, request: &ValidRequest, observed: &Observed, now: Timestamp) {
        let pods = match &observed.candidates {
            Candidates::NotAsked => return,
            Candidates::Missing => {
                let what = request.target.display();
                let message = format!("{what} doesn't exist in namespace {}", request.namespace);
                self.choice = Choice::Impossible(Reason::TargetNotFound, message);
                return;
            }
            Candidates::Pods(pods) => pods,
        };
        if request.stop {
            self.choice = Choice::Impossible(Reason::Stopped, "stopped before anything was recorded".into());
            return;
        }
        if let (Some(rollout), false) = (&observed.rollout, request.during_rollout == DuringRollout::Allow) {
            let message = format!("{} is being rolled out: {rollout}", request.target.display());
            self.choice = if request.during_rollout == DuringRollout::Refuse || now >= request.deadline {
                Choice::Impossible(Reason::RolloutInProgress, message)
            } else {
                self.again = Some(2 * SOON);
                Choice::Waits(Reason::RolloutInProgress, message)
            };
            return;
        }
        self.choice = match choose(request, pods) {
            Ok(chosen) if request.pick == PodPick::Busiest && self.measures(request, &chosen, now) => {
                self.again = Some(2 * SOON);
                let message = format!("measuring which of {} pods are the busiest", chosen.len());
                Choice::Waits(Reason::InProgress, message)
            }
            Ok(mut chosen) => {
                if request.pick == PodPick::Busiest {
                    let idleness = |pod: &PodFacts| std::cmp::Reverse(millicores(pod));
                    chosen.sort_by_key(|pod| (pod.ready_since.is_none(), idleness(pod)));
                }
                chosen.truncate(request.limit.of(chosen.len()));
                self.targets = chosen.iter().map(|pod| in_pod(&pod.name, &pod.uid)).collect();
                Choice::Made
            }
            Err((Reason::NoPodReady, message)) if now < request.deadline => {
                self.again = Some(2 * SOON);
                Choice::Waits(Reason::NoPodReady, message)
            }
            Err((reason, message)) => Choice::Impossible(reason, message),
        };
    }

    /// Whether the pods' CPU time is still to be measured. What isn't connected is left out.
    fn measures(&mut self, request: &ValidRequest, pods: &[&PodFacts], now: Timestamp) -> bool {
        if request.limit.of(pods.len()) >= pods.len() {
            return false;
        }
        let is_measured = |pod: &PodFacts| {
            let sight = pod.sight.as_ref().filter(|sight| now.duration_since(sight.at) < MEASURE_FRESH);
            sight.is_some_and(|sight| sight.seen.processes.iter().all(|one| one.cpu_millicores.is_some()))
        };
        let left: Vec<_> = pods.iter().filter(|pod| pod.connected && !is_measured(pod)).collect();
        self.actions.extend(left.iter().map(|pod| look(pod, MEASURE)));
        !left.is_empty()
    }

    /// Asks the chosen pods' sidecars for their processes, and takes the answers.
    fn find_processes(&mut self, request: &ValidRequest, observed: &Observed, now: Timestamp) {
        let Candidates::Pods(pods) = &observed.candidates else { return };
        let mut more = Vec::new();
        for target in &mut self.targets {
            if target.phase != TargetPhase::Pending || target.pid.is_some() {
                continue;
            }
            let Some(pod) = pods.iter().find(|pod| pod.uid.0 == target.pod_uid) else {
                fail(
                    target,
                    Reason::PodGone,
                    format!("pod {} was deleted before it could be recorded", target.pod),
                );
                continue;
            };
            if request.stop {
                fail(target, Reason::Stopped, "stopped before anything was recorded");
                continue;
            }
            if let (false, Some(why)) = (pod.connected, &pod.refused) {
                fail(target, Reason::UnsupportedBySidecar, format!("pod {}: {why}", pod.name));
                continue;
            }
            if !pod.connected {
                let message = format!("the sidecar of pod {} isn't connected to the operator", pod.name);
                if now.duration_since(request.created) > CONNECT_PATIENCE {
                    fail(target, Reason::SidecarLost, format!("{message} after {CONNECT_PATIENCE:#}"));
                } else {
                    wait(target, Reason::WaitingForSidecar, message);
                    self.again = Some(2 * SOON);
                }
                continue;
            }
            // Its inspector is open now, and that is nothing to fail for.
            if let Some(other) = &pod.recorded_by {
                self.again = yield_to(other, request, target).or(self.again);
                continue;
            }
            let look = look(pod, Duration::ZERO);
            let Some(sight) = pod.sight.as_ref().filter(|sight| now.duration_since(sight.at) < FRESH) else {
                wait(target, Reason::InProgress, "looking for Node.js processes");
                self.actions.push(look);
                self.again = Some(2 * SOON);
                continue;
            };
            match choose_processes(request, pod, &sight.seen) {
                Ok(processes) => {
                    let blank = in_pod(&pod.name, &pod.uid);
                    for (at, process) in processes.iter().take(MAX_PROCESSES).enumerate() {
                        let mut chosen = blank.clone();
                        set_process(&mut chosen, process.id, &process.container);
                        if let Readiness::NotReady(Failure { reason, message }) = &process.readiness {
                            fail(&mut chosen, super::targets::reason_of(*reason), message.clone());
                        }
                        if at == 0 { *target = chosen } else { more.push(chosen) }
                    }
                }
                Err(Unchosen::NotYet(message)) if now.duration_since(request.created) < READY_PATIENCE => {
                    wait(target, Reason::NotReady, message);
                    self.actions.push(look);
                    self.again = Some(SOON);
                }
                Err(Unchosen::NotYet(message)) => fail(target, Reason::NotReady, message),
                Err(Unchosen::Never(reason, message)) => fail(target, reason, message),
            }
        }
        self.targets.extend(more);
    }

    /// Starts the sessions of targets whose pod is free. One session a pod at a time: processes of a pod
    /// share a network namespace, and by default the inspector's port.
    fn start(&mut self, request: &ValidRequest, observed: &Observed, now: Timestamp) {
        let Candidates::Pods(pods) = &observed.candidates else { return };
        let at_once = request.at_once.of(pods.iter().filter(|pod| pod.injected && pod.running).count());
        for at in 0..self.targets.len() {
            let is_active =
                |other: &&TargetStatus| !other.phase.is_over() && other.phase != TargetPhase::Pending;
            let active: BTreeSet<_> =
                self.targets.iter().filter(is_active).map(|other| other.pod_uid.clone()).collect();
            let active_in = |pod: &str| {
                self.targets.iter().find(|other| {
                    other.pod_uid == pod && !other.phase.is_over() && other.phase != TargetPhase::Pending
                })
            };
            let target = &self.targets[at];
            let Some(key) = session_key(&request.uid, target) else { continue };
            if target.phase != TargetPhase::Pending || now >= request.deadline {
                continue;
            }
            let pod = pods.iter().find(|pod| pod.uid == key.pod);
            let container = pod.and_then(|pod| {
                pod.containers.iter().find(|container| Some(&container.name) == target.container.as_ref())
            });
            let sibling = active_in(&target.pod_uid).map(|other| other.pid.unwrap_or_default());
            let target = &mut self.targets[at];
            if request.stop {
                fail(target, Reason::Stopped, "stopped before anything was recorded");
            } else if let (Some(pod), Some(container)) = (pod, container) {
                if let Some(other) = &pod.recorded_by {
                    self.again = yield_to(other, request, target).or(self.again);
                } else if let Some(pid) = sibling {
                    wait(
                        target,
                        Reason::TargetBusy,
                        format!("waits until process {pid} of the pod is recorded"),
                    );
                } else if active.len() >= at_once {
                    wait(
                        target,
                        Reason::WaitingForTurn,
                        format!("waits until fewer than {at_once} of the target's pods are recorded"),
                    );
                } else if !pod.connected {
                    wait(
                        target,
                        Reason::WaitingForSidecar,
                        format!("the sidecar of pod {} isn't connected", pod.name),
                    );
                } else {
                    target.phase = TargetPhase::Attaching;
                    target.reason = None;
                    target.message = None;
                    let recording = request.recording.clone();
                    let recording = if observed.must_redact { recording.redacted() } else { recording };
                    target.redact = recording.redacts().then_some(Redaction::Strings);
                    self.actions.push(Action::Start {
                        target: at,
                        key,
                        container: container.clone(),
                        bounds: pod.bounds.get(&container.name).copied().unwrap_or_default(),
                        recording,
                    });
                }
            } else {
                fail(
                    target,
                    Reason::PodGone,
                    format!("pod {} or its container ended before it was recorded", target.pod),
                );
            }
        }
    }

    /// Follows the sessions under way.
    fn follow(&mut self, request: &ValidRequest, observed: &Observed, now: Timestamp) {
        for target in &mut self.targets {
            if target.phase.is_over() || target.phase == TargetPhase::Pending {
                continue;
            }
            let Some(key) = session_key(&request.uid, target) else { continue };
            match observed.sessions.get(&key).map(|report| &report.phase) {
                Some(SessionPhase::Published { artifact, more, .. }) => {
                    if !observed.collections.contains_key(&key) {
                        let first = NamedArtifact { name: String::new(), uploaded: artifact.clone() };
                        let artifacts = [first].into_iter().chain(more.iter().cloned()).collect();
                        self.actions.push(Action::Collect { key, pod_name: target.pod.clone(), artifacts });
                    }
                }
                // Two operators, or an old one's memory: the sidecar knows better, and the wait goes on.
                Some(SessionPhase::Failed(Failure { reason: FailureReason::Busy, message }))
                    if request.concurrency == Concurrency::Wait =>
                {
                    *target = in_pod(&target.pod, &key.pod);
                    wait(target, Reason::TargetBusy, message.clone());
                    self.actions.push(Action::Acknowledge(key));
                    self.again = Some(2 * SOON);
                }
                Some(
                    SessionPhase::Attaching
                    | SessionPhase::Recording { .. }
                    | SessionPhase::Collecting { percent: Some(_) },
                ) if request.stop => {
                    self.actions.push(Action::Stop { pod: key.pod, keep: true, why: None });
                }
                Some(SessionPhase::Recording { .. })
                    if request.guard.readiness == OnUnready::Stop && became_unready(observed, &key) =>
                {
                    let why = Some(EarlyEnd::NotReady);
                    self.actions.push(Action::Stop { pod: key.pod, keep: true, why });
                }
                Some(_) => {}
                None => {
                    let missed = observed.missed_since.get(&key).map(|since| now.duration_since(*since));
                    let connected =
                        observed.chosen.get(&key.pod).is_some_and(|pod| pod.alive && pod.connected);
                    if target.phase == TargetPhase::Attaching && connected && missed > Some(START_PATIENCE) {
                        // The Start was lost with a connection: nothing has been recorded yet, so again.
                        *target = in_pod(&target.pod, &key.pod);
                    } else if let Some((reason, message)) = lost(request, observed, &key, target, now) {
                        fail(target, reason, message);
                    }
                    self.again = Some(2 * SOON);
                }
            }
        }
        for (key, wanted) in &observed.parts_wanted {
            let target =
                self.targets.iter().find(|target| session_key(&request.uid, target).as_ref() == Some(key));
            if let Some(target) = target.filter(|target| !target.phase.is_over()) {
                let pod_name = target.pod.clone();
                self.actions.push(Action::Grant { key: key.clone(), pod_name, wanted: wanted.clone() });
            }
        }
    }

    /// Ends at the deadline what has not ended by itself.
    fn keep_deadline(&mut self, request: &ValidRequest, now: Timestamp) {
        let left = request.deadline.duration_since(now);
        if left > SignedDuration::ZERO {
            let left = left.unsigned_abs();
            self.again = Some(self.again.unwrap_or(LATER).min(left));
            return;
        }
        for target in &mut self.targets {
            let pod = PodUid(target.pod_uid.clone());
            match target.phase {
                TargetPhase::Pending => {
                    let waited = target.reason.map_or_else(String::new, |reason| {
                        format!(" Until then ({reason}): {}", target.message.as_deref().unwrap_or_default())
                    });
                    fail(target, Reason::DeadlineExceeded, format!("activeDeadline has passed.{waited}"));
                }
                TargetPhase::Attaching | TargetPhase::Recording | TargetPhase::Uploading => {
                    // The sidecar knows the deadline too, and keeps what it has. What is published by now is
                    // still being collected for a while.
                    let grace = if target.recorded.is_some() { DELETION_PATIENCE } else { DEADLINE_GRACE };
                    if now > request.deadline + grace {
                        self.actions.push(Action::Stop { pod, keep: false, why: None });
                        let phase = format!("{:?}", target.phase).to_lowercase();
                        fail(
                            target,
                            Reason::DeadlineExceeded,
                            format!("activeDeadline has passed while {phase}"),
                        );
                    } else {
                        self.again = Some(SOON);
                    }
                }
                TargetPhase::Stored | TargetPhase::Succeeded | TargetPhase::Failed => {}
            }
        }
    }

    fn analyse(&mut self, request: &ValidRequest, observed: &Observed) {
        let stored: Vec<_> =
            self.targets.iter().filter(|target| target.phase == TargetPhase::Stored).collect();
        let analysed = request.profile_type == ProfileType::Cpu;
        if analysed && !stored.is_empty() && observed.analysis.is_none() {
            let artifacts = stored.iter().flat_map(|target| target.artifacts.clone());
            let profiles = artifacts.filter(|artifact| artifact.name.ends_with(".cpuprofile"));
            self.actions.push(Action::Analyse(profiles.collect()));
        }
        if !stored.is_empty() && observed.manifest.is_none() {
            self.actions.push(Action::WriteManifest);
        }
        let is_analysed =
            !analysed || matches!(observed.analysis, Some(AnalysisState::Done(_) | AnalysisState::Failed(_)));
        if is_analysed && observed.manifest == Some(true) {
            for target in &mut self.targets {
                if target.phase == TargetPhase::Stored {
                    target.phase = TargetPhase::Succeeded;
                }
            }
        }
    }
}

/// Waits for the request that records in the target's pod, or fails, as the request asked: when to look again.
fn yield_to(other: &str, request: &ValidRequest, target: &mut TargetStatus) -> Option<Duration> {
    let message = format!("pod {} is being recorded by ProfileRequest {other}", target.pod);
    if request.concurrency == Concurrency::Refuse {
        fail(target, Reason::TargetBusy, message);
        return None;
    }
    wait(target, Reason::TargetBusy, message);
    Some(2 * SOON)
}

/// Whether the session's pod was ready and isn't any more.
fn became_unready(observed: &Observed, key: &SessionKey) -> bool {
    observed.chosen.get(&key.pod).is_some_and(|pod| pod.became_unready)
}

/// Why a session that should be there is not, once that is certain.
fn lost(
    request: &ValidRequest,
    observed: &Observed,
    key: &SessionKey,
    target: &TargetStatus,
    now: Timestamp,
) -> Option<(Reason, String)> {
    let pod = observed.chosen.get(&key.pod)?;
    let missed = now.duration_since(*observed.missed_since.get(key)?);
    let name = &target.pod;
    if !pod.alive {
        return Some((Reason::PodGone, format!("pod {name} was deleted while it was recorded")));
    }
    if pod.connected && missed > REPORT_PATIENCE {
        let message =
            format!("the sidecar of pod {name} no longer knows of the recording: it was started anew");
        return Some((Reason::SidecarRestarted, message));
    }
    let window = SignedDuration::try_from(request.duration).unwrap_or(SignedDuration::MAX);
    let patience = window.saturating_add(CONNECT_PATIENCE);
    (!pod.connected && missed > patience).then(|| {
        (Reason::SidecarLost, format!("the sidecar of pod {name} did not come back within {patience:#}"))
    })
}

fn sorted<V>(map: &std::collections::HashMap<SessionKey, V>) -> impl Iterator<Item = (&SessionKey, &V)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries.into_iter()
}

/// The pods that can be recorded: ready ones first, then those whose sidecar is connected, then as `pick` says.
fn choose<'a>(request: &ValidRequest, pods: &'a [PodFacts]) -> Result<Vec<&'a PodFacts>, (Reason, String)> {
    let what = request.target.display();
    if pods.is_empty() {
        return Err((Reason::NoPods, format!("{what} has no pods")));
    }
    let injected: Vec<_> = pods.iter().filter(|pod| pod.injected).collect();
    if injected.is_empty() {
        let left_alone = pods.iter().find_map(|pod| pod.not_injected.as_ref().map(|why| (&pod.name, why)));
        return Err((
            Reason::NotInjected,
            match left_alone {
                Some((pod, why)) => {
                    format!("pod {pod} was left without a sidecar: {why}. See docs/injection.md")
                }
                None => format!(
                    "no pod of {what} has a sidecar. Run: kubectl label namespace {} {}=enabled, then restart the workload",
                    request.namespace,
                    pitwall_crds::names::INJECT_LABEL
                ),
            },
        ));
    }
    let mut running: Vec<_> = injected.into_iter().filter(|pod| pod.running).collect();
    if running.is_empty() {
        return Err((Reason::NoPodReady, format!("no pod of {what} that has a sidecar runs yet")));
    }
    let age = |pod: &PodFacts| pod.ready_since.unwrap_or(pod.created);
    match request.pick {
        PodPick::Oldest => running.sort_by_key(|pod| (age(pod), pod.name.clone())),
        PodPick::Newest => running.sort_by_key(|pod| (std::cmp::Reverse(age(pod)), pod.name.clone())),
        // Random, and yet the same at every look: seeded with the request's uid.
        PodPick::Random | PodPick::Busiest => running.sort_by_key(|pod| mix(&request.uid.0, &pod.uid.0)),
    }
    running.sort_by_key(|pod| (pod.ready_since.is_none(), !pod.connected));
    Ok(running)
}

fn look(pod: &PodFacts, measure: Duration) -> Action {
    Action::Look { pod: pod.uid.clone(), containers: pod.containers.clone(), measure }
}

/// The CPU time of a pod's Node processes when they were measured.
fn millicores(pod: &PodFacts) -> u64 {
    let processes = pod.sight.iter().flat_map(|sight| &sight.seen.processes);
    processes.map(|process| u64::from(process.cpu_millicores.unwrap_or(0))).sum()
}

/// FNV-1a over both texts: spreads, and needs no state.
fn mix(seed: &str, text: &str) -> u64 {
    let bytes = seed.bytes().chain([0]).chain(text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

enum Unchosen {
    NotYet(String),
    Never(Reason, String),
}

/// Chooses the processes of a pod: those of the named container, or of the only one that runs Node.
fn choose_processes<'a>(
    request: &ValidRequest,
    pod: &PodFacts,
    seen: &'a Seen,
) -> Result<Vec<&'a Process>, Unchosen> {
    let processes = &seen.processes;
    let names = pod.container_names.join(", ");
    let chosen: Vec<_> = match &request.container {
        Some(container) if !pod.container_names.contains(container) => {
            let message = format!("pod {} has no container {container}; it has {names}", pod.name);
            return Err(Unchosen::Never(Reason::ContainerNotFound, message));
        }
        Some(container) => processes.iter().filter(|process| process.container == *container).collect(),
        None => processes.iter().collect(),
    };
    let Some(first) = chosen.first() else {
        let place = request
            .container
            .as_ref()
            .map_or(format!("containers {names}"), |name| format!("container {name}"));
        let of_place =
            |one: &&Lookalike| request.container.as_ref().is_none_or(|name| *name == one.container);
        let lookalike = seen.lookalikes.iter().find(of_place).map_or_else(String::new, |one| {
            format!(
                ": pid {} in container {} is {}, which Pitwall can't record",
                one.pid, one.container, one.runtime
            )
        });
        let message = format!("no process in {place} of pod {} is Node.js{lookalike}", pod.name);
        return Err(Unchosen::Never(Reason::NoNodeProcess, message));
    };
    if chosen.iter().any(|process| process.container != first.container) {
        let mut running: Vec<_> = chosen.iter().map(|process| process.container.as_str()).collect();
        running.sort_unstable();
        running.dedup();
        let message = format!("several containers of pod {} run Node.js: {}", pod.name, running.join(", "));
        return Err(Unchosen::Never(Reason::SeveralContainers, message));
    }
    for process in &chosen {
        if let Readiness::NotReady(Failure { reason: FailureReason::NotReady, message }) = &process.readiness
        {
            return Err(Unchosen::NotYet(message.clone()));
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests;
