//! Apps that mean harm to who attaches: the sidecar says what it saw, stays small, and goes on.

mod pod;

use futures_util::future::join_all;
use pitwall_protocol::{Failure, FailureReason, Recording, SessionPhase, SessionReport, Start};
use pod::app::{App, node, script};
use pod::operator::Channel;
use pod::{Pod, is_empty};
use std::time::Duration;
use tokio::process::Command;

const NODE: &str = "22.23.3";
/// The container's limit, without optimizations too.
const LIMIT_KIB: u64 = 64 << 10;

async fn hostile(pod: &Pod, mode: &str) -> App {
    let mut command = Command::new(node(NODE));
    command.arg(script("hostile.js")).arg(mode);
    App::start(&pod.container, command).await
}

/// The most memory that the sidecar's worker has ever had: KiB.
fn peak(pod: &mut Pod) -> u64 {
    let pid = pod.worker().id().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("KiB")
}

async fn record(pod: &Pod, channel: &mut Channel, request: &str, app: &App) -> SessionReport {
    pod.begin(channel, &pod.start(request, app.id(), Duration::from_secs(1))).await;
    pod.end(channel).await
}

/// Records one that answers in this way, and then a good one of the same pod. Says what was told.
async fn refused(mode: &str) -> Failure {
    let (mut pod, mut channel) = Pod::connected().await;
    let good = pod.app(NODE).await;
    let mut app = hostile(&pod, mode).await;
    let end = record(&pod, &mut channel, mode, &app).await;
    app.says("opened").await;
    let SessionPhase::Failed(failure) = &end.phase else { panic!("{mode}: {end:?}") };
    assert!(is_empty(&pod.path("spool")), "{mode}");
    app.serves().await;
    // The sidecar goes on: others are recorded while this one's port is still open.
    let end = record(&pod, &mut channel, "after", &good).await;
    pod.published(&end);
    assert_eq!(good.other_ports(), [] as [u16; 0]);
    assert!(peak(&mut pod) < LIMIT_KIB, "{mode}: {} KiB", peak(&mut pod));
    failure.clone()
}

#[tokio::test]
async fn what_answers_as_no_inspector_does_is_refused_with_what_was_seen() {
    let (unopened, failed) = (FailureReason::InspectorDidNotOpen, FailureReason::InspectorFailed);
    let modes = [
        ("garbage", unopened, "HTTP"),
        ("endless", unopened, "more than"),
        ("silent", failed, "didn't answer"),
        ("large", failed, "bytes"),
        ("huge", failed, "2147483648 bytes"),
        ("noise", failed, "a frame that Node never sends"),
        ("events", failed, "didn't answer"),
        ("liar", FailureReason::WrongProcess, "process.pid"),
    ];
    let refused = modes.map(|(mode, ..)| refused(mode));
    for ((mode, reason, told), failure) in modes.iter().zip(join_all(refused).await) {
        assert_eq!(failure.reason, *reason, "{mode}: {failure:?}");
        assert!(failure.message.contains(told), "{mode}: {failure:?}");
    }
}

#[tokio::test]
async fn a_flood_of_profiles_of_the_apps_own_does_not_drown_ours() {
    let cpu = Recording::Cpu { sampling_interval_us: 1000 };
    let chunks = Recording::CpuInChunks { sampling_interval_us: 10_000, chunk_ms: 500 };
    for recording in [cpu, chunks] {
        let (mut pod, mut channel) = Pod::connected().await;
        let app = App::node(&pod.container, NODE, &["--inspect-port=0"], "flood.js").await;
        let start = Start { recording, ..pod.start("r", app.id(), Duration::from_secs(3)) };
        pod.begin(&mut channel, &start).await;
        let end = pod.end(&mut channel).await;
        let (_, profile) = pod.published(&end);
        let nodes = profile["nodes"].as_array().expect("nodes");
        let own = nodes.iter().filter(|node| node["callFrame"]["functionName"] == "ownWork");
        assert!(own.count() > 0, "{profile}");
        assert!(peak(&mut pod) < LIMIT_KIB, "{} KiB", peak(&mut pod));
        assert_eq!(app.other_ports(), [] as [u16; 0]);
        app.serves().await;
        pod.acknowledge(&mut channel, &end).await;
    }
}

/// Node writes to a connection that has just ended, and dies of it, if the app sends something in that moment.
#[tokio::test]
async fn an_app_that_never_stops_sending_survives_the_end_of_every_connection() {
    let lives = async |version: &str| {
        let (pod, mut channel) = Pod::connected().await;
        let mut app = App::node(&pod.container, version, &["--inspect-port=0"], "flood.js").await;
        for turn in 0..16 {
            let recording = Recording::Cpu { sampling_interval_us: 10_000 };
            let start = pod.start(&format!("r{turn}"), app.id(), Duration::from_millis(20));
            pod.begin(&mut channel, &Start { recording, ..start }).await;
            let end = pod.end(&mut channel).await;
            assert_eq!(app.child.try_wait().expect("it is a child"), None, "{version}: {end:?}");
            pod.acknowledge(&mut channel, &end).await;
        }
    };
    join_all(["18.20.8", "20.20.2", "22.23.3", "22.23.3"].map(lives)).await;
}
