//! `kubectl wait --for=condition=Finished` returns at every end, and goes on doing so.

use pitwall_e2e::{App, Request, Story, finished};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_patched_ttl_does_not_make_kubectl_wait_hang() {
    let story = Story::new("wait");
    App::busy().deploy(&story);
    let request = Request::cpu(&story, "r", "busy", json!({}));
    assert!(finished(&request.finish(Duration::from_secs(60))));
    request.patch(&json!({ "ttlAfterFinished": "1h" }));
    let object = request.finish(Duration::from_secs(10));
    let generation = object["metadata"]["generation"].as_i64();
    assert_eq!((generation, object["status"]["observedGeneration"].as_i64()), (Some(2), Some(2)));
    // A short one ends it, artifacts included.
    request.patch(&json!({ "ttlAfterFinished": "1s" }));
    story.kubectl(&["wait", "profilerequest/r", "--for=delete", "--timeout=30s"]);
}
