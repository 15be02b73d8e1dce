//! Heap sampling and heap snapshots of real Node processes.

mod pod;

use pitwall_protocol::{
    Check, ContainerBounds, EarlyEnd, FailureReason, Recording, SessionPhase, SessionReport, Start,
};
use pitwall_test_node::EVERY_NODE;
use pod::Pod;
use pod::app::App;
use pod::operator::Channel;
use std::time::Duration;

const NODE: &str = "22.23.3";
const SNAPSHOT: Recording = Recording::HeapSnapshot { redact: false };

fn sampling(collected: bool) -> Recording {
    Recording::HeapSampling { sampling_interval_bytes: 4 << 10, collected }
}

async fn heap_app(pod: &Pod, version: &str) -> App {
    App::node(&pod.container, version, &["--inspect-port=0"], "heap.js").await
}

fn snapshot_of(pod: &Pod, app: &App) -> Start {
    let grant = pod.store.grant("r", 1 << 20, 1, 100);
    Start { recording: SNAPSHOT, grant, ..pod.start("r", app.id(), Duration::ZERO) }
}

async fn run(pod: &Pod, channel: &mut Channel, start: &Start) -> SessionReport {
    pod.begin(channel, start).await;
    channel.end().await
}

/// The functions of a `.heapprofile`, each with the bytes that it allocated.
fn allocated(node: &serde_json::Value, into: &mut Vec<(String, u64)>) {
    let name = node["callFrame"]["functionName"].as_str().expect("a name").to_owned();
    into.push((name, node["selfSize"].as_u64().expect("bytes")));
    for child in node["children"].as_array().expect("children") {
        allocated(child, into);
    }
}

fn most(profile: &serde_json::Value) -> (String, u64) {
    let mut all = vec![];
    allocated(&profile["head"], &mut all);
    all.retain(|(name, _)| !name.starts_with('('));
    all.into_iter().max_by_key(|(_, bytes)| *bytes).expect("a function")
}

#[tokio::test]
async fn live_objects_are_sampled_on_every_node_version() {
    for version in EVERY_NODE {
        let (pod, mut channel) = Pod::connected().await;
        let app = heap_app(&pod, version).await;
        let recording = sampling(false);
        let start = Start { recording, ..pod.start("r", app.id(), Duration::from_secs(2)) };
        let end = run(&pod, &mut channel, &start).await;
        let (_, profile) = pod.published(&end);
        assert_eq!(most(&profile).0, "keepSome", "{version}");
        assert!(end.attach.as_ref().expect("it attached").closed && end.stall.stop_us > 0);
        assert_eq!(app.other_ports(), [] as [u16; 0]);
        app.serves().await;
        pod.acknowledge(&mut channel, &end).await;
    }
}

#[tokio::test]
async fn what_the_collector_freed_is_sampled_where_node_can() {
    for version in &EVERY_NODE[1..] {
        let (pod, mut channel) = Pod::connected().await;
        let app = heap_app(&pod, version).await;
        let recording = sampling(true);
        let start = Start { recording, ..pod.start("r", app.id(), Duration::from_secs(2)) };
        let (_, profile) = pod.published(&run(&pod, &mut channel, &start).await);
        assert_eq!(most(&profile).0, "dropMuch", "{version}");
    }
    let (pod, mut channel) = Pod::connected().await;
    let app = heap_app(&pod, EVERY_NODE[0]).await;
    let start = Start { recording: sampling(true), ..pod.start("r", app.id(), Duration::from_secs(2)) };
    let end = run(&pod, &mut channel, &start).await;
    let SessionPhase::Failed(failure) = &end.phase else { panic!("{end:?}") };
    assert_eq!(failure.reason, FailureReason::UnsupportedByNode);
    assert!(failure.message.contains("heapSampling.include"), "{}", failure.message);
    assert_eq!(app.other_ports(), [] as [u16; 0]);
    app.serves().await;
}

#[tokio::test]
async fn a_heap_snapshot_of_every_node_version_is_complete_and_names_what_is_kept() {
    for version in EVERY_NODE {
        let (pod, mut channel) = Pod::connected().await;
        let mut app = heap_app(&pod, version).await;
        pod.begin(&mut channel, &snapshot_of(&pod, &app)).await;
        channel.report(|report| matches!(report.phase, SessionPhase::Collecting { .. })).await;
        let end = channel.end().await;
        let (_, snapshot) = pod.published(&end);
        let fields = snapshot["snapshot"]["meta"]["node_fields"].as_array().expect("fields").len();
        let nodes = snapshot["nodes"].as_array().expect("nodes").len();
        assert_eq!(
            nodes as u64,
            snapshot["snapshot"]["node_count"].as_u64().expect("a count") * fields as u64
        );
        let strings = snapshot["strings"].as_array().expect("strings");
        for kept in ["KeptThing", "a text that is kept: \u{e9}\u{4e16} \"\\"] {
            assert!(strings.iter().any(|one| one == kept), "{kept} of {version}");
        }
        let preflight = end.preflight.clone().expect("it was checked");
        assert!(
            preflight.heap_bytes > 1 << 20 && preflight.used_bytes > preflight.heap_bytes,
            "{preflight:?}"
        );
        let SessionPhase::Published { artifact, .. } = &end.phase else { unreachable!() };
        assert!(artifact.uncompressed_bytes <= preflight.artifact_bytes, "{version}: {preflight:?}");
        assert!(u128::from(end.stall.stop_us) / 1000 <= 4 * u128::from(preflight.pause_ms), "{end:?}");
        assert_eq!(app.other_ports(), [] as [u16; 0]);
        app.says("tick").await;
        app.serves().await;
        pod.acknowledge(&mut channel, &end).await;
    }
}

#[tokio::test]
async fn a_snapshot_that_could_kill_its_pod_is_refused_with_the_numbers_unless_overridden() {
    let (pod, mut channel) = Pod::connected().await;
    let app = heap_app(&pod, NODE).await;
    let bounds = ContainerBounds {
        memory_bytes: Some(64 << 20),
        liveness_patience_ms: Some(1),
        readiness_patience_ms: Some(60_000),
    };
    let start = Start { bounds, overridden: vec![Check::LivenessProbe], ..snapshot_of(&pod, &app) };
    let end = run(&pod, &mut channel, &start).await;
    let SessionPhase::Failed(failure) = &end.phase else { panic!("{end:?}") };
    assert_eq!(failure.reason, FailureReason::PreflightRefused);
    assert!(failure.message.ends_with("safety.override: MemoryLimit"), "{}", failure.message);
    assert!(failure.message.contains("64 MiB"), "{}", failure.message);
    assert_eq!(end.preflight.as_ref().expect("checked").checks.len(), 5);
    assert!(end.attach.as_ref().expect("it attached").closed);
    pod.acknowledge(&mut channel, &end).await;

    let overridden = vec![Check::LivenessProbe, Check::MemoryLimit];
    let again = Start { overridden, request: pitwall_protocol::RequestUid("again".into()), ..start };
    let again = Start { grant: pod.store.grant("again", 1 << 20, 1, 100), ..again };
    pod.published(&run(&pod, &mut channel, &again).await);
}

#[tokio::test]
async fn a_dry_run_proves_and_checks_and_leaves_everything_as_it_was() {
    for recording in [SNAPSHOT, sampling(false), Recording::Cpu { sampling_interval_us: 1000 }] {
        let (pod, mut channel) = Pod::connected().await;
        let app = heap_app(&pod, NODE).await;
        let duration = if recording == SNAPSHOT { Duration::ZERO } else { Duration::from_mins(5) };
        let recording = Recording::Check { recording: Box::new(recording) };
        let start = Start { recording, ..pod.start("r", app.id(), duration) };
        let end = run(&pod, &mut channel, &start).await;
        assert_eq!(end.phase, SessionPhase::Checked);
        let preflight = end.preflight.clone().expect("checked");
        assert!(preflight.pause_ms > 0 && preflight.growth_bytes > 0, "{preflight:?}");
        assert_eq!(end.stall, pitwall_protocol::Stall::default());
        assert_eq!(app.other_ports(), [] as [u16; 0]);
        assert_eq!(pod.store.uploads(), [] as [String; 0]);
        app.serves().await;
        pod.acknowledge(&mut channel, &end).await;
    }
}

#[tokio::test]
async fn a_dry_run_says_what_this_version_of_node_can_not_record() {
    let (pod, mut channel) = Pod::connected().await;
    let app = heap_app(&pod, EVERY_NODE[0]).await;
    let recording = Recording::Check { recording: Box::new(sampling(true)) };
    let end =
        run(&pod, &mut channel, &Start { recording, ..pod.start("r", app.id(), Duration::from_mins(5)) })
            .await;
    let SessionPhase::Failed(failure) = &end.phase else { panic!("{end:?}") };
    assert_eq!(failure.reason, FailureReason::UnsupportedByNode);
    assert_eq!(app.other_ports(), [] as [u16; 0]);
    pod.acknowledge(&mut channel, &end).await;
}

/// The ids of the objects of this class in a snapshot.
fn ids_of(snapshot: &serde_json::Value, class: &str) -> Vec<u64> {
    let fields = snapshot["snapshot"]["meta"]["node_fields"].as_array().expect("fields");
    let at = |name: &str| fields.iter().position(|field| field == name).expect("a field");
    let (name, id, kind) = (at("name"), at("id"), at("type"));
    let types = snapshot["snapshot"]["meta"]["node_types"][0].as_array().expect("types");
    let object = types.iter().position(|one| one == "object").expect("objects") as u64;
    let strings = snapshot["strings"].as_array().expect("strings");
    let nodes: Vec<u64> =
        snapshot["nodes"].as_array().expect("nodes").iter().map(|n| n.as_u64().expect("a number")).collect();
    let of_class = |node: &&[u64]| {
        let text = usize::try_from(node[name]).ok().and_then(|index| strings[index].as_str());
        node[kind] == object && text == Some(class)
    };
    nodes.chunks(fields.len()).filter(of_class).map(|node| node[id]).collect()
}

fn series(count: u32, interval_ms: u64) -> Recording {
    Recording::Series { recording: Box::new(SNAPSHOT), count, interval_ms }
}

/// The end of a series, and its snapshots.
async fn snapshots(pod: &Pod, channel: &mut Channel) -> (SessionReport, Vec<serde_json::Value>) {
    let end = pod.end(channel).await;
    let (_, first) = pod.published(&end);
    let SessionPhase::Published { more, .. } = &end.phase else { unreachable!() };
    let names: Vec<_> = more.iter().map(|one| one.name.clone()).collect();
    let expected: Vec<_> = (2..names.len() + 2).map(|number| format!("snapshot-{number}")).collect();
    assert_eq!(names, expected);
    let all = [first].into_iter().chain(more.iter().map(|one| pod.stored(&one.uploaded))).collect();
    (end, all)
}

#[tokio::test]
async fn objects_keep_their_ids_in_the_snapshots_of_a_series_on_every_node_version() {
    for version in EVERY_NODE {
        let (pod, mut channel) = Pod::connected().await;
        let app = heap_app(&pod, version).await;
        pod.begin(&mut channel, &Start { recording: series(3, 1000), ..snapshot_of(&pod, &app) }).await;
        let (end, all) = snapshots(&pod, &mut channel).await;
        assert_eq!(all.len(), 3, "{version}: {end:?}");
        let sentinels: Vec<_> = all.iter().map(|snapshot| ids_of(snapshot, "Sentinel")).collect();
        assert_eq!(sentinels[0].len(), 1, "{version}");
        assert!(sentinels.iter().all(|ids| *ids == sentinels[0]), "{version}: {sentinels:?}");
        let things: Vec<_> = all.iter().map(|snapshot| ids_of(snapshot, "KeptThing").len()).collect();
        assert!(things.is_sorted() && things[0] < things[2], "{version}: {things:?}");
        let preflight = end.preflight.clone().expect("it was checked");
        assert!(preflight.checks.iter().any(|one| one.check == Check::SeriesCost && one.holds));
        assert_eq!(app.other_ports(), [] as [u16; 0]);
        app.serves().await;
        pod.acknowledge(&mut channel, &end).await;
    }
}

#[tokio::test]
async fn a_series_that_is_stopped_keeps_the_snapshots_that_there_are() {
    let (pod, mut channel) = Pod::connected().await;
    let app = heap_app(&pod, NODE).await;
    pod.begin(&mut channel, &Start { recording: series(3, 30_000), ..snapshot_of(&pod, &app) }).await;
    let first_done = |percent: Option<u8>| percent.is_some_and(|percent| percent >= 33);
    channel
        .report(|report| matches!(report.phase, SessionPhase::Collecting { percent } if first_done(percent)))
        .await;
    pod.stop(&mut channel, "r", true).await;
    let (end, all) = snapshots(&pod, &mut channel).await;
    assert_eq!(all.len(), 1);
    let SessionPhase::Published { ended_early, .. } = &end.phase else { unreachable!() };
    assert_eq!(*ended_early, Some(EarlyEnd::Stopped));
    assert_eq!(app.other_ports(), [] as [u16; 0]);
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn an_app_that_is_killed_between_two_snapshots_has_the_first() {
    let (pod, mut channel) = Pod::connected().await;
    let mut app = heap_app(&pod, NODE).await;
    pod.begin(&mut channel, &Start { recording: series(2, 60_000), ..snapshot_of(&pod, &app) }).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Collecting { percent: Some(50) })).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    app.child.kill().await.expect("it is killed");
    let (end, all) = snapshots(&pod, &mut channel).await;
    assert_eq!(all.len(), 1);
    let SessionPhase::Published { ended_early, .. } = &end.phase else { unreachable!() };
    assert_eq!(*ended_early, Some(EarlyEnd::Cut));
    pod.acknowledge(&mut channel, &end).await;
}

/// A sampling of what `churn.js` allocates, 4 KiB apart at first, in so much time.
fn churning(pod: &Pod, app: &App, recording: Recording, window: Duration) -> Start {
    let grant = pod.store.grant("r", 1 << 20, 1, 100);
    Start { recording, grant, ..pod.start("r", app.id(), window) }
}

/// Bytes by function, of `churn.js`'s two.
fn of_both(profile: &serde_json::Value) -> (u64, u64) {
    let mut all = vec![];
    allocated(&profile["head"], &mut all);
    let of = |name: &str| all.iter().filter(|(of, _)| of == name).map(|(_, bytes)| bytes).sum();
    (of("down"), all.iter().map(|(_, bytes)| bytes).sum())
}

#[tokio::test]
async fn a_sampling_whose_samples_take_too_much_memory_comes_in_chunks_of_larger_intervals() {
    // The oldest that can, and the newest.
    for version in [EVERY_NODE[1], EVERY_NODE[EVERY_NODE.len() - 1]] {
        let (pod, mut channel) = Pod::connected().await;
        let app = App::node(&pod.container, version, &["--inspect-port=0"], "churn.js").await;
        pod.begin(&mut channel, &churning(&pod, &app, sampling(true), Duration::from_secs(25))).await;
        let end = pod.end(&mut channel).await;
        let (_, profile) = pod.published(&end);
        let remark = end.remark.clone().expect("it says so");
        assert!(remark.contains("chunks") && remark.contains("4Ki at first"), "{remark}");
        let SessionPhase::Published { ended_early, .. } = end.phase else { panic!("{end:?}") };
        assert_eq!(ended_early, None, "{version} {remark}");
        let (down, all) = of_both(&profile);
        assert!(down > 100 << 20 && down > all / 2, "{version}: {down} of {all} bytes");
        assert_eq!(app.other_ports(), [] as [u16; 0]);
        app.serves().await;
        pod.acknowledge(&mut channel, &end).await;
    }
}

#[tokio::test]
async fn the_chunks_of_a_sampling_that_had_come_over_are_kept_when_the_app_is_killed() {
    let (pod, mut channel) = Pod::connected().await;
    let mut app = App::node(&pod.container, NODE, &["--inspect-port=0"], "churn.js").await;
    pod.begin(&mut channel, &churning(&pod, &app, sampling(true), Duration::from_mins(5))).await;
    pod.logs("a chunk of a sampling").await;
    app.child.kill().await.expect("it is killed");
    let end = pod.end(&mut channel).await;
    let (_, profile) = pod.published(&end);
    let SessionPhase::Published { ended_early, recorded_ms, .. } = end.phase else { panic!("{end:?}") };
    assert_eq!(ended_early, Some(EarlyEnd::Cut), "{:?}", end.remark);
    assert!(recorded_ms > 0 && of_both(&profile).0 > 1 << 20, "{recorded_ms} ms");
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn a_sampling_of_all_threads_ends_when_its_samples_take_too_much_memory() {
    let (pod, mut channel) = Pod::connected().await;
    let app = App::node(&pod.container, NODE, &["--inspect-port=0"], "churn.js").await;
    let recording = Recording::AllThreads { recording: Box::new(sampling(true)), workers: 8 };
    pod.begin(&mut channel, &churning(&pod, &app, recording, Duration::from_mins(2))).await;
    let end = pod.end(&mut channel).await;
    // Before the artifact, of more than 50 MiB, is read: this operator answers no ping meanwhile.
    pod.acknowledge(&mut channel, &end).await;
    let (_, profile) = pod.published(&end);
    assert!(profile["head"].is_object());
    let SessionPhase::Published { ended_early, recorded_ms, .. } = end.phase else { panic!("{end:?}") };
    assert_eq!(ended_early, Some(EarlyEnd::SampleBudget), "{:?}", end.remark);
    assert!(recorded_ms < 115_000, "after {recorded_ms} ms");
    assert!(end.remark.as_deref().is_some_and(|text| text.contains("samplingInterval")), "{end:?}");
    app.serves().await;
}

#[tokio::test]
async fn an_artifact_over_the_size_that_is_allowed_is_refused_before_or_thrown_away_after() {
    let (pod, mut channel) = Pod::connected().await;
    let app = heap_app(&pod, NODE).await;
    // Too small for any snapshot: decided before it is begun.
    let start = Start { largest_bytes: Some(100 << 10), ..snapshot_of(&pod, &app) };
    let end = run(&pod, &mut channel, &start).await;
    let SessionPhase::Failed(failure) = &end.phase else { panic!("{end:?}") };
    assert_eq!(failure.reason, FailureReason::PreflightRefused);
    assert!(failure.message.contains("output.maxSize"), "{}", failure.message);
    assert_eq!(end.stall.stop_us, 0, "no snapshot was taken");
    pod.acknowledge(&mut channel, &end).await;
    // How large a sampling is shows when it is there.
    let recording = sampling(false);
    let start =
        Start { recording, largest_bytes: Some(500), ..pod.start("s", app.id(), Duration::from_secs(1)) };
    let end = run(&pod, &mut channel, &start).await;
    let SessionPhase::Failed(failure) = &end.phase else { panic!("{end:?}") };
    assert_eq!(failure.reason, FailureReason::ArtifactTooLarge);
    assert!(end.attach.as_ref().expect("it attached").closed);
    app.serves().await;
    pod.acknowledge(&mut channel, &end).await;
}
