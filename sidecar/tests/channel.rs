//! The control channel's bad days, and the process that keeps the worker running.

mod pod;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pitwall_protocol::{CloseCode, OperatorMessage, SessionPhase, VERSION, Welcome};
use pod::{PATIENCE, Pod};
use std::sync::Arc;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const NODE: &str = "22.23.3";

#[tokio::test]
async fn the_hello_says_who_dials_and_with_which_version() {
    let mut pod = Pod::new().await;
    pod.start_worker();
    let (_, hello) = pod.operator.accept().await;
    assert_eq!((hello.version, hello.epoch, hello.sessions.len()), (VERSION, 0, 0));
    assert_eq!(
        (hello.pod.namespace.as_str(), hello.pod.name.as_str(), hello.pod.uid.as_str()),
        ("shop", "checkout-1", "pod-uid")
    );
}

#[tokio::test]
async fn a_malformed_frame_is_hung_up_on_and_the_sidecar_dials_again() {
    use futures_util::SinkExt;
    let (pod, mut channel) = Pod::connected().await;
    for frame in [
        Message::text("{"),
        Message::text(r#"{"type":"stop"}"#),
        Message::binary(vec![1, 2]),
        Message::text(format!(r#"{{"type":"{}"}}"#, "x".repeat(pitwall_protocol::MAX_MESSAGE))),
    ] {
        // It may hang up before all of it is sent.
        channel.socket.send(frame).await.ok();
        let code = channel.hung_up().await;
        assert!(code.is_none_or(|code| code == CloseCode::Malformed as u16), "{code:?}");
        (channel, _) = pod.operator.welcome().await;
    }
}

#[tokio::test]
async fn a_message_of_a_newer_operator_is_skipped() {
    use futures_util::SinkExt;
    let (pod, mut channel) = Pod::connected().await;
    channel.socket.send(Message::text(r#"{"type":"sing","song":"la"}"#)).await.expect("it listens");
    assert_eq!(pod.look(&mut channel).await.processes, []);
}

#[tokio::test]
async fn an_older_leader_is_not_obeyed() {
    let mut pod = Pod::new().await;
    pod.start_worker();
    let (mut channel, _) = pod.operator.accept().await;
    channel.say(&pod.operator.welcome_message(7)).await;
    pod.look(&mut channel).await;
    drop(channel);
    let (mut channel, hello) = pod.operator.accept().await;
    assert_eq!(hello.epoch, 7);
    channel.say(&pod.operator.welcome_message(6)).await;
    assert_eq!(channel.hung_up().await, Some(CloseCode::NotLeader as u16));
    let (mut channel, _) = pod.operator.accept().await;
    channel.say(&pod.operator.welcome_message(8)).await;
    pod.look(&mut channel).await;
}

#[tokio::test]
async fn another_version_is_refused_with_both_named() {
    let mut pod = Pod::new().await;
    pod.start_worker();
    let (mut channel, _) = pod.operator.accept().await;
    let welcome = Welcome { version: VERSION + 1, epoch: 1, ca: None, store_ca: None };
    channel.say(&OperatorMessage::Welcome(welcome)).await;
    assert_eq!(channel.hung_up().await, Some(CloseCode::UnsupportedVersion as u16));
    pod.operator.welcome().await;
}

#[tokio::test]
async fn the_leader_is_looked_for_without_delay() {
    let mut pod = Pod::new().await;
    pod.start_worker();
    for _ in 0..3 {
        let (mut channel, _) = pod.operator.accept().await;
        let code = CloseCode::NotLeader as u16;
        let frame = CloseFrame { code: code.into(), reason: "not leader".into() };
        channel.socket.close(Some(frame)).await.expect("it listens");
    }
    let (mut channel, _) =
        tokio::time::timeout(Duration::from_secs(10), pod.operator.welcome()).await.expect("soon");
    pod.look(&mut channel).await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_not_trusted() {
    let mut pod = Pod::new().await;
    pod.set("PITWALL_CA", pod::authority::Authority::new().ca);
    pod.start_worker();
    let refused = tokio::time::timeout(Duration::from_secs(3), pod.operator.accept()).await;
    assert!(refused.is_err(), "it never says hello");
    assert!(pod.log().contains("TLS"), "{}", pod.log());
}

#[tokio::test]
async fn an_authority_that_was_announced_is_trusted_by_the_next_worker_too() {
    let mut pod = Pod::new().await;
    pod.start_worker();
    let (mut channel, _) = pod.operator.welcome().await;
    let next = Arc::new(pod::authority::Authority::new());
    let welcome = Welcome { version: VERSION, epoch: 1, ca: Some(next.ca.clone()), store_ca: None };
    channel.say(&OperatorMessage::Welcome(welcome)).await;
    pod.look(&mut channel).await;
    pod.operator.changes_to(next);
    drop(channel);
    let (channel, _) = pod.operator.welcome().await;
    pod.kill_worker().await;
    drop(channel);
    pod.start_worker();
    let (mut channel, _) = pod.operator.welcome().await;
    pod.look(&mut channel).await;
}

#[tokio::test]
async fn the_supervisor_starts_a_worker_that_died_again_and_ends_when_it_is_told_to() {
    let pod = Pod::new().await;
    let mut supervisor = pod.sidecar("supervise").spawn().expect("it starts");
    let (mut channel, _) = pod.operator.welcome().await;
    let app = pod.app(NODE).await;
    let children = || {
        let id = supervisor.id().expect("it runs");
        std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("it runs")
    };
    let worker: i32 = children().trim().parse().expect("one child");
    pod.begin(&mut channel, &pod.start("r", app.id(), Duration::from_mins(1))).await;
    channel.report(|report| matches!(report.phase, SessionPhase::Recording { .. })).await;
    kill(Pid::from_raw(worker), Signal::SIGKILL).expect("it runs");

    let (mut channel, hello) = pod.operator.welcome().await;
    let [session] = hello.sessions.as_slice() else { panic!("one session: {hello:?}") };
    let end = if session.phase.is_end() { session.clone() } else { channel.end().await };
    assert_eq!(app.other_ports(), [] as [u16; 0]);
    pod.acknowledge(&mut channel, &end).await;
    assert_ne!(children().trim(), worker.to_string());

    kill(Pid::from_raw(i32::try_from(supervisor.id().expect("it runs")).expect("a pid")), Signal::SIGTERM)
        .expect("it runs");
    let status = tokio::time::timeout(PATIENCE, supervisor.wait()).await.expect("in time").expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert!(pod.log().contains("the worker ends"), "it was told, not killed");
}

#[tokio::test]
async fn a_worker_without_settings_says_which_one_is_missing_and_the_supervisor_lives_on() {
    let mut pod = Pod::new().await;
    pod.set("PITWALL_OPERATOR_URL", "");
    let mut supervisor = pod.sidecar("supervise").spawn().expect("it starts");
    let said = async {
        while !(pod.log().contains("no PITWALL_OPERATOR_URL") && pod.log().contains("again in 2 s")) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, said).await.expect("it says so");
    assert!(supervisor.try_wait().expect("a child").is_none());
    kill(Pid::from_raw(i32::try_from(supervisor.id().expect("it runs")).expect("a pid")), Signal::SIGTERM)
        .expect("it runs");
    let status = tokio::time::timeout(PATIENCE, supervisor.wait()).await.expect("in time").expect("it ends");
    assert_eq!(status.code(), Some(0), "also between two workers");
}
