//! As whom a pod runs, and what the sidecar then is.

use pitwall_e2e::{App, Request, RunAs, Story, eventually, reason_of};
use serde_json::json;
use std::time::Duration;

fn is_recorded(name: &str, run_as: RunAs) {
    let story = Story::new(name);
    let pod = App::busy().run_as(run_as).deploy(&story).remove(0);
    let object = Request::cpu(&story, "r", "busy", json!({})).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    story.inspector_closes(&pod);
}

#[test]
fn a_pod_that_does_not_say_its_uid_is_recorded_too() {
    is_recorded("unsaid", RunAs::Unsaid);
}

#[test]
fn a_pod_that_is_root_because_nobody_said_anything_is_recorded_too() {
    is_recorded("careless", RunAs::Careless);
}

#[test]
fn a_pod_that_says_root_is_recorded_too() {
    is_recorded("root", RunAs::Root);
}

#[test]
fn a_restricted_namespace_takes_the_sidecar() {
    let story = Story::labelled(
        "restricted",
        &["pitwall.dev/inject=enabled", "pod-security.kubernetes.io/enforce=restricted"],
    );
    let mut manifest = App::busy().manifest();
    manifest["spec"]["template"]["spec"]["securityContext"]["seccompProfile"] =
        json!({ "type": "RuntimeDefault" });
    manifest["spec"]["template"]["spec"]["containers"][0]["securityContext"] =
        json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
    story.apply(&manifest);
    story.kubectl(&["rollout", "status", "deployment/busy", "--timeout=60s"]);
    let object = Request::cpu(&story, "r", "busy", json!({})).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
}

#[test]
fn a_pod_that_is_left_alone_is_told_why() {
    let story = Story::new("left-alone");
    let mut manifest = App::busy().manifest();
    manifest["spec"]["template"]["spec"]["securityContext"] = json!({ "runAsNonRoot": true });
    story.apply(&manifest);
    let pod = eventually(
        Duration::from_secs(20),
        || "no pod came".to_owned(),
        || story.pods("app=busy").into_iter().next(),
    );
    let annotation = story.kubectl(&[
        "get",
        "pod",
        &pod,
        "-o",
        r"jsonpath={.metadata.annotations.pitwall\.dev/not-injected}",
    ]);
    assert!(!annotation.trim().is_empty());
    eventually(
        Duration::from_secs(20),
        || "no Event was made".to_owned(),
        || {
            let events =
                story.kubectl(&["get", "events", "--field-selector", &format!("involvedObject.name={pod}")]);
            events.contains("pitwall.dev/run-as").then_some(())
        },
    );
}
