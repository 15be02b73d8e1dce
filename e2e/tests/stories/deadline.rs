//! The deadline ends whatever waits.

use pitwall_e2e::{App, Request, Story, reason_of};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_request_that_waits_ends_at_its_deadline_and_says_what_for() {
    let story = Story::new("deadline");
    App::busy().deploy(&story);
    let first = Request::cpu(&story, "first", "busy", json!({ "duration": "60s", "activeDeadline": "120s" }));
    first.reach("Recording", Duration::from_secs(30));
    let second = Request::cpu(&story, "second", "busy", json!({ "duration": "2s", "activeDeadline": "10s" }));
    let object = second.finish(Duration::from_secs(25));
    assert_eq!(reason_of(&object), "DeadlineExceeded", "{}", object["status"]);
    let message = object["status"]["targets"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("TargetBusy") && message.contains("first"), "{message}");
}
