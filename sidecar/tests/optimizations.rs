//! V8's trace of what it optimizes and deoptimizes, of live processes, and the load beside a recording.

mod pod;

use pitwall_protocol::{FailureReason, Load, OPTIMIZATIONS, Recording, SessionPhase, SessionReport, Start};
use pitwall_test_node::EVERY_NODE;
use pod::app::{App, free_port, node, script};
use pod::{PATIENCE, Pod};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

const NODE: &str = "24.21.0";

async fn app(pod: &Pod, version: &str, options: &[&str]) -> App {
    App::node(&pod.container, version, &[&["--inspect-port=0"], options].concat(), "deopts.js").await
}

fn traced(pod: &Pod, request: &str, app: &App, duration: Duration) -> Start {
    Start { trace_optimizations: true, ..pod.start(request, app.id(), duration) }
}

/// Where the app was told to write its trace.
async fn trace_of(app: &mut App) -> PathBuf {
    app.hears("trace").await;
    let line = app.says("trace ").await;
    Path::new(line.trim_start_matches("trace ")).to_owned()
}

/// Waits until it is gone, and looks whether V8 makes it again.
async fn stays_away(trace: &Path) {
    let gone = async {
        while trace.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the trace is removed");
    // The app deoptimizes some forty times a second.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!trace.exists(), "V8 still traces");
}

fn optimizations(pod: &Pod, report: &SessionReport) -> Value {
    let SessionPhase::Published { more, .. } = &report.phase else { panic!("{report:?}") };
    let [only] = more.as_slice() else { panic!("{more:?}") };
    assert_eq!(only.name, OPTIMIZATIONS);
    pod.stored(&only.uploaded)
}

/// The function that the app breaks over and over, with the reason why.
fn assert_planted(version: &str, trace: &Value) -> u64 {
    let functions = trace["functions"].as_array().expect("functions");
    let planted = functions.iter().find(|one| one["function"] == "planted");
    let planted = planted.unwrap_or_else(|| panic!("{version}: {trace:#}"));
    let count = |of: &str| planted[of].as_u64().expect("a number");
    assert!(count("optimized") >= 3 && count("deoptimized") >= 3, "{version}: {planted:#}");
    let reasons: Vec<_> = planted["reasons"].as_array().expect("reasons").iter().collect();
    assert!(reasons.iter().any(|one| one["reason"] == "not a Smi"), "{version}: {planted:#}");
    count("deoptimized")
}

#[tokio::test]
async fn what_v8_deoptimizes_is_recorded_with_its_reasons_and_twice_of_one_process() {
    for version in EVERY_NODE {
        let (pod, mut channel) = Pod::connected().await;
        let mut app = app(&pod, version, &[]).await;
        for request in ["first", "second"] {
            let start = traced(&pod, request, &app, Duration::from_secs(2));
            pod.begin(&mut channel, &start).await;
            let end = pod.end(&mut channel).await;
            let (_, profile) = pod.published(&end);
            assert!(profile["samples"].as_array().is_some_and(|of| of.len() > 10));
            assert_planted(version, &optimizations(&pod, &end));
            assert_eq!(end.remark, None, "{version}");
            stays_away(&trace_of(&mut app).await).await;
            assert_eq!(app.other_ports(), [] as [u16; 0]);
            pod.acknowledge(&mut channel, &end).await;
        }
        app.serves().await;
    }
}

#[tokio::test]
async fn hours_are_traced_too_and_what_had_come_is_kept_when_the_app_is_killed() {
    let (pod, mut channel) = Pod::connected().await;
    let mut app = app(&pod, NODE, &[]).await;
    let recording = Recording::CpuInChunks { sampling_interval_us: 10_000, chunk_ms: 500 };
    let start = Start { recording, ..traced(&pod, "r", &app, Duration::from_mins(1)) };
    pod.begin(&mut channel, &start).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let trace = trace_of(&mut app).await;
    assert!(trace.exists());
    app.child.kill().await.expect("it is killed");
    let end = pod.end(&mut channel).await;
    assert!(assert_planted(NODE, &optimizations(&pod, &end)) > 5, "most of three seconds");
    stays_away(&trace).await;
}

#[tokio::test]
async fn a_worker_that_dies_leaves_no_trace() {
    for opened_at_start in [false, true] {
        let (mut pod, mut channel) = Pod::connected().await;
        let inspect = format!("--inspect=127.0.0.1:{}", free_port());
        let options = if opened_at_start { vec![inspect.as_str()] } else { vec![] };
        let mut app = app(&pod, NODE, &options).await;
        let start = traced(&pod, "r", &app, Duration::from_secs(2));
        pod.begin(&mut channel, &start).await;
        channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
        let trace = trace_of(&mut app).await;
        assert!(trace.exists());
        pod.kill_worker().await;
        if !opened_at_start {
            // The next worker closes the inspector, and that ends it.
            pod.start_worker();
            pod.operator.welcome().await;
        }
        // Where the app opened its inspector itself, nobody closes it: the app's own timer ends the trace.
        stays_away(&trace).await;
        app.serves().await;
    }
}

#[tokio::test]
async fn an_app_that_was_killed_leaves_no_trace() {
    let (pod, mut channel) = Pod::connected().await;
    let mut app = app(&pod, NODE, &[]).await;
    pod.begin(&mut channel, &traced(&pod, "r", &app, Duration::from_mins(1))).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
    let trace = trace_of(&mut app).await;
    assert!(trace.exists());
    app.child.kill().await.expect("it is killed");
    let end = pod.end(&mut channel).await;
    let SessionPhase::Failed(failure) = &end.phase else { panic!("{end:?}") };
    assert_eq!(failure.reason, FailureReason::ProcessExited);
    stays_away(&trace).await;
}

#[tokio::test]
async fn what_would_end_the_process_is_refused() {
    let frozen = |version: &str| {
        let mut command = Command::new(node(version));
        command.args(["--inspect-port=0", "--freeze-flags-after-init"]).arg(script("deopts.js"));
        command
    };
    let few_files = |version: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 150; exec \"$0\" --inspect-port=0 \"$1\""]);
        command.arg(node(version)).arg(script("deopts.js"));
        command
    };
    let tracing = |version: &str| {
        let mut command = Command::new(node(version));
        command.args(["--inspect-port=0", "--trace-deopt"]).arg(script("deopts.js"));
        command
    };
    let commands: [(&str, Command, &str); 4] = [
        (NODE, frozen(NODE), "--freeze-flags-after-init"),
        ("26.10.0", frozen("26.10.0"), "--freeze-flags-after-init"),
        (NODE, few_files(NODE), "more files"),
        ("18.20.8", tracing("18.20.8"), "--trace-deopt"),
    ];
    for (version, command, said) in commands {
        let (pod, mut channel) = Pod::connected().await;
        let app = App::start(&pod.container, command).await;
        pod.begin(&mut channel, &traced(&pod, "r", &app, Duration::from_secs(5))).await;
        let end = pod.end(&mut channel).await;
        let SessionPhase::Failed(failure) = &end.phase else { panic!("{version}: {end:?}") };
        assert_eq!(failure.reason, FailureReason::TraceRefused, "{version}");
        assert!(failure.message.contains(said), "{}", failure.message);
        assert!(end.attach.as_ref().is_some_and(|attach| attach.closed));
        assert_eq!(app.other_ports(), [] as [u16; 0]);
        app.serves().await;
        pod.acknowledge(&mut channel, &end).await;
    }
}

async fn load_of(pod: &Pod, app: &App) -> Load {
    let mut channel = pod.operator.welcome().await.0;
    pod.begin(&mut channel, &pod.start("r", app.id(), Duration::from_secs(2))).await;
    let end = pod.end(&mut channel).await;
    let load = end.load.expect("the load");
    pod.acknowledge(&mut channel, &end).await;
    load
}

#[tokio::test]
async fn the_load_beside_a_recording_tells_a_blocked_loop_from_a_free_one() {
    for version in EVERY_NODE {
        for (script, blocked) in [("server.js", 8_000..80_000), ("late.js", 250_000..900_000)] {
            let mut pod = Pod::new().await;
            pod.start_worker();
            let app = App::node(&pod.container, version, &["--inspect-port=0"], script).await;
            let load = load_of(&pod, &app).await;
            assert!((1_900_000..4_000_000).contains(&load.measured_us), "{version} {load:?}");
            let delay = load.event_loop_delay.expect("a delay");
            assert!(blocked.contains(&delay.max_us), "{version} {script}: {delay:?}");
            assert!(delay.p50_us <= delay.p99_us && delay.p99_us <= delay.max_us, "{delay:?}");
            let thread = load.main_thread.expect("this kernel counts");
            let busy = thread.running_us + thread.waiting_us;
            assert!((100_000..load.measured_us + 100_000).contains(&busy), "{version} {script}: {load:?}");
        }
    }
}
