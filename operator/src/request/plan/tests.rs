use super::*;
use crate::{
    channel::registry::Sight,
    request::{observe::ChosenPod, status, validate::validate, work::CollectionState},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use pitwall_crds::{HeapSnapshotSettings, ProfileRequest, ProfileRequestStatus, Share};
use pitwall_protocol::{ProcessId, RequestUid, Seen, SessionReport, Stall, Uploaded};
use serde_json::json;
use std::collections::HashMap;

const PROCESS: ProcessId = ProcessId { pid: 17, start_ticks: 4242 };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A request created at second 0 with a deadline at second 900.
fn request(change: impl FnOnce(&mut ProfileRequest)) -> ValidRequest {
    let spec =
        json!({ "type": "CPU", "target": { "workload": { "kind": "Deployment", "name": "checkout" } } });
    let mut request = ProfileRequest {
        metadata: ObjectMeta {
            name: Some("slow".into()),
            namespace: Some("shop".into()),
            uid: Some("r1".into()),
            creation_timestamp: Some(Time(at(0))),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        spec: serde_json::from_value(spec).unwrap(),
        status: None,
    };
    change(&mut request);
    validate(&request).unwrap()
}

fn pod(name: &str) -> PodFacts {
    PodFacts {
        name: name.into(),
        uid: PodUid(name.into()),
        injected: true,
        not_injected: None,
        running: true,
        ready_since: Some(at(-100)),
        created: at(-200),
        containers: vec![ContainerRef { name: "app".into(), id: "c1".into() }],
        bounds: HashMap::default(),
        container_names: vec!["app".into()],
        connected: true,
        refused: None,
        sight: None,
        recorded_by: None,
    }
}

fn process(container: &str, readiness: Readiness) -> Process {
    Process {
        id: PROCESS,
        container: container.into(),
        command: "node server.js".into(),
        readiness,
        cpu_millicores: None,
    }
}

fn seeing(processes: Vec<Process>) -> PodFacts {
    let seen = Seen { request: RequestUid("r1".into()), processes, others: 0, lookalikes: vec![] };
    PodFacts { sight: Some(Sight { seen, at: at(1) }), ..pod("a") }
}

fn with(pods: Vec<PodFacts>) -> Observed {
    let chosen = pods.iter().map(|pod| {
        (pod.uid.clone(), ChosenPod { alive: true, connected: pod.connected, became_unready: false })
    });
    Observed { chosen: chosen.collect(), candidates: Candidates::Pods(pods), ..Observed::default() }
}

fn key() -> SessionKey {
    SessionKey { request: RequestUid("r1".into()), pod: PodUid("a".into()), process: PROCESS }
}

fn report(phase: SessionPhase) -> SessionReport {
    SessionReport {
        request: RequestUid("r1".into()),
        process: PROCESS,
        container: "app".into(),
        phase,
        node_version: None,
        attach: None,
        stall: Stall::default(),
        remark: None,
        load: None,
        preflight: None,
    }
}

fn recording() -> SessionPhase {
    SessionPhase::Recording { elapsed_ms: 1_000, duration_ms: 30_000 }
}

fn published() -> SessionPhase {
    SessionPhase::Published {
        artifact: Uploaded {
            upload_id: "u".into(),
            parts: vec![],
            bytes: 5,
            uncompressed_bytes: 50,
            sha256: "00".into(),
        },
        more: vec![],
        ended_early: None,
        recorded_ms: 30_000,
    }
}

fn artifact() -> Artifact {
    Artifact {
        thread: None,
        name: "a-17.cpuprofile".into(),
        r#type: pitwall_crds::ProfileType::Cpu,
        key: "shop/checkout/slow-r1/a-17.cpuprofile".into(),
        bytes: 5,
        uncompressed_bytes: 50,
        sha256: "00".into(),
        encoding: "gzip".into(),
        media_type: "application/json".into(),
    }
}

/// A target in pod `a` in a phase.
fn target(phase: TargetPhase) -> TargetStatus {
    let mut target = in_pod("a", &PodUid("a".into()));
    set_process(&mut target, PROCESS, "app");
    target.phase = phase;
    target
}

fn holding(targets: Vec<TargetStatus>) -> impl FnOnce(&mut ProfileRequest) {
    move |request| {
        request.metadata.finalizers = Some(vec![pitwall_crds::names::FINALIZER.into()]);
        request.status = Some(ProfileRequestStatus { targets, ..ProfileRequestStatus::default() });
    }
}

fn in_flight(phase: SessionPhase) -> Observed {
    let mut observed = with(vec![pod("a")]);
    observed.candidates = Candidates::NotAsked;
    observed.sessions = HashMap::from([(key(), report(phase))]);
    observed.pod_names = HashMap::from([(PodUid("a".into()), "a".into())]);
    observed
}

/// The reason of the plan's first failed target, or of the choice.
fn reason(plan: &Plan) -> Option<Reason> {
    match &plan.choice {
        Choice::Made => plan.targets.first().and_then(|target| target.reason),
        Choice::Waits(reason, _) | Choice::Impossible(reason, _) => Some(*reason),
    }
}

#[test]
fn a_target_that_can_never_be_recorded_fails_at_once_and_says_why() {
    let missing = Observed { candidates: Candidates::Missing, ..Observed::default() };
    let bare = PodFacts { injected: false, ..pod("a") };
    let two = seeing(vec![process("app", Readiness::Ready), process("proxy", Readiness::Ready)]);
    let disabled = Failure {
        reason: FailureReason::InspectorDisabled,
        message: "SigBlk of process 17 holds SIGUSR1".into(),
    };
    for (observed, wanted) in [
        (missing, Reason::TargetNotFound),
        (with(vec![]), Reason::NoPods),
        (with(vec![bare]), Reason::NotInjected),
        (with(vec![seeing(vec![])]), Reason::NoNodeProcess),
        (with(vec![two]), Reason::SeveralContainers),
        (with(vec![seeing(vec![process("app", Readiness::NotReady(disabled))])]), Reason::InspectorDisabled),
    ] {
        let request = request(|_| {});
        let plan = plan(&request, &observed, at(2));
        assert_eq!(reason(&plan), Some(wanted));
        let status = status::status(&request, &observed, plan, &status::Applied::default(), at(2));
        let finished = status.conditions.iter().find(|condition| condition.type_ == "Finished").unwrap();
        assert_eq!((finished.status.as_str(), finished.reason.as_str()), ("True", wanted.as_str()));
        assert!(finished.message.len() > 15, "{}", finished.message);
    }
}

#[test]
fn a_runtime_that_people_take_for_node_is_named() {
    let mut bun = seeing(vec![]);
    let sight = bun.sight.as_mut().unwrap();
    sight.seen.lookalikes =
        vec![pitwall_protocol::Lookalike { pid: 7, container: "app".into(), runtime: "Bun".into() }];
    let plan = plan(&request(|_| {}), &with(vec![bun]), at(2));
    assert_eq!(reason(&plan), Some(Reason::NoNodeProcess));
    let message = plan.targets[0].message.clone().unwrap();
    assert!(message.ends_with("pid 7 in container app is Bun, which Pitwall can't record"), "{message}");
}

#[test]
fn the_container_that_was_named_must_exist() {
    let observed = with(vec![seeing(vec![process("app", Readiness::Ready)])]);
    let request = request(|request| request.spec.target.container = Some("web".into()));
    assert_eq!(reason(&plan(&request, &observed, at(2))), Some(Reason::ContainerNotFound));
}

#[test]
fn a_sidecar_that_was_turned_away_is_not_waited_for() {
    let old = PodFacts { connected: false, refused: Some("it speaks version 0".into()), ..pod("a") };
    let plan = plan(&request(|_| {}), &with(vec![old]), at(2));
    assert_eq!(reason(&plan), Some(Reason::UnsupportedBySidecar));
}

#[test]
fn what_may_still_come_is_waited_for_and_no_longer_than_the_deadline() {
    let starting = PodFacts { running: false, ..pod("a") };
    let away = PodFacts { connected: false, ..pod("a") };
    let young = Failure { reason: FailureReason::NotReady, message: "SigCgt lacks SIGUSR1".into() };
    let young = seeing(vec![process("app", Readiness::NotReady(young))]);
    let busy =
        PodFacts { recorded_by: Some("shop/other".into()), ..seeing(vec![process("app", Readiness::Ready)]) };
    for (pod, waits_for, in_the_end) in [
        (starting, Reason::NoPodReady, Reason::NoPodReady),
        (away, Reason::WaitingForSidecar, Reason::SidecarLost),
        (young, Reason::NotReady, Reason::DeadlineExceeded),
        (busy, Reason::TargetBusy, Reason::DeadlineExceeded),
    ] {
        let request = request(|_| {});
        let early = plan(&request, &with(vec![pod.clone()]), at(2));
        assert_eq!(reason(&early), Some(waits_for));
        assert!(early.again.is_some());
        assert!(!early.targets.iter().any(|target| target.phase.is_over()));
        let late = plan(&request, &with(vec![pod]), at(901));
        assert_eq!(reason(&late), Some(in_the_end));
    }
}

#[test]
fn a_second_request_waits_or_is_refused_as_it_asked() {
    let busy =
        PodFacts { recorded_by: Some("shop/other".into()), ..seeing(vec![process("app", Readiness::Ready)]) };
    // The other session's inspector is what the sidecar sees.
    let open = Failure { reason: FailureReason::InspectorAlreadyOpen, message: "9229".into() };
    let sight = seeing(vec![process("app", Readiness::NotReady(open))]).sight;
    let observed = with(vec![PodFacts { sight, ..busy }]);
    let waits = plan(&request(|_| {}), &observed, at(2));
    assert_eq!((waits.targets[0].phase, reason(&waits)), (TargetPhase::Pending, Some(Reason::TargetBusy)));
    assert!(waits.targets[0].message.as_ref().unwrap().contains("shop/other"));
    let refused = plan(&request(|r| r.spec.concurrency = Concurrency::Refuse), &observed, at(2));
    assert_eq!((refused.targets[0].phase, reason(&refused)), (TargetPhase::Failed, Some(Reason::TargetBusy)));
}

#[test]
fn a_ready_process_is_started_once() {
    let observed = with(vec![seeing(vec![process("app", Readiness::Ready)])]);
    let plan = plan(&request(|_| {}), &observed, at(2));
    let starts = plan.actions.iter().filter(|action| matches!(action, Action::Start { .. })).count();
    assert_eq!((starts, plan.targets[0].phase), (1, TargetPhase::Attaching));
}

#[test]
fn a_namespace_has_snapshots_redacted_whatever_the_request_says() {
    let mut observed = with(vec![seeing(vec![process("app", Readiness::Ready)])]);
    for (r#type, asked, must_redact, redacted) in [
        (ProfileType::HeapSnapshot, Redaction::None, false, false),
        (ProfileType::HeapSnapshot, Redaction::None, true, true),
        (ProfileType::HeapSnapshot, Redaction::Strings, false, true),
        (ProfileType::Cpu, Redaction::None, true, false),
    ] {
        for count in [1, 3] {
            let asking = request(|request| {
                request.spec.r#type = r#type;
                request.spec.heap_snapshot =
                    Some(HeapSnapshotSettings { redact: asked, count, ..HeapSnapshotSettings::default() });
            });
            observed.must_redact = must_redact;
            let plan = plan(&asking, &observed, at(2));
            let started = plan.actions.iter().find_map(|action| match action {
                Action::Start { recording, .. } => Some(recording.redacts()),
                _ => None,
            });
            assert_eq!(started, Some(redacted), "{type:?} {asked:?} {must_redact}");
            assert_eq!(plan.targets[0].redact.is_some(), redacted);
        }
    }
}

#[test]
fn processes_of_one_pod_are_recorded_one_after_another() {
    let other = Process { id: ProcessId { pid: 18, start_ticks: 4243 }, ..process("app", Readiness::Ready) };
    let observed = with(vec![seeing(vec![process("app", Readiness::Ready), other])]);
    let plan = plan(&request(|_| {}), &observed, at(2));
    let phases: Vec<_> = plan.targets.iter().map(|target| target.phase).collect();
    assert_eq!(phases, [TargetPhase::Attaching, TargetPhase::Pending]);
    assert_eq!(plan.actions.iter().filter(|action| matches!(action, Action::Start { .. })).count(), 1);
}

#[test]
fn pods_are_picked_as_asked_and_ready_ones_first() {
    let ready = |name: &str, since| PodFacts { ready_since: Some(at(since)), ..pod(name) };
    let unready = PodFacts { ready_since: None, created: at(-900), ..pod("unready") };
    let pods = vec![unready, ready("new", -10), ready("old", -500)];
    for (pick, limit, wanted) in [
        (PodPick::Oldest, 1, vec!["old"]),
        (PodPick::Newest, 1, vec!["new"]),
        (PodPick::Newest, 3, vec!["new", "old", "unready"]),
    ] {
        let request = request(|request| {
            request.spec.target.pods.pick = pick;
            request.spec.target.pods.limit = Share::Count(limit);
        });
        let plan = plan(&request, &with(pods.clone()), at(2));
        assert_eq!(plan.targets.iter().map(|target| target.pod.as_str()).collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn the_busiest_pods_are_found_by_measuring_all() {
    let measured = |name: &str, millicores: u32| {
        let process = Process { cpu_millicores: Some(millicores), ..process("app", Readiness::Ready) };
        PodFacts { sight: seeing(vec![process]).sight, ..pod(name) }
    };
    let mut request = request(|request| {
        request.spec.target.pods.pick = PodPick::Busiest;
        request.spec.target.pods.limit = Share::Percent(50);
    });
    let absent = PodFacts { connected: false, ..pod("absent") };
    let unknown = plan(&request, &with(vec![measured("a", 10), pod("b"), absent.clone()]), at(2));
    let looks: Vec<_> = unknown.actions.iter().filter(|one| matches!(one, Action::Look { .. })).collect();
    assert_eq!(looks, [&look(&pod("b"), MEASURE)], "once each, and only where somebody answers");
    assert!(unknown.targets.is_empty() && matches!(unknown.choice, Choice::Waits(Reason::InProgress, _)));

    let pods = vec![measured("idle", 3), absent, measured("busy", 900), measured("warm", 50)];
    let names = |plan: &Plan| plan.targets.iter().map(|target| target.pod.clone()).collect::<Vec<_>>();
    assert_eq!(names(&plan(&request, &with(pods.clone()), at(2))), ["busy", "warm"]);
    request.limit = Share::Percent(100);
    let all = plan(&request, &with(pods), at(2));
    assert_eq!(all.targets.len(), 4, "nothing is to be measured where all are recorded");
}

#[test]
fn no_more_pods_are_recorded_at_once_than_asked_for() {
    let named =
        |name: &str| TargetStatus { pod: name.into(), pod_uid: name.into(), ..target(TargetPhase::Pending) };
    let pods: Vec<_> = ["a", "b", "c", "d"].map(pod).into();
    for (at_once, started) in [(None, 4), (Some(Share::Count(1)), 1), (Some(Share::Percent(50)), 2)] {
        let request = request(|request| {
            holding(vec![named("a"), named("b"), named("c"), named("d")])(request);
            request.spec.target.pods.at_once = at_once;
        });
        let plan = plan(&request, &with(pods.clone()), at(2));
        let starts = plan.actions.iter().filter(|action| matches!(action, Action::Start { .. })).count();
        assert_eq!(starts, started, "{at_once:?}");
        let waiting = plan.targets.iter().filter(|target| target.reason == Some(Reason::WaitingForTurn));
        assert_eq!(waiting.count(), 4 - started);
    }
    let snapshots = request(|request| {
        holding(vec![named("a"), named("b")])(request);
        request.spec.r#type = ProfileType::HeapSnapshot;
    });
    let plan = plan(&snapshots, &with(pods), at(2));
    assert_eq!(plan.actions.iter().filter(|action| matches!(action, Action::Start { .. })).count(), 1);
}

#[test]
fn an_operator_that_starts_anew_adopts_the_sessions_that_run() {
    // It ended between telling the sidecar to start and writing that down.
    let plan = plan(&request(|_| {}), &in_flight(recording()), at(5));
    assert_eq!(plan.targets.len(), 1);
    assert_eq!((plan.targets[0].phase, plan.targets[0].pid), (TargetPhase::Recording, Some(17)));
    assert_eq!(plan.targets[0].pod, "a", "the artifact's key is made of it");
    assert!(!plan.actions.iter().any(|action| matches!(action, Action::Start { .. } | Action::Look { .. })));
}

#[test]
fn stop_keeps_and_deletion_discards() {
    let stopped = request(|request| {
        holding(vec![target(TargetPhase::Recording)])(request);
        request.spec.stop = true;
    });
    let stop = |keep| Action::Stop { pod: PodUid("a".into()), keep, why: None };
    assert!(plan(&stopped, &in_flight(recording()), at(5)).actions.contains(&stop(true)));
    let deleted = request(|request| {
        holding(vec![target(TargetPhase::Recording)])(request);
        request.metadata.deletion_timestamp = Some(Time(at(5)));
    });
    assert_eq!(plan(&deleted, &in_flight(recording()), at(6)).actions, [stop(false)]);
}

#[test]
fn a_pod_that_stops_being_ready_ends_its_recording_unless_that_is_to_be_ignored() {
    for (readiness, became_unready, stops) in
        [(OnUnready::Stop, true, true), (OnUnready::Stop, false, false), (OnUnready::Ignore, true, false)]
    {
        let request = request(|request| {
            holding(vec![target(TargetPhase::Recording)])(request);
            request.spec.safety.guard.readiness = readiness;
        });
        let mut observed = in_flight(recording());
        observed
            .chosen
            .insert(PodUid("a".into()), ChosenPod { alive: true, connected: true, became_unready });
        let why = Some(EarlyEnd::NotReady);
        let stop = Action::Stop { pod: PodUid("a".into()), keep: true, why };
        assert_eq!(plan(&request, &observed, at(5)).actions.contains(&stop), stops, "{readiness:?}");
    }
}

#[test]
fn a_rollout_defers_refuses_or_is_let_be() {
    for (during, when, phase, wanted) in [
        (DuringRollout::Defer, 2, pitwall_crds::Phase::Deferred, Some(Reason::RolloutInProgress)),
        (DuringRollout::Defer, 2000, pitwall_crds::Phase::Failed, Some(Reason::RolloutInProgress)),
        (DuringRollout::Refuse, 2, pitwall_crds::Phase::Failed, Some(Reason::RolloutInProgress)),
        (DuringRollout::Allow, 2, pitwall_crds::Phase::Running, None),
    ] {
        let request = request(|request| request.spec.safety.during_rollout = during);
        let mut observed = with(vec![seeing(vec![process("app", Readiness::Ready)])]);
        observed.rollout = Some("1 of 2 new pods are there".to_owned());
        let plan = plan(&request, &observed, at(when));
        assert_eq!(reason(&plan), wanted, "{during:?}");
        assert_eq!(plan.targets.is_empty(), wanted.is_some());
        let status = status::status(&request, &observed, plan, &status::Applied::default(), at(when));
        assert_eq!(status.phase, Some(phase), "{during:?}");
    }
}

#[test]
fn a_dry_run_ends_without_an_artifact_and_without_failing() {
    let request = request(|request| {
        holding(vec![target(TargetPhase::Attaching)])(request);
        request.spec.dry_run = true;
    });
    let observed = in_flight(SessionPhase::Checked);
    let plan = plan(&request, &observed, at(5));
    assert!(!plan.actions.iter().any(|action| matches!(action, Action::Collect { .. } | Action::Analyse(_))));
    let status = status::status(&request, &observed, plan, &status::Applied::default(), at(5));
    assert_eq!(status.phase, Some(pitwall_crds::Phase::Succeeded));
    let condition = |kind: &str| status.conditions.iter().find(|condition| condition.type_ == kind);
    assert_eq!(condition("Finished").map(|one| one.reason.as_str()), Some("Checked"));
    assert!(condition("Complete").is_none() && condition("Failed").is_none());
}

#[test]
fn whatever_has_a_session_is_held() {
    let lost_it = |phase| {
        request(|request| {
            holding(vec![target(phase)])(request);
            request.metadata.finalizers = None;
        })
    };
    let recording = lost_it(TargetPhase::Recording);
    assert_eq!(plan(&recording, &in_flight(self::recording()), at(1)).actions, [Action::Hold]);
    // A finished one too: its artifacts are to go with it.
    let mut finished = lost_it(TargetPhase::Succeeded);
    let over = json!([{ "type": "Finished", "status": "True", "reason": "AllStored", "message": "",
                        "lastTransitionTime": "1970-01-01T00:01:40Z" }]);
    finished.previous.conditions = serde_json::from_value(over).unwrap();
    assert!(plan(&finished, &Observed::default(), at(1)).actions.contains(&Action::Hold));
    // Nothing to clean up yet.
    let waiting = request(|_| ());
    assert!(!plan(&waiting, &with(vec![]), at(1)).actions.contains(&Action::Hold));
}

#[test]
fn a_deletion_ends_whatever_stays_away() {
    let deleted = request(|request| {
        holding(vec![target(TargetPhase::Recording)])(request);
        request.metadata.deletion_timestamp = Some(Time(at(0)));
    });
    // The sidecar does not answer: after half of the patience the store is cleaned all the same.
    assert!(plan(&deleted, &in_flight(recording()), at(31)).actions.contains(&Action::DeleteArtifacts));
    // The store does not answer either.
    assert!(plan(&deleted, &in_flight(recording()), at(61)).actions.contains(&Action::Tombstone));
    // The sidecar has thrown it away: cleaned at once, and let go.
    let ended = plan(&deleted, &in_flight(SessionPhase::Discarded), at(1)).actions;
    assert_eq!(ended, [Action::Acknowledge(key()), Action::DeleteArtifacts]);
}

#[test]
fn an_upload_is_collected_once_and_acknowledged_only_when_its_end_is_written() {
    let running = request(holding(vec![target(TargetPhase::Recording)]));
    let mut observed = in_flight(published());
    let first = plan(&running, &observed, at(40));
    assert!(matches!(first.actions[..], [Action::Collect { .. }]), "{:?}", first.actions);
    observed.collections.insert(key(), CollectionState::Running);
    assert_eq!(plan(&running, &observed, at(40)).actions, []);
    observed.collections.insert(key(), CollectionState::Stored(vec![artifact()]));
    let stored = plan(&running, &observed, at(41));
    assert_eq!(stored.actions, [Action::Analyse(vec![artifact()]), Action::WriteManifest]);
    assert_eq!(stored.targets[0].phase, TargetPhase::Stored);
    // It ends when both are through, in either order.
    for (analysis, manifest, phase) in [
        (Some(AnalysisState::Running), Some(true), TargetPhase::Stored),
        (Some(AnalysisState::Failed("ended".into())), Some(false), TargetPhase::Stored),
        (Some(AnalysisState::Failed("ended".into())), Some(true), TargetPhase::Succeeded),
    ] {
        let observed = Observed { analysis, manifest, ..observed.clone() };
        assert_eq!(plan(&running, &observed, at(41)).targets[0].phase, phase);
    }
    let written = request(holding(stored.targets));
    assert!(plan(&written, &observed, at(41)).actions.contains(&Action::Acknowledge(key())));
}

#[test]
fn a_session_that_vanished_is_not_waited_for_until_the_deadline() {
    let running = request(holding(vec![target(TargetPhase::Recording)]));
    for (alive, connected, missed_for, wanted) in [
        (false, false, 0, Some(Reason::PodGone)),
        (true, true, 5, None),
        (true, true, 11, Some(Reason::SidecarRestarted)),
        (true, false, 60, None),
        (true, false, 151, Some(Reason::SidecarLost)),
    ] {
        let mut observed = Observed::default();
        observed.chosen.insert(PodUid("a".into()), ChosenPod { alive, connected, became_unready: false });
        observed.missed_since.insert(key(), at(10));
        let plan = plan(&running, &observed, at(10 + missed_for));
        assert_eq!(plan.targets[0].reason, wanted, "{alive} {connected} {missed_for}");
    }
}

#[test]
fn what_is_recorded_by_the_deadline_is_not_thrown_away() {
    let mut uploading = target(TargetPhase::Recording);
    uploading.recorded = None;
    let running = request(holding(vec![uploading]));
    let mut observed = in_flight(published());
    observed.collections.insert(key(), CollectionState::Running);
    assert!(!plan(&running, &observed, at(930)).targets[0].phase.is_over());
    // Still recording well past the deadline: the sidecar failed to keep it, so the operator does.
    let late = plan(&running, &in_flight(recording()), at(930));
    assert_eq!(
        (late.targets[0].phase, late.targets[0].reason),
        (TargetPhase::Failed, Some(Reason::DeadlineExceeded))
    );
}

#[test]
fn a_finished_request_expires_after_its_ttl() {
    let finished = |ttl: &str| {
        request(|request| {
            let status = json!({
                "completionTime": "1970-01-01T00:01:40Z",
                "conditions": [{ "type": "Finished", "status": "True", "reason": "AllStored", "message": "",
                                 "lastTransitionTime": "1970-01-01T00:01:40Z" }],
            });
            request.status = Some(serde_json::from_value(status).unwrap());
            request.spec.ttl_after_finished = Some(ttl.parse().unwrap());
        })
    };
    let none = Observed::default();
    assert_eq!(plan(&finished("60s"), &none, at(160)).actions, [Action::Forget, Action::DeleteRequest]);
    let kept = plan(&finished("60s"), &none, at(130));
    assert_eq!((kept.actions, kept.again), (vec![Action::Forget], Some(Duration::from_secs(31))));
}

#[test]
fn a_sidecar_that_is_busy_after_all_is_waited_for() {
    let busy = SessionPhase::Failed(Failure {
        reason: FailureReason::Busy,
        message: "recorded for shop/other".into(),
    });
    let waits =
        plan(&request(holding(vec![target(TargetPhase::Attaching)])), &in_flight(busy.clone()), at(5));
    assert_eq!((waits.targets[0].phase, reason(&waits)), (TargetPhase::Pending, Some(Reason::TargetBusy)));
    assert_eq!(waits.actions, [Action::Acknowledge(key())]);
    let strict = request(|request| {
        holding(vec![target(TargetPhase::Attaching)])(request);
        request.spec.concurrency = Concurrency::Refuse;
    });
    let refused = plan(&strict, &in_flight(busy), at(5));
    assert_eq!((refused.targets[0].phase, reason(&refused)), (TargetPhase::Failed, Some(Reason::TargetBusy)));
}

#[test]
fn a_start_that_was_lost_with_its_connection_is_said_again() {
    let mut observed = Observed::default();
    observed
        .chosen
        .insert(PodUid("a".into()), ChosenPod { alive: true, connected: true, became_unready: false });
    observed.missed_since.insert(key(), at(10));
    let started = request(holding(vec![target(TargetPhase::Attaching)]));
    assert_eq!(plan(&started, &observed, at(11)).targets[0].phase, TargetPhase::Attaching);
    assert_eq!(plan(&started, &observed, at(13)).targets[0], in_pod("a", &PodUid("a".into())));
}

#[test]
fn the_upload_of_a_failed_target_is_aborted() {
    let failed =
        SessionPhase::Failed(Failure { reason: FailureReason::ProcessExited, message: "it ended".into() });
    let running = request(holding(vec![target(TargetPhase::Recording)]));
    assert_eq!(plan(&running, &in_flight(failed), at(9)).actions, [Action::AbortUploads]);
}
