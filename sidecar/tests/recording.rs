//! The main job on real Node processes: look, attach, record, detach, upload, report.

mod pod;

use pitwall_protocol::{EarlyEnd, FailureReason, OpenedBy, OperatorMessage, Readiness, SessionPhase};
use pitwall_test_node::EVERY_NODE;
use pod::app::App;
use pod::{PART, Pod, hottest};
use std::time::Duration;

const NODE: &str = "22.23.3";
const WINDOW: Duration = Duration::from_secs(2);

fn reason(phase: &SessionPhase) -> Option<FailureReason> {
    if let SessionPhase::Failed(failure) = phase { Some(failure.reason) } else { None }
}

async fn main_job(version: &str) {
    let (pod, mut channel) = Pod::connected().await;
    let mut app = pod.app(version).await;
    let seen = pod.look(&mut channel).await;
    let [process] = seen.processes.as_slice() else { panic!("one process: {seen:?}") };
    assert_eq!((process.id, process.container.as_str()), (app.id(), "app"));
    assert_eq!(process.readiness, Readiness::Ready);
    assert!(process.command.contains("server.js"));

    pod.begin(&mut channel, &pod.start("r", process.id, WINDOW)).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
    app.serves().await;
    let end = channel.end().await;

    let (artifact, profile) = pod.published(&end);
    assert_eq!(artifact.parts.len() as u64, artifact.bytes.div_ceil(PART));
    assert_eq!(hottest(&profile), "makeSlow", "{version}");
    let SessionPhase::Published { ended_early, recorded_ms, .. } = end.phase else { unreachable!() };
    assert_eq!(ended_early, None);
    assert!((2000..4000).contains(&recorded_ms), "{recorded_ms} ms");
    assert_eq!(end.node_version.as_deref(), Some(format!("v{version}").as_str()));
    let attach = end.attach.clone().expect("it attached");
    assert_eq!((attach.opened_by, attach.closed), (OpenedBy::Pitwall, true));
    assert!(attach.attach_us > 0 && end.stall.start_us > 0 && end.stall.stop_us > 0);
    assert_eq!(app.other_ports(), [] as [u16; 0]);
    app.says("tick").await;
    app.serves().await;
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn a_cpu_profile_of_every_node_version_names_the_hot_function_and_leaves_nothing_open() {
    for version in EVERY_NODE {
        main_job(version).await;
    }
}

#[tokio::test]
async fn the_process_that_serves_is_chosen_over_the_one_that_started_it() {
    let (pod, mut channel) = Pod::connected().await;
    let app = App::node(&pod.container, NODE, &[], "parent.js").await;
    let seen = pod.look(&mut channel).await;
    let [process] = seen.processes.as_slice() else { panic!("one process: {seen:?}") };
    assert_ne!(process.id, app.id());
    assert!(process.command.contains("server.js"), "{}", process.command);
    assert_eq!(seen.others, 1);
}

#[tokio::test]
async fn the_cpu_time_of_processes_is_measured_where_that_is_asked_for() {
    let (pod, mut channel) = Pod::connected().await;
    // Busy for a third of the time, and standing still.
    let busy = pod.app(NODE).await;
    let idle = pod.app(NODE).await;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(idle.id().pid).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("it runs");
    assert!(pod.look(&mut channel).await.processes.iter().all(|process| process.cpu_millicores.is_none()));
    let seen = pod.measure(&mut channel, 1000).await;
    let of = |app: &App| {
        seen.processes.iter().find(|process| process.id == app.id()).expect("it is seen").cpu_millicores
    };
    assert_eq!(of(&idle), Some(0));
    assert!((100..900).contains(&of(&busy).expect("it was asked for")), "{seen:?}");
}

#[tokio::test]
async fn a_stop_keeps_what_was_recorded_until_then() {
    let (pod, mut channel) = Pod::connected().await;
    let app = pod.app(NODE).await;
    pod.begin(&mut channel, &pod.start("r", app.id(), Duration::from_mins(1))).await;
    let recording = |elapsed| move |phase: &SessionPhase| matches!(phase, SessionPhase::Recording { elapsed_ms, .. } if *elapsed_ms >= elapsed);
    channel.report(|report| recording(0)(&report.phase)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    pod.stop(&mut channel, "r", true).await;
    let end = channel.end().await;
    pod.published(&end);
    let SessionPhase::Published { ended_early, recorded_ms, .. } = end.phase else { unreachable!() };
    assert_eq!(ended_early, Some(EarlyEnd::Stopped));
    assert!((900..20_000).contains(&recorded_ms), "{recorded_ms}");
    assert_eq!(app.other_ports(), [] as [u16; 0]);
}

#[tokio::test]
async fn a_deletion_discards_what_was_recorded() {
    let (pod, mut channel) = Pod::connected().await;
    let app = pod.app(NODE).await;
    pod.begin(&mut channel, &pod.start("r", app.id(), Duration::from_mins(1))).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
    pod.stop(&mut channel, "r", false).await;
    let end = channel.end().await;
    assert_eq!(end.phase, SessionPhase::Discarded);
    assert!(end.attach.as_ref().expect("it attached").closed);
    assert_eq!(app.other_ports(), [] as [u16; 0]);
    assert_eq!(pod.store.uploads(), [] as [String; 0]);
    app.serves().await;
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn a_second_request_for_a_process_is_refused_while_the_first_records() {
    let (pod, mut channel) = Pod::connected().await;
    let app = pod.app(NODE).await;
    pod.begin(&mut channel, &pod.start("first", app.id(), WINDOW)).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
    pod.begin(&mut channel, &pod.start("second", app.id(), WINDOW)).await;
    let refused = channel.end().await;
    assert_eq!(refused.request.0, "second");
    assert_eq!(reason(&refused.phase), Some(FailureReason::Busy));
    let end = channel.end().await;
    assert_eq!(end.request.0, "first");
    pod.published(&end);
    channel.say(&OperatorMessage::Acknowledge { request: refused.request, process: refused.process }).await;
    pod.acknowledge(&mut channel, &end).await;

    pod.begin(&mut channel, &pod.start("third", app.id(), WINDOW)).await;
    pod.published(&channel.end().await);
}

#[tokio::test]
async fn a_repeated_start_changes_nothing_and_is_answered() {
    let (pod, mut channel) = Pod::connected().await;
    let app = pod.app(NODE).await;
    let start = pod.start("r", app.id(), WINDOW);
    pod.begin(&mut channel, &start).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
    pod.begin(&mut channel, &start).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
    pod.published(&channel.end().await);
    assert_eq!(pod.store.uploads(), ["r"]);
}

#[tokio::test]
async fn parts_beyond_the_grant_are_asked_for() {
    // A starved app has few samples: its profile has some 2 KiB.
    const PART: u64 = 256;
    let (pod, mut channel) = Pod::connected().await;
    let app = pod.app(NODE).await;
    let mut start = pod.start("r", app.id(), WINDOW);
    start.grant = pod.store.grant("r", PART, 1, 1);
    pod.begin(&mut channel, &start).await;
    loop {
        match channel.hear().await {
            pitwall_protocol::SidecarMessage::NeedParts {
                upload_id, first_part, request, process, ..
            } => {
                assert_eq!(upload_id, "r");
                let grant = pod.store.grant("r", PART, first_part, 2);
                channel.say(&OperatorMessage::Grant { request, process, grant }).await;
            }
            pitwall_protocol::SidecarMessage::Report(report) if report.phase.is_end() => {
                let (artifact, _) = pod.published(&report);
                assert!(artifact.parts.len() > 3, "{artifact:?}");
                break;
            }
            _ => {}
        }
    }
}
