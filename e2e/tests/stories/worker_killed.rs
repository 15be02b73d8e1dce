//! The sidecar's worker dies while it records: the app and the pod go on, the inspector is closed, the loss is said.

use pitwall_e2e::{App, Request, RunAs, Story, reason_of, target_of};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_killed_worker_leaves_no_open_inspector() {
    let story = Story::new("worker-killed");
    let pod = App::busy().run_as(RunAs::Said).deploy(&story).remove(0);
    let request = Request::cpu(&story, "r", "busy", json!({ "duration": "60s" }));
    request.reach("Recording", Duration::from_secs(30));
    assert!(story.listens(&pod, "app", 9229));
    // The same uid, so the app's container may signal it.
    story.kill(&pod, &["pitwall-sidecar", "work"]);
    let object = request.finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "SidecarRestarted", "{}", object["status"]);
    assert!(target_of(&object)["message"].as_str().is_some_and(|message| !message.is_empty()));
    story.inspector_closes(&pod);
    let ready =
        story.kubectl(&["get", "pod", &pod, "-o", "jsonpath={.status.containerStatuses[*].restartCount}"]);
    assert_eq!(ready.trim(), "0", "the app was restarted");
    story.wait(&format!("pod/{pod}"), "condition=Ready", Duration::from_secs(5));
}
