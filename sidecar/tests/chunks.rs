//! Long CPU recordings of real Node.js processes: V8's sampler goes on while its profile comes over in chunks.

mod pod;

use pitwall_protocol::{EarlyEnd, Recording, SessionPhase, SessionReport, Start};
use pitwall_test_node::EVERY_NODE;
use pod::Pod;
use pod::app::App;
use pod::operator::Channel;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

const NODE: &str = "22.23.3";
const INTERVAL_US: u32 = 10_000;
const IN_CHUNKS: Recording = Recording::CpuInChunks { sampling_interval_us: INTERVAL_US, chunk_ms: 400 };

async fn app(pod: &Pod, version: &str) -> App {
    App::node(&pod.container, version, &["--inspect-port=0"], "chunks.js").await
}

async fn begin(pod: &Pod, channel: &mut Channel, app: &App, window: Duration) {
    let start = Start { recording: IN_CHUNKS, ..pod.start("r", app.id(), window) };
    pod.begin(channel, &start).await;
}

fn ended(report: &SessionReport) -> (Option<EarlyEnd>, Duration) {
    let SessionPhase::Published { ended_early, recorded_ms, .. } = report.phase else { panic!("{report:?}") };
    (ended_early, Duration::from_millis(recorded_ms))
}

/// Seconds of each function, by the profile's own samples and times, as `DevTools` adds them up.
fn seconds(profile: &Value) -> HashMap<String, f64> {
    let list = |name: &str| profile[name].as_array().expect("a list");
    let names: HashMap<_, _> =
        list("nodes").iter().map(|node| (&node["id"], &node["callFrame"]["functionName"])).collect();
    let mut seconds = HashMap::new();
    for (node, delta) in list("samples").iter().zip(list("timeDeltas").iter().skip(1)) {
        let delta = delta.as_f64().expect("a number");
        *seconds.entry(names[node].as_str().expect("a name").to_owned()).or_default() += delta / 1e6;
    }
    seconds
}

fn length(profile: &Value) -> f64 {
    (profile["endTime"].as_f64().expect("a time") - profile["startTime"].as_f64().expect("a time")) / 1e6
}

#[tokio::test]
async fn every_node_version_is_recorded_without_a_gap_and_its_chunks_are_one_profile() {
    for version in EVERY_NODE {
        let (pod, mut channel) = Pod::connected().await;
        let app = app(&pod, version).await;
        begin(&pod, &mut channel, &app, Duration::from_secs(4)).await;
        let end = channel.end().await;
        let (_, profile) = pod.published(&end);
        assert_eq!((ended(&end).0, end.remark.as_deref()), (None, None), "{version}");
        let seconds = seconds(&profile);
        let length = length(&profile);
        assert!((3.5..5.5).contains(&length), "{version}: {length} s");
        assert_eq!(seconds.get("(not recorded)"), None, "{version}: {seconds:?}");
        // One after the other, 100 ms each, by a clock: see the app.
        let [first, second] = ["theFirst", "theSecond"].map(|name| seconds[name] / length);
        assert!((0.35..0.6).contains(&first) && (0.35..0.6).contains(&second), "{version}: {seconds:?}");
        assert!(end.attach.as_ref().expect("it attached").closed && end.stall.start_us > 0, "{end:?}");
        assert_eq!(app.other_ports(), [] as [u16; 0]);
        app.serves().await;
        pod.acknowledge(&mut channel, &end).await;
    }
}

#[tokio::test]
async fn an_app_that_ends_profiles_and_hides_the_functions_for_it_is_recorded_on() {
    for version in EVERY_NODE {
        let (pod, mut channel) = Pod::connected().await;
        let mut app = app(&pod, version).await;
        app.hears("hide").await;
        begin(&pod, &mut channel, &app, Duration::from_secs(5)).await;
        channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
        app.hears("end").await;
        let end = channel.end().await;
        let (_, profile) = pod.published(&end);
        assert_eq!(ended(&end).0, None, "{version}");
        let seconds = seconds(&profile);
        let known: f64 = ["theFirst", "theSecond"].iter().map(|name| seconds[*name]).sum();
        assert!(known > 2.0, "{version}: {seconds:?}");
        // From V8 12 on an end without a title ends none that has one.
        if version < "24" {
            let remark = end.remark.clone().unwrap_or_default();
            assert!(remark.contains("the app ended the recording"), "{version}: {remark}");
        }
        app.hears("hidden").await;
        assert_eq!(app.says("hidden").await, "hidden 0", "the app's own functions were not called");
        assert_eq!(app.other_ports(), [] as [u16; 0]);
        pod.acknowledge(&mut channel, &end).await;
    }
}

#[tokio::test]
async fn what_had_come_over_from_a_killed_app_is_kept() {
    let (pod, mut channel) = Pod::connected().await;
    let mut app = app(&pod, NODE).await;
    begin(&pod, &mut channel, &app, Duration::from_mins(1)).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    app.child.kill().await.expect("it is killed");
    let end = channel.end().await;
    let (_, profile) = pod.published(&end);
    let (early, recorded) = ended(&end);
    assert_eq!(early, Some(EarlyEnd::Cut));
    assert!((Duration::from_millis(700)..Duration::from_secs(4)).contains(&recorded), "{recorded:?}");
    assert!(seconds(&profile)["theFirst"] > 0.2);
    let remark = end.remark.clone().expect("it says why");
    assert!(remark.contains("was killed"), "{remark}");
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn an_app_that_is_killed_before_the_first_chunk_has_no_profile() {
    let (pod, mut channel) = Pod::connected().await;
    let mut app = app(&pod, NODE).await;
    let recording = Recording::CpuInChunks { sampling_interval_us: INTERVAL_US, chunk_ms: 60_000 };
    let start = Start { recording, ..pod.start("r", app.id(), Duration::from_mins(1)) };
    pod.begin(&mut channel, &start).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
    app.child.kill().await.expect("it is killed");
    let end = channel.end().await;
    let SessionPhase::Failed(failure) = &end.phase else { panic!("{end:?}") };
    assert_eq!(failure.reason, pitwall_protocol::FailureReason::ProcessExited);
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn a_stop_and_an_exit_keep_the_last_chunk_too() {
    for version in EVERY_NODE {
        for (deed, why) in [("stop", EarlyEnd::Stopped), ("exit", EarlyEnd::ProcessExiting)] {
            let (pod, mut channel) = Pod::connected().await;
            let mut app = app(&pod, version).await;
            begin(&pod, &mut channel, &app, Duration::from_mins(1)).await;
            channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
            tokio::time::sleep(Duration::from_millis(1000)).await;
            if deed == "stop" {
                pod.stop(&mut channel, "r", true).await;
            } else {
                app.hears("exit").await;
            }
            let end = channel.end().await;
            let (_, profile) = pod.published(&end);
            assert_eq!(ended(&end).0, Some(why), "{version} {end:?}");
            assert!(length(&profile) > 0.9, "{version} {deed}: {}", length(&profile));
            assert!(end.attach.as_ref().expect("it attached").closed);
            pod.acknowledge(&mut channel, &end).await;
        }
    }
}

#[tokio::test]
async fn a_loop_that_never_turns_is_recorded_in_chunks() {
    let (pod, mut channel) = Pod::connected().await;
    let mut app = app(&pod, NODE).await;
    app.hears("loop").await;
    begin(&pod, &mut channel, &app, Duration::from_secs(3)).await;
    let end = channel.end().await;
    let (_, profile) = pod.published(&end);
    let seconds = seconds(&profile);
    assert!(seconds["spin"] / length(&profile) > 0.7, "{seconds:?}");
    assert_eq!((ended(&end).0, end.remark.as_deref()), (None, None));
    assert_eq!(app.other_ports(), [] as [u16; 0]);
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn a_discarded_recording_leaves_nothing_on_the_spool() {
    let (pod, mut channel) = Pod::connected().await;
    let app = app(&pod, NODE).await;
    begin(&pod, &mut channel, &app, Duration::from_mins(1)).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    pod.stop(&mut channel, "r", false).await;
    let end = channel.end().await;
    assert_eq!(end.phase, SessionPhase::Discarded);
    assert_eq!(app.other_ports(), [] as [u16; 0]);
    pod.acknowledge(&mut channel, &end).await;
}
