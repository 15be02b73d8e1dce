//! What isn't Node is never signalled: SIGUSR1's default action is death.

use pitwall_e2e::{App, Request, Story, reason_of};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_python_and_a_sleep_beside_the_app_live_on() {
    let story = Story::new("bystanders");
    let beside = |name: &str, command: serde_json::Value| {
        json!({
            "name": name, "image": "pitwall.local/tools:1", "imagePullPolicy": "Never", "command": command,
            "resources": { "requests": { "cpu": "5m", "memory": "16Mi" } },
        })
    };
    let pod = App::busy()
        .beside(beside("python", json!(["python3", "-c", "import time; time.sleep(10000)"])))
        .beside(beside("sleep", json!(["sleep", "10000"])))
        .deploy(&story)
        .remove(0);
    let object = Request::cpu(&story, "r", "busy", json!({})).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    let restarts =
        story.kubectl(&["get", "pod", &pod, "-o", "jsonpath={.status.containerStatuses[*].restartCount}"]);
    assert_eq!(restarts.trim(), "0 0 0");
}

#[test]
fn a_pod_without_node_says_so() {
    let story = Story::new("no-node");
    story.apply(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "python", "labels": { "app": "python" } },
        "spec": {
            "securityContext": { "runAsUser": 1000, "runAsGroup": 1000 },
            "containers": [{
                "name": "app", "image": "pitwall.local/tools:1", "imagePullPolicy": "Never",
                "command": ["python3", "-c", "import time; time.sleep(10000)"],
            }],
        },
    }));
    story.wait("pod/python", "condition=Ready", Duration::from_secs(60));
    let request = Request::with_target(&story, "r", json!({ "podName": "python" }), json!({}));
    let object = request.finish(Duration::from_secs(30));
    assert_eq!(reason_of(&object), "NoNodeProcess", "{}", object["status"]);
    story.wait("pod/python", "condition=Ready", Duration::from_secs(5));
}
