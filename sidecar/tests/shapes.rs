//! The ways in which people run Node: each is found, recorded and left as it was.

mod pod;

use pitwall_protocol::{FailureReason, OpenedBy, ProcessId, SessionPhase};
use pitwall_sidecar::discover::procfs::ProcRoot;
use pitwall_test_node::EVERY_NODE;
use pod::app::{App, free_port, node, script};
use pod::operator::Channel;
use pod::{Pod, hottest};
use std::time::Duration;
use tokio::process::Command;

const WINDOW: Duration = Duration::from_secs(1);

/// Records a process, and says what was hottest in it.
async fn record(pod: &Pod, channel: &mut Channel, request: &str, process: ProcessId) -> String {
    pod.begin(channel, &pod.start(request, process, WINDOW)).await;
    let end = channel.end().await;
    let (_, profile) = pod.published(&end);
    assert!(end.attach.as_ref().expect("it attached").closed);
    pod.acknowledge(channel, &end).await;
    hottest(&profile)
}

#[tokio::test]
async fn the_workers_of_a_cluster_are_recorded_and_its_primary_is_not_signalled() {
    for version in EVERY_NODE {
        let (pod, mut channel) = Pod::connected().await;
        // Its own port for each: 9229 may be another test's.
        let mut app = App::node(&pod.container, version, &["--inspect-port=9400"], "cluster.js").await;
        let seen = pod.look(&mut channel).await;
        assert_eq!((seen.processes.len(), seen.others), (2, 1), "{version}: {seen:?}");
        for (at, process) in seen.processes.iter().enumerate() {
            assert_ne!(process.id, app.id());
            let hot = record(&pod, &mut channel, &format!("r{at}"), process.id).await;
            assert_eq!(hot, "makeSlow", "{version}");
        }
        app.says("tick").await;
        app.serves().await;
    }
}

#[tokio::test]
async fn a_module_that_names_itself_is_recognised_by_its_executable() {
    for version in EVERY_NODE {
        let (pod, mut channel) = Pod::connected().await;
        let mut app = App::node(&pod.container, version, &["--inspect-port=0"], "esm.mjs").await;
        let seen = pod.look(&mut channel).await;
        let [process] = seen.processes.as_slice() else { panic!("one process: {seen:?}") };
        assert_eq!(record(&pod, &mut channel, "r", process.id).await, "makeSlow", "{version}");
        app.says("tick").await;
    }
}

#[tokio::test]
async fn a_process_behind_shells_and_options_in_its_environment_is_found() {
    let (pod, mut channel) = Pod::connected().await;
    let program = format!("{} {}; true", node("22.23.3").display(), script("server.js").display());
    let mut shell = Command::new("sh");
    // It is put into the container a moment after its start; its children are born there.
    shell.args(["-c", &format!("sleep 0.5; sh -c 'NODE_OPTIONS=--inspect-port=0 {program}'; true")]);
    let mut app = App::start(&pod.container, shell).await;
    let seen = pod.look(&mut channel).await;
    let [process] = seen.processes.as_slice() else { panic!("one process: {seen:?}") };
    assert_ne!(process.id, app.id());
    assert_eq!(record(&pod, &mut channel, "r", process.id).await, "makeSlow");
    app.says("tick").await;
}

#[tokio::test]
async fn what_containers_begin_with_and_names_that_processes_give_themselves_hide_nothing() {
    let node = node("24.21.0");
    let server = script("server.js");
    // Started as `npm start` in the folder of an app; npm itself runs on whatever Node the machine has.
    let package = tempfile::tempdir().expect("a folder");
    let start = format!("{} --inspect-port=0 {}", node.display(), server.display());
    let described = serde_json::json!({ "name": "shop", "scripts": { "start": start } });
    std::fs::write(package.path().join("package.json"), described.to_string()).expect("written");
    let behind = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).arg(&node).arg("--inspect-port=0").arg(&server);
        command
    };
    let mut npm = Command::new("npm");
    npm.args(["start", "--prefix"]).arg(package.path());
    let mut titled = Command::new(&node);
    titled.args(["--title=checkout: master", "--inspect-port=0"]).arg(&server);
    for (name, command) in [
        ("tini", behind("tini", &["-s", "--"])),
        ("dumb-init", behind("dumb-init", &["--"])),
        ("npm", npm),
        ("title", titled),
    ] {
        let (pod, mut channel) = Pod::connected().await;
        let mut app = App::start(&pod.container, late(&command)).await;
        let seen = pod.look(&mut channel).await;
        let [process] = seen.processes.as_slice() else { panic!("{name}: one process: {seen:?}") };
        assert_eq!(record(&pod, &mut channel, "r", process.id).await, "makeSlow", "{name}");
        app.says("tick").await;
        app.serves().await;
    }
}

/// The command, begun half a second late: it is put into the container a moment after its start, and its children are
/// born there.
fn late(command: &Command) -> Command {
    let command = command.as_std();
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 0.5; \"$0\" \"$@\"; true"]).arg(command.get_program()).args(command.get_args());
    shell
}

#[tokio::test]
async fn the_processes_that_pm2_keeps_are_recorded_and_pm2_is_not() {
    for (mode, workers) in [(&["-i", "2"][..], 2), (&[], 1)] {
        let (pod, mut channel) = Pod::connected().await;
        let home = tempfile::tempdir().expect("a folder");
        let mut pm2 = Command::new(node("22.23.3"));
        pm2.arg(pitwall_test_node::pm2("pm2-runtime")).args(["start", "--raw"]).args(mode);
        pm2.args(["--node-args=--inspect-port=0"]).arg(script("server.js"));
        let mut pm2 = late(&pm2);
        pm2.env("PM2_HOME", home.path());
        let mut app = App::start(&pod.container, pm2).await;
        // The second one may still be starting.
        let mut seen = pod.look(&mut channel).await;
        for _ in 0..50 {
            if seen.processes.len() == workers {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            seen = pod.look(&mut channel).await;
        }
        assert_eq!(seen.processes.len(), workers, "{seen:?}");
        for (at, process) in seen.processes.iter().enumerate() {
            assert!(!process.command.contains("pm2-runtime"), "{seen:?}");
            assert_eq!(record(&pod, &mut channel, &format!("r{at}"), process.id).await, "makeSlow");
        }
        app.says("tick").await;
    }
}

#[tokio::test]
async fn several_processes_of_a_container_are_recorded_one_after_another() {
    let (pod, mut channel) = Pod::connected().await;
    let apps = [pod.app("22.23.3").await, pod.app("24.21.0").await, pod.app("26.10.0").await];
    let seen = pod.look(&mut channel).await;
    assert_eq!(seen.processes.len(), 3);
    for (at, app) in apps.iter().enumerate() {
        assert_eq!(record(&pod, &mut channel, &format!("r{at}"), app.id()).await, "makeSlow");
        app.serves().await;
    }
}

#[tokio::test]
async fn an_inspector_that_the_app_opened_is_used_and_left_open_unless_somebody_else_uses_it() {
    for version in EVERY_NODE {
        let (pod, mut channel) = Pod::connected().await;
        let port = free_port();
        let option = format!("--inspect=127.0.0.1:{port}");
        let app = App::node(&pod.container, version, &[&option], "server.js").await;

        let debugger = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it is open");
        pod.begin(&mut channel, &pod.start("busy", app.id(), WINDOW)).await;
        let end = channel.end().await;
        let SessionPhase::Failed(failure) = &end.phase else { panic!("{end:?}") };
        assert_eq!(failure.reason, FailureReason::InspectorAlreadyOpen, "{version}");
        pod.acknowledge(&mut channel, &end).await;
        drop(debugger);
        let proc = ProcRoot::default();
        while proc.clients_of(app.id().pid, port).expect("it runs") > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }

        pod.begin(&mut channel, &pod.start("r", app.id(), WINDOW)).await;
        let end = channel.end().await;
        let (_, profile) = pod.published(&end);
        assert_eq!(hottest(&profile), "makeSlow", "{version}");
        let attach = end.attach.clone().expect("it attached");
        assert_eq!((attach.opened_by, attach.closed), (OpenedBy::Process, false));
        pod.acknowledge(&mut channel, &end).await;
        assert_eq!(app.other_ports(), [port], "{version}: it is open as it was");
        app.serves().await;
    }
}

#[tokio::test]
async fn what_is_taken_for_node_and_is_not_is_named_and_never_signalled() {
    let (pod, mut channel) = Pod::connected().await;
    let folder = tempfile::tempdir().expect("a folder");
    // Node 26 makes one file of itself and an app.
    let settings = serde_json::json!({ "main": script("server.js"), "output": folder.path().join("shop"),
        "disableExperimentalSEAWarning": true });
    std::fs::write(folder.path().join("sea.json"), settings.to_string()).expect("it is written");
    let built = Command::new(node("26.10.0")).arg("--build-sea").arg(folder.path().join("sea.json")).output();
    let built = built.await.expect("Node runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut single = App::start(&pod.container, Command::new(folder.path().join("shop"))).await;
    // Bun goes by its name alone.
    let bun = folder.path().join("bun");
    std::fs::copy("/bin/sleep", &bun).expect("it is copied");
    let mut bun = Command::new(bun).arg("600").kill_on_drop(true).spawn().expect("it starts");
    let pid = bun.id().expect("it runs");
    pod.container.admit(pid);

    let seen = pod.look(&mut channel).await;
    assert_eq!((seen.processes.len(), seen.others), (0, 2));
    let named = |pid| seen.lookalikes.iter().find(|one| one.pid == pid).map(|one| one.runtime.as_str());
    assert_eq!(named(pid), Some("Bun"));
    assert_eq!(named(single.id().pid), Some("a single executable application of Node.js"));
    pod.begin(&mut channel, &pod.start("r", single.id(), WINDOW)).await;
    let SessionPhase::Failed(failure) = channel.end().await.phase else { panic!("it is refused") };
    assert_eq!(failure.reason, FailureReason::NotNode);
    assert!(failure.message.contains("a single executable application"), "{}", failure.message);
    single.says("tick").await;
    assert_eq!(single.other_ports(), [] as [u16; 0]);
    assert!(bun.try_wait().expect("a child").is_none(), "it lives");
}
