//! Pitwall scaled to zero holds nothing up.

use super::Scaled;
use pitwall_e2e::{App, Request, Story, eventually, in_store, kubectl, reason_of, run};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_namespace_is_deleted_without_the_operator() {
    let story = Story::new("operator-gone");
    App::busy().deploy(&story);
    let object = Request::cpu(&story, "done", "busy", json!({})).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    let running = Request::cpu(&story, "running", "busy", json!({ "duration": "60s" }));
    running.reach("Recording", Duration::from_secs(30));
    let kept = Story::new("operator-back");
    App::busy().deploy(&kept);
    let survivor = Request::cpu(&kept, "kept", "busy", json!({}));
    survivor.finish(Duration::from_secs(60));
    let uids = [&object, &running.get()].map(|object| object["metadata"]["uid"].as_str().unwrap().to_owned());
    assert!(!in_store(&uids[0]).is_empty());

    let away = Scaled::to(0);
    run(&mut kubectl(&["delete", "namespace", &story.namespace, "--timeout=90s"]));
    drop(away);

    // What was recorded there goes once there is an operator again; what was kept is held as before.
    for uid in uids {
        eventually(
            Duration::from_secs(30),
            || format!("left in the store: {:?}", in_store(&uid)),
            || in_store(&uid).is_empty().then_some(()),
        );
    }
    let finalizers = survivor.get()["metadata"]["finalizers"].to_string();
    assert!(finalizers.contains("pitwall.dev/recordings"), "{finalizers}");
    let uid = survivor.get()["metadata"]["uid"].as_str().unwrap().to_owned();
    assert!(!in_store(&uid).is_empty(), "the other namespace's artifact was deleted");
}

#[test]
fn deploys_go_on_without_the_operator() {
    let story = Story::new("operator-down");
    let away = Scaled::to(0);
    App::busy().deploy(&story);
    drop(away);
    // Its pods have no sidecar, and the operator says so once it is back.
    let object = Request::cpu(&story, "r", "busy", json!({})).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "NotInjected");
}
