//! The app ends by itself while it is recorded.

use pitwall_e2e::{App, Request, Story, reason_of};
use serde_json::json;
use std::time::Duration;

#[test]
fn what_was_recorded_before_the_exit_is_kept() {
    let story = Story::new("app-exits");
    App::busy().env("EXIT_AFTER_MS", "15000").deploy(&story);
    let request = Request::cpu(&story, "r", "busy", json!({ "duration": "60s" }));
    let object = request.finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "ProcessExiting", "{}", object["status"]);
    assert_eq!(object["status"]["phase"], "Succeeded");
}
