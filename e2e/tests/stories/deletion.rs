//! Deleting a request while it records.

use pitwall_e2e::{App, Request, Story, eventually, in_store};
use serde_json::json;
use std::time::Duration;

#[test]
fn nothing_is_left_of_a_deleted_recording() {
    let story = Story::new("deletion");
    let pod = App::busy().deploy(&story).remove(0);
    let request = Request::cpu(&story, "r", "busy", json!({ "duration": "60s", "activeDeadline": "120s" }));
    let object = request.reach("Recording", Duration::from_secs(30));
    let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
    assert!(!in_store(&uid).is_empty(), "an upload is under way");
    story.kubectl(&["delete", "profilerequest", "r", "--timeout=60s"]);
    story.inspector_closes(&pod);
    eventually(
        Duration::from_secs(10),
        || format!("left in the store: {:?}", in_store(&uid)),
        || in_store(&uid).is_empty().then_some(()),
    );
}

#[test]
fn nothing_is_left_of_a_deleted_result() {
    let story = Story::new("deletion-after");
    App::busy().deploy(&story);
    let object = Request::cpu(&story, "r", "busy", json!({})).finish(Duration::from_secs(60));
    let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
    assert!(!in_store(&uid).is_empty(), "an artifact is stored");
    story.kubectl(&["delete", "profilerequest", "r", "--timeout=60s"]);
    assert_eq!(in_store(&uid), Vec::<String>::new());
}
