//! Worker threads of real Node.js processes: an artifact each, beside the main thread's.

mod pod;

use pitwall_protocol::{
    Check, ContainerBounds, EarlyEnd, FailureReason, NamedArtifact, Recording, RequestUid, SessionPhase,
    SessionReport, Start,
};
use pitwall_test_node::EVERY_NODE;
use pod::app::App;
use pod::{Pod, hottest};
use serde_json::Value;
use std::time::Duration;

const NODE: &str = "22.23.3";
const CPU: Recording = Recording::Cpu { sampling_interval_us: 1000 };

fn of_all_threads(recording: Recording, workers: u32) -> Recording {
    Recording::AllThreads { recording: Box::new(recording), workers }
}

/// An app with so many worker threads; the third one is blocked.
async fn app(pod: &Pod, version: &str, workers: usize) -> App {
    let mut command = tokio::process::Command::new(pod::app::node(version));
    command.arg("--inspect-port=0").arg(pod::app::script("workers.js")).arg(workers.to_string());
    let app = App::start(&pod.container, command).await;
    // The third one blocks a moment after it began.
    tokio::time::sleep(Duration::from_millis(500)).await;
    app
}

fn published(pod: &Pod, report: &SessionReport) -> (Value, Vec<(String, Value)>) {
    let (_, main) = pod.published(report);
    let SessionPhase::Published { more, .. } = &report.phase else { panic!("{report:?}") };
    let profile = |one: &NamedArtifact| (one.name.clone(), pod.stored(&one.uploaded));
    (main, more.iter().map(profile).collect())
}

#[tokio::test]
async fn each_worker_thread_has_a_profile_of_its_own_and_one_that_is_blocked_is_said() {
    for version in EVERY_NODE {
        let (pod, mut channel) = Pod::connected().await;
        let app = app(&pod, version, 4).await;
        let recording = of_all_threads(CPU, 8);
        let start = Start { recording, ..pod.start("r", app.id(), Duration::from_secs(2)) };
        pod.begin(&mut channel, &start).await;
        let end = pod.end(&mut channel).await;
        let (main, workers) = published(&pod, &end);
        let time = |of: &str| main[of].as_f64().expect("a time");
        let seconds = (time("endTime") - time("startTime")) / 1e6;
        assert!((1.5..3.5).contains(&seconds), "{version}: {seconds} s of the main thread");
        let names: Vec<_> = workers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["worker-1", "worker-2", "worker-4"], "{version} {:?}", end.remark);
        for (name, profile) in &workers {
            let thread = name.trim_start_matches("worker-");
            assert_eq!(hottest(profile), format!("work{thread}"), "{version} {name}");
        }
        let remark = end.remark.clone().expect("one is missing");
        assert!(remark.starts_with("3 of 4 worker threads are recorded"), "{remark}");
        let preflight = end.preflight.clone().expect("threads are counted before");
        assert_eq!(preflight.growth_bytes, (64 + 4 * 16) << 20, "{preflight:?}");
        assert!(end.attach.as_ref().expect("it attached").closed);
        assert_eq!(app.other_ports(), [] as [u16; 0]);
        app.serves().await;
        pod.acknowledge(&mut channel, &end).await;
    }
}

#[tokio::test]
async fn allocations_of_worker_threads_are_sampled() {
    for version in EVERY_NODE {
        let (pod, mut channel) = Pod::connected().await;
        let app = app(&pod, version, 2).await;
        let recording = Recording::HeapSampling { sampling_interval_bytes: 4 << 10, collected: false };
        let recording = of_all_threads(recording, 8);
        let start = Start { recording, ..pod.start("r", app.id(), Duration::from_secs(2)) };
        pod.begin(&mut channel, &start).await;
        let end = pod.end(&mut channel).await;
        let (main, workers) = published(&pod, &end);
        assert!(main["head"].is_object());
        assert_eq!(workers.len(), 2, "{version}");
        for (name, profile) in &workers {
            assert!(profile["head"]["children"].as_array().is_some_and(|of| !of.is_empty()), "{name}");
        }
        assert_eq!((end.remark.as_deref(), app.other_ports()), (None, vec![]));
        pod.acknowledge(&mut channel, &end).await;
    }
}

#[tokio::test]
async fn threads_whose_profiles_could_pass_the_memory_limit_are_not_recorded_unless_overridden() {
    let (pod, mut channel) = Pod::connected().await;
    let app = app(&pod, NODE, 4).await;
    let bounds = ContainerBounds { memory_bytes: Some(128 << 20), ..ContainerBounds::default() };
    let recording = of_all_threads(CPU, 8);
    let start = Start { recording, bounds, ..pod.start("r", app.id(), Duration::from_secs(1)) };
    pod.begin(&mut channel, &start).await;
    let end = pod.end(&mut channel).await;
    let SessionPhase::Failed(failure) = &end.phase else { panic!("{end:?}") };
    assert_eq!(failure.reason, FailureReason::PreflightRefused);
    let message = &failure.message;
    assert!(message.contains("a recording of 5 threads") && message.ends_with("MemoryLimit"), "{message}");
    assert_eq!(app.other_ports(), [] as [u16; 0]);
    pod.acknowledge(&mut channel, &end).await;

    let grant = pod.store.grant("again", pod::PART, 1, 100);
    let request = RequestUid("again".into());
    let again = Start { request, grant, overridden: vec![Check::MemoryLimit], ..start };
    pod.begin(&mut channel, &again).await;
    let end = pod.end(&mut channel).await;
    assert_eq!(published(&pod, &end).1.len(), 3);
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn at_most_so_many_threads_are_recorded_and_those_that_end_or_begin_meanwhile_are_said() {
    let (pod, mut channel) = Pod::connected().await;
    let mut app = app(&pod, NODE, 6).await;
    let recording = of_all_threads(CPU, 4);
    let start = Start { recording, ..pod.start("r", app.id(), Duration::from_secs(4)) };
    pod.begin(&mut channel, &start).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
    app.hears("end more").await;
    let end = pod.end(&mut channel).await;
    let (_, workers) = published(&pod, &end);
    let names: Vec<_> = workers.iter().map(|(name, _)| name.as_str()).collect();
    // Of the first four, the second ended and the third is blocked.
    assert_eq!(names, ["worker-1", "worker-4"], "{:?}", end.remark);
    assert!(end.remark.clone().expect("some are missing").starts_with("2 of 7 worker threads"), "{end:?}");
    app.serves().await;
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn an_app_that_exits_keeps_what_can_be_had_and_a_killed_one_has_nothing() {
    for version in EVERY_NODE {
        let (pod, mut channel) = Pod::connected().await;
        let mut app = app(&pod, version, 2).await;
        let recording = of_all_threads(CPU, 8);
        let start = Start { recording, ..pod.start("r", app.id(), Duration::from_mins(1)) };
        pod.begin(&mut channel, &start).await;
        channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
        app.hears("exit").await;
        let end = pod.end(&mut channel).await;
        published(&pod, &end);
        let SessionPhase::Published { ended_early, .. } = &end.phase else { unreachable!() };
        assert_eq!(*ended_early, Some(EarlyEnd::ProcessExiting), "{version}: {end:?}");
        assert_eq!(app.child.wait().await.expect("it ends").code(), Some(7), "{version}");
        pod.acknowledge(&mut channel, &end).await;
    }
}

#[tokio::test]
async fn what_can_not_be_recorded_of_all_threads_is_refused() {
    let (pod, mut channel) = Pod::connected().await;
    let app = app(&pod, NODE, 1).await;
    let recording = of_all_threads(Recording::HeapSnapshot { redact: false }, 8);
    let start = Start { recording, ..pod.start("r", app.id(), Duration::ZERO) };
    pod.begin(&mut channel, &start).await;
    let SessionPhase::Failed(failure) = channel.end().await.phase else { panic!("it is refused") };
    assert_eq!(failure.reason, pitwall_protocol::FailureReason::Unsupported);
}
