//! Ctrl-C: the first stops and keeps, the second leaves.
#![expect(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod api;

use api::{Api, end};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tokio::process::Child;

/// A request that records.
fn recording() -> Value {
    json!({
        "phase": "Running",
        "targets": [{ "pod": "x", "podUID": "1", "container": "app", "pid": 17, "phase": "Recording" }],
    })
}

/// A request that was stopped, and kept.
fn stopped() -> Value {
    let condition = |kind: &str| {
        json!({ "type": kind, "status": "True", "reason": "Stopped", "message": "1 of 1 stored",
                "lastTransitionTime": "1970-01-01T00:00:00Z" })
    };
    json!({ "phase": "Succeeded", "conditions": [condition("Complete"), condition("Finished")] })
}

fn press_ctrl_c(child: &Child) {
    let pid = child.id().expect("it runs").try_into().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
}

/// Records, and has got to where it is followed.
async fn followed() -> (Api, Child) {
    let mut api = Api::start(recording()).await;
    let child = api.run("cpu pod/x --no-download");
    assert_eq!(api.asked("create").await["spec"]["stop"], false);
    api.asked("watch").await;
    (api, child)
}

#[tokio::test]
async fn the_first_ctrl_c_stops_and_keeps() {
    let (mut api, child) = followed().await;
    press_ctrl_c(&child);
    assert_eq!(api.asked("patch").await, json!({ "spec": { "stop": true } }));
    api.change(stopped());
    let (code, stdout, stderr) = end(child).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, "x-cpu-abcde recorded: Stopped: 1 of 1 stored\n");
}

#[tokio::test]
async fn the_second_ctrl_c_leaves_and_says_how_to_follow_later() {
    let (mut api, child) = followed().await;
    press_ctrl_c(&child);
    api.asked("patch").await;
    press_ctrl_c(&child);
    let (code, stdout, stderr) = end(child).await;
    assert_eq!(code, Some(130), "{stderr}");
    assert_eq!(stdout, "");
    assert!(stderr.contains("kubectl pitwall follow x-cpu-abcde -n shop"), "{stderr}");
    assert_eq!(api.count("patch"), 0, "it was asked to stop once more");
}

#[tokio::test]
async fn without_ctrl_c_nothing_is_stopped() {
    let (mut api, child) = followed().await;
    api.change(stopped());
    assert_eq!(end(child).await.0, Some(0));
    assert_eq!(api.count("patch"), 0);
}
