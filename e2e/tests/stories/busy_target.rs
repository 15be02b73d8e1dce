//! Two requests for one process.

use pitwall_e2e::{App, Request, Story, reason_of};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_second_request_waits_for_the_first() {
    let story = Story::new("second-waits");
    App::busy().deploy(&story);
    let first = Request::cpu(&story, "first", "busy", json!({ "duration": "6s" }));
    first.reach("Recording", Duration::from_secs(30));
    let second = Request::cpu(&story, "second", "busy", json!({}));
    let refused = Request::cpu(&story, "refused", "busy", json!({ "concurrency": "Refuse" }));
    assert_eq!(reason_of(&refused.finish(Duration::from_secs(15))), "TargetBusy");
    let first = first.finish(Duration::from_secs(60));
    let second = second.finish(Duration::from_secs(60));
    assert_eq!((reason_of(&first), reason_of(&second)), ("AllStored", "AllStored"), "{}", first["status"]);
    let end = |object: &serde_json::Value| object["status"]["completionTime"].as_str().unwrap().to_owned();
    assert!(end(&first) < end(&second));
}
