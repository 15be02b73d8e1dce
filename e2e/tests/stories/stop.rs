//! `stop: true` stops and keeps.

use pitwall_e2e::{App, Request, Story, reason_of, target_of};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_stopped_recording_is_kept() {
    let story = Story::new("stop");
    let pod = App::busy().deploy(&story).remove(0);
    let request = Request::cpu(&story, "r", "busy", json!({ "duration": "60s", "activeDeadline": "120s" }));
    request.reach("Recording", Duration::from_secs(30));
    // Something must have been recorded by then.
    std::thread::sleep(Duration::from_secs(3));
    request.patch(&json!({ "stop": true }));
    let object = request.finish(Duration::from_secs(20));
    assert_eq!(reason_of(&object), "Stopped", "{}", object["status"]);
    assert_eq!(target_of(&object)["artifacts"].as_array().map(Vec::len), Some(1));
    assert!(object["status"]["summary"]["hottest"].as_str().is_some_and(|line| line.starts_with("burnCpu ")));
    story.inspector_closes(&pod);
}
