//! What goes wrong around a session on real Node processes: each ends in one terminal report that is true, with
//! no inspector open, and the app alive if it was.

mod pod;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pitwall_protocol::{
    EarlyEnd, FailureReason, Guard, OperatorMessage, Readiness, SessionPhase, SessionReport, SidecarMessage,
    Start,
};
use pod::app::{App, free_port, node, script};
use pod::operator::Channel;
use pod::{PART, PATIENCE, Pod};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::process::Command;

const NODE: &str = "22.23.3";
const WINDOW: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_mins(1);
const NO_PORT: [u16; 0] = [];

fn failed(report: &SessionReport) -> (FailureReason, &str) {
    match &report.phase {
        SessionPhase::Failed(failure) => (failure.reason, &failure.message),
        other => panic!("a failure is expected: {other:?}"),
    }
}

async fn recording(pod: &Pod, channel: &mut Channel, app: &App, window: Duration) {
    pod.begin(channel, &pod.start("r", app.id(), window)).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
}

/// Waits until the app has no port but its own.
async fn closes(app: &App) {
    let closing = async {
        while app.other_ports() != NO_PORT {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closing).await.expect("the inspector is closed");
}

/// Grants a new upload when it is asked for, and gives the session's end.
async fn granted_a_second_upload(pod: &Pod, channel: &mut Channel) -> SessionReport {
    loop {
        match channel.hear().await {
            SidecarMessage::NeedParts { request, process, upload_id, first_part, .. } => {
                assert_eq!((upload_id.as_str(), first_part), ("", 1));
                let grant = pod.store.grant("second", PART, 1, 100);
                channel.say(&OperatorMessage::Grant { request, process, grant }).await;
            }
            SidecarMessage::Report(report) if report.phase.is_end() => return *report,
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_while_recording_is_followed_by_one_that_closes_and_says_what_was_lost() {
    let (mut pod, mut channel) = Pod::connected().await;
    let mut app = pod.app(NODE).await;
    recording(&pod, &mut channel, &app, LONG).await;
    pod.kill_worker().await;
    assert_eq!(app.other_ports().len(), 1, "the inspector is open");
    pod.start_worker();
    let (mut channel, hello) = pod.operator.welcome().await;
    let [session] = hello.sessions.as_slice() else { panic!("one session: {hello:?}") };
    let end = if session.phase.is_end() { session.clone() } else { channel.end().await };
    assert_eq!(failed(&end).0, FailureReason::SidecarRestarted);
    assert!(end.attach.as_ref().expect("it had attached").closed);
    assert_eq!(app.other_ports(), NO_PORT);
    app.says("tick").await;
    app.serves().await;
    pod.acknowledge(&mut channel, &end).await;

    // And the process can be recorded again.
    pod.begin(&mut channel, &pod.start("again", app.id(), WINDOW)).await;
    pod.published(&channel.end().await);
}

/// Starts a program that SIGUSR1 would end, under a pid that has just become free.
async fn takes_over_the_pid(pod: &Pod, pid: u32) -> tokio::process::Child {
    for _ in 0..200 {
        // The kernel gives the next free one.
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("root may choose pids");
        let mut other = Command::new("sleep").arg("600").kill_on_drop(true).spawn().expect("it starts");
        if other.id() == Some(pid) {
            pod.container.admit(pid);
            return other;
        }
        other.kill().await.expect("it is killed");
    }
    panic!("others were given the pid {pid} each time");
}

#[tokio::test]
async fn a_process_that_got_the_pid_of_one_that_ended_is_left_alone() {
    let (mut pod, mut channel) = Pod::connected().await;
    let mut app = pod.app(NODE).await;
    let before = pod.start("r", app.id(), LONG);
    pod.begin(&mut channel, &before).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
    // Nobody sees the app end: the next worker finds another process where an inspector was open.
    pod.kill_worker().await;
    app.child.kill().await.expect("it is killed");
    let mut other = takes_over_the_pid(&pod, before.process.pid).await;
    pod.start_worker();
    let (mut channel, hello) = pod.operator.welcome().await;
    let [session] = hello.sessions.as_slice() else { panic!("one session: {hello:?}") };
    let end = if session.phase.is_end() { session.clone() } else { channel.end().await };
    assert_eq!(failed(&end).0, FailureReason::SidecarRestarted);
    pod.acknowledge(&mut channel, &end).await;

    // And a request that was made for the process that ended isn't one for this.
    pod.begin(&mut channel, &pod.start("again", before.process, WINDOW)).await;
    let end = channel.end().await;
    assert_eq!(failed(&end).0, FailureReason::ProcessGone);
    pod.acknowledge(&mut channel, &end).await;
    assert_eq!(other.try_wait().expect("it can be asked"), None, "it lives");
}

#[tokio::test]
async fn a_worker_that_is_killed_while_uploading_is_followed_by_one_that_publishes() {
    let (mut pod, mut channel) = Pod::connected().await;
    let app = pod.app(NODE).await;
    recording(&pod, &mut channel, &app, WINDOW).await;
    pod.store.hold();
    pod.store.asked().await;
    pod.kill_worker().await;
    pod.store.release();
    pod.start_worker();
    let (mut channel, _) = pod.operator.welcome().await;
    let end = granted_a_second_upload(&pod, &mut channel).await;
    let (artifact, _) = pod.published(&end);
    assert_eq!(artifact.upload_id, "second");
    assert!(end.attach.as_ref().expect("it had attached").closed);
    assert_eq!(app.other_ports(), NO_PORT);
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn an_app_that_exits_while_recorded_exits_with_its_own_code_and_its_profile_is_kept() {
    for version in pitwall_test_node::EVERY_NODE {
        let (pod, mut channel) = Pod::connected().await;
        let mut app = pod.app(version).await;
        recording(&pod, &mut channel, &app, LONG).await;
        app.hears("exit").await;
        let end = channel.end().await;
        pod.published(&end);
        let SessionPhase::Published { ended_early, .. } = end.phase else { unreachable!() };
        assert_eq!(ended_early, Some(EarlyEnd::ProcessExiting), "{version}");
        assert!(end.attach.expect("it attached").closed);
        assert_eq!(app.child.wait().await.expect("it ends").code(), Some(7), "{version}");
    }
}

#[tokio::test]
async fn an_app_that_is_killed_while_recorded_is_said_to_be_gone() {
    let (pod, mut channel) = Pod::connected().await;
    let mut app = pod.app(NODE).await;
    recording(&pod, &mut channel, &app, LONG).await;
    app.child.kill().await.expect("it is killed");
    let end = channel.end().await;
    assert_eq!(failed(&end).0, FailureReason::ProcessExited);
    assert!(end.attach.as_ref().expect("it attached").closed);
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn the_deadline_ends_an_upload_that_the_store_does_not_take() {
    let (pod, mut channel) = Pod::connected().await;
    let app = pod.app(NODE).await;
    pod.store.hold();
    let mut start = pod.start("r", app.id(), WINDOW);
    start.deadline_ms = 6000;
    pod.begin(&mut channel, &start).await;
    let end = channel.end().await;
    assert_eq!(failed(&end).0, FailureReason::DeadlineExceeded);
    assert!(end.attach.as_ref().expect("it attached").closed);
    assert_eq!(app.other_ports(), NO_PORT);
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn a_process_that_is_not_node_is_never_signalled() {
    let (pod, mut channel) = Pod::connected().await;
    let mut sleep = Command::new("sleep").arg("600").kill_on_drop(true).spawn().expect("sleep");
    // One that would survive the signal, and says so if it got it.
    let mut python = Command::new("python3");
    python.args([
        "-c",
        "import signal, time, sys\n\
        signal.signal(signal.SIGUSR1, lambda *_: print('signalled', flush=True))\n\
        print('ready 0', flush=True)\nwhile True: time.sleep(60)",
    ]);
    let mut python = App::start(&pod.container, python).await;
    pod.container.admit(sleep.id().expect("it runs"));
    let seen = pod.look(&mut channel).await;
    assert_eq!((seen.processes.len(), seen.others), (0, 2));

    let proc = pitwall_sidecar::discover::procfs::ProcRoot::default();
    let ids = [proc.identity(sleep.id().expect("it runs")).expect("it runs"), python.id()];
    for (request, process) in ["sleep", "python"].into_iter().zip(ids) {
        pod.begin(&mut channel, &pod.start(request, process, WINDOW)).await;
        let end = channel.end().await;
        let (reason, message) = failed(&end);
        assert_eq!(reason, FailureReason::NotNode);
        assert!(message.contains(request), "{message}");
        assert_eq!(end.attach, None);
    }
    assert!(sleep.try_wait().expect("a child").is_none(), "it lives");
    kill(Pid::from_raw(i32::try_from(python.id().pid).expect("a pid")), Signal::SIGUSR1).expect("it runs");
    assert_eq!(python.says("signalled").await, "signalled");
    let more = tokio::time::timeout(Duration::from_millis(300), python.says("signalled")).await;
    assert!(more.is_err(), "the one signal was this test's");
}

#[tokio::test]
async fn a_process_of_another_container_is_not_recorded() {
    let (pod, mut channel) = Pod::connected().await;
    let other = pod::container::Container::new();
    let app = App::node(&other, NODE, &["--inspect-port=0"], "server.js").await;
    assert_eq!(pod.look(&mut channel).await.processes, []);
    pod.begin(&mut channel, &pod.start("r", app.id(), WINDOW)).await;
    assert_eq!(failed(&channel.end().await).0, FailureReason::ProcessGone);
    assert_eq!(app.other_ports(), NO_PORT);
}

#[tokio::test]
async fn with_the_operator_gone_the_session_finishes_and_is_reported_when_it_is_back() {
    let (mut pod, mut channel) = Pod::connected().await;
    let app = pod.app(NODE).await;
    recording(&pod, &mut channel, &app, WINDOW).await;
    pod.operator.goes_away();
    drop(channel);
    let published = async {
        while pod.store.uploads().is_empty() || !pod::is_empty(&pod.path("spool")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, published).await.expect("it uploads without an operator");
    closes(&app).await;
    pod.operator.comes_back().await;
    let (mut channel, hello) = pod.operator.welcome().await;
    let [session] = hello.sessions.as_slice() else { panic!("one session: {hello:?}") };
    let end = if session.phase.is_end() { session.clone() } else { channel.end().await };
    pod.published(&end);
    assert!(end.attach.as_ref().expect("it attached").closed);
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn an_app_with_a_handler_of_its_own_is_left_as_it_was() {
    let (pod, mut channel) = Pod::connected().await;
    let mut app = App::node(&pod.container, NODE, &["--inspect-port=0"], "own-handler.js").await;
    pod.begin(&mut channel, &pod.start("r", app.id(), WINDOW)).await;
    app.says("mine").await;
    let end = channel.end().await;
    let (reason, message) = failed(&end);
    assert_eq!(reason, FailureReason::InspectorDidNotOpen);
    assert!(message.contains("handler of its own"), "{message}");
    assert_eq!(app.other_ports(), NO_PORT);
}

#[tokio::test]
async fn an_inspector_that_opens_after_all_is_closed() {
    let (pod, mut channel) = Pod::connected().await;
    let mut app = pod.app(NODE).await;
    app.hears("block").await;
    app.says("blocking").await;
    pod.begin(&mut channel, &pod.start("r", app.id(), WINDOW)).await;
    let end = channel.end().await;
    assert_eq!(failed(&end).0, FailureReason::InspectorDidNotOpen);
    pod.begin(&mut channel, &pod.start("second", app.id(), WINDOW)).await;
    let busy = channel.end().await;
    assert_eq!(failed(&busy).0, FailureReason::Busy, "it may open yet");
    channel.say(&OperatorMessage::Acknowledge { request: busy.request, process: busy.process }).await;
    app.says("tick").await;
    // The journal keeps the session until its port was seen closed.
    pod.acknowledge(&mut channel, &end).await;
    // SIGUSR1 asks for it twice: it may be open once more, until the end of that turn of the event loop.
    app.closes_other_ports().await;
    app.serves().await;
}

#[tokio::test]
async fn an_app_that_stands_still_is_closed_when_it_goes_on() {
    let (pod, mut channel) = Pod::connected().await;
    let app = pod.app(NODE).await;
    recording(&pod, &mut channel, &app, LONG).await;
    let pid = Pid::from_raw(i32::try_from(app.id().pid).expect("a pid"));
    kill(pid, Signal::SIGSTOP).expect("it runs");
    pod.stop(&mut channel, "r", false).await;
    let end = channel.end().await;
    assert_eq!(end.phase, SessionPhase::Discarded);
    assert!(!end.attach.as_ref().expect("it attached").closed, "nothing else would be true");
    kill(pid, Signal::SIGCONT).expect("it runs");
    closes(&app).await;
    app.serves().await;
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn an_inspector_that_somebody_else_opened_is_neither_used_nor_closed() {
    let (pod, mut channel) = Pod::connected().await;
    let port = free_port();
    let option = format!("--inspect-port={port}");
    let app = App::node(&pod.container, NODE, &[&option], "server.js").await;
    kill(Pid::from_raw(i32::try_from(app.id().pid).expect("a pid")), Signal::SIGUSR1).expect("it runs");
    while app.other_ports() != [port] {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let seen = pod.look(&mut channel).await;
    let readiness = &seen.processes[0].readiness;
    assert!(
        matches!(readiness, Readiness::NotReady(failure) if failure.reason == FailureReason::InspectorAlreadyOpen),
        "{readiness:?}"
    );
    pod.begin(&mut channel, &pod.start("r", app.id(), WINDOW)).await;
    assert_eq!(failed(&channel.end().await).0, FailureReason::InspectorAlreadyOpen);
    assert_eq!(app.other_ports(), [port], "still open");
}

#[tokio::test]
async fn a_port_that_another_process_has_is_named_and_nobody_is_signalled() {
    let (pod, mut channel) = Pod::connected().await;
    let taker = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let option = format!("--inspect-port={}", taker.local_addr().expect("bound").port());
    let app = App::node(&pod.container, NODE, &[&option], "server.js").await;
    pod.begin(&mut channel, &pod.start("r", app.id(), WINDOW)).await;
    let end = channel.end().await;
    let (reason, message) = failed(&end);
    assert_eq!(reason, FailureReason::PortTaken);
    assert!(message.contains(&format!("pid {}", std::process::id())), "{message}");
    assert_eq!(end.attach, None);
}

#[tokio::test]
async fn a_process_that_blocks_the_signal_is_said_to_have_its_inspector_disabled() {
    let (pod, mut channel) = Pod::connected().await;
    let app = App::node(&pod.container, NODE, &["--disable-sigusr1"], "server.js").await;
    pod.begin(&mut channel, &pod.start("r", app.id(), WINDOW)).await;
    let end = channel.end().await;
    let (reason, message) = failed(&end);
    assert_eq!(reason, FailureReason::InspectorDisabled);
    assert!(message.contains("--disable-sigusr1"), "{message}");
}

#[tokio::test]
async fn an_inspector_that_would_be_reachable_from_outside_is_not_opened() {
    let (pod, mut channel) = Pod::connected().await;
    let mut command = Command::new(node(NODE));
    command.arg("--inspect-port=0.0.0.0:0").arg(script("server.js"));
    let app = App::start(&pod.container, command).await;
    pod.begin(&mut channel, &pod.start("r", app.id(), WINDOW)).await;
    let end = channel.end().await;
    assert!(failed(&end).1.contains("0.0.0.0"), "{end:?}");
    assert_eq!(app.other_ports(), NO_PORT);
}

#[tokio::test]
async fn the_end_of_the_pod_publishes_what_was_recorded() {
    let (mut pod, mut channel) = Pod::connected().await;
    let app = pod.app(NODE).await;
    recording(&pod, &mut channel, &app, LONG).await;
    let worker = Pid::from_raw(i32::try_from(pod.worker().id().expect("it runs")).expect("a pid"));
    kill(worker, Signal::SIGTERM).expect("it runs");
    let end = channel.end().await;
    pod.published(&end);
    pod.acknowledge(&mut channel, &end).await;
    let status =
        tokio::time::timeout(PATIENCE, pod.worker().wait()).await.expect("in time").expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert_eq!(app.other_ports(), NO_PORT);
}

#[tokio::test]
async fn a_store_that_is_ill_for_a_while_costs_nothing_but_time() {
    let (pod, mut channel) = Pod::connected().await;
    let app = pod.app(NODE).await;
    pod.store.answer("503 Slow Down", "<Code>SlowDown</Code>");
    pod.store.answer("500 Internal Server Error", "");
    pod.begin(&mut channel, &pod.start("r", app.id(), WINDOW)).await;
    pod.published(&channel.end().await);
}

#[tokio::test]
async fn refused_urls_are_replaced_by_those_of_a_new_upload() {
    let (pod, mut channel) = Pod::connected().await;
    let app = pod.app(NODE).await;
    pod.store.answer("403 Forbidden", "<Code>AccessDenied</Code><Message>Request has expired</Message>");
    pod.begin(&mut channel, &pod.start("r", app.id(), WINDOW)).await;
    let end = granted_a_second_upload(&pod, &mut channel).await;
    assert_eq!(pod.published(&end).0.upload_id, "second");
}

#[tokio::test]
async fn a_store_that_refuses_for_good_is_quoted() {
    let (pod, mut channel) = Pod::connected().await;
    let app = pod.app(NODE).await;
    pod.store.answer("400 Bad Request", "<Code>InvalidRequest</Code><Message>no such bucket here</Message>");
    pod.begin(&mut channel, &pod.start("r", app.id(), WINDOW)).await;
    let end = channel.end().await;
    let (reason, message) = failed(&end);
    assert_eq!(reason, FailureReason::UploadFailed);
    assert!(message.contains("no such bucket here"), "{message}");
    assert!(end.attach.as_ref().expect("it attached").closed);
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn a_spool_that_is_too_small_is_said_and_never_passed() {
    let mut pod = Pod::new().await;
    pod.set("PITWALL_SPOOL_LIMIT", "2000");
    pod.start_worker();
    let (mut channel, _) = pod.operator.welcome().await;
    let app = pod.app(NODE).await;
    pod.begin(&mut channel, &pod.start("r", app.id(), WINDOW)).await;
    let end = channel.end().await;
    let (reason, message) = failed(&end);
    assert_eq!(reason, FailureReason::SpoolFailed);
    assert!(message.contains("2000 bytes"), "{message}");
    assert!(end.attach.as_ref().expect("it attached").closed);
    pod.acknowledge(&mut channel, &end).await;
}

/// The sidecar as the injection runs it where the pod says no uid: root with two capabilities.
fn with_two_capabilities(program: &std::path::Path) -> Command {
    let mut limited = Command::new("/usr/bin/setpriv");
    limited.args(["--bounding-set=-all,+setuid,+setgid", "--inh-caps=-all"]).arg(program).arg("work");
    limited
}

#[tokio::test]
async fn a_child_that_takes_the_targets_ids_is_enough_to_record_it() {
    let mut pod = Pod::new().await;
    pod.set("PITWALL_IDENTITY", "assume");
    let program = pod.path("pitwall-sidecar");
    // Where every uid may execute it, as in an image.
    std::fs::copy(env!("CARGO_BIN_EXE_pitwall-sidecar"), &program).expect("a copy");
    pod.open_to_all();
    let mut worker = pod.dress(with_two_capabilities(&program)).spawn().expect("setpriv");
    let (mut channel, _) = pod.operator.welcome().await;

    let copy = pod.path("node");
    std::fs::copy(node(NODE), &copy).expect("a copy");
    std::fs::copy(script("server.js"), pod.path("server.js")).expect("a copy");
    let mut command = Command::new(&copy);
    command.arg("--inspect-port=0").arg(pod.path("server.js")).uid(4711).gid(4712);
    let app = App::start(&pod.container, command).await;
    let seen = pod.look(&mut channel).await;
    assert_eq!(seen.processes[0].readiness, Readiness::Ready);
    pod.begin(&mut channel, &pod.start("r", app.id(), WINDOW)).await;
    let end = channel.end().await;
    pod.published(&end);
    assert!(end.attach.expect("it attached").closed);
    worker.kill().await.expect("it is killed");
}

#[tokio::test]
async fn a_target_with_more_capabilities_is_listed_with_what_to_do() {
    let mut pod = Pod::new().await;
    pod.set("PITWALL_IDENTITY", "assume");
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_pitwall-sidecar"));
    let mut worker = pod.dress(with_two_capabilities(program)).spawn().expect("setpriv");
    let (mut channel, _) = pod.operator.welcome().await;
    let app = pod.app(NODE).await;
    let seen = pod.look(&mut channel).await;
    let readiness = &seen.processes[0].readiness;
    assert!(
        matches!(readiness, Readiness::NotReady(failure) if failure.reason == FailureReason::ExecutableUnreadable),
        "{readiness:?}"
    );
    pod.begin(&mut channel, &pod.start("r", app.id(), WINDOW)).await;
    assert_eq!(failed(&channel.end().await).0, FailureReason::ExecutableUnreadable);
    worker.kill().await.expect("it is killed");
}

#[tokio::test]
async fn a_main_thread_that_is_busier_than_allowed_ends_the_recording() {
    let (pod, mut channel) = Pod::connected().await;
    let app = pod.app(NODE).await;
    // It is busy for some half of the time.
    let guard = Guard { main_thread_percent: Some(10), ..Guard::default() };
    let start = Start { guard, ..pod.start("r", app.id(), Duration::from_mins(1)) };
    pod.begin(&mut channel, &start).await;
    let end = pod.end(&mut channel).await;
    let (_, profile) = pod.published(&end);
    assert_eq!(pod::hottest(&profile), "makeSlow");
    let SessionPhase::Published { ended_early, recorded_ms, .. } = end.phase else { panic!("{end:?}") };
    assert_eq!(ended_early, Some(EarlyEnd::CpuGuard));
    assert!((10_000..30_000).contains(&recorded_ms), "after {recorded_ms} ms");
    assert!(end.remark.as_deref().is_some_and(|text| text.contains("10%")), "{end:?}");
    app.serves().await;
    pod.acknowledge(&mut channel, &end).await;
}
