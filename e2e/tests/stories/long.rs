//! Something is slow a few times an hour: the CPU is recorded for long, and what there is isn't lost.

use pitwall_e2e::{App, Request, Story, reason_of, target_of};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_recording_of_hours_is_kept_when_it_is_stopped_and_when_its_app_is_killed() {
    let story = Story::new("long");
    let pod = App::busy().deploy(&story).remove(0);
    let request =
        Request::cpu(&story, "stopped", "busy", json!({ "duration": "8h", "activeDeadline": "9h" }));
    request.reach("Recording", Duration::from_secs(30));
    std::thread::sleep(Duration::from_secs(3));
    request.patch(&json!({ "stop": true }));
    let object = request.finish(Duration::from_secs(30));
    assert_eq!(reason_of(&object), "Stopped", "{}", object["status"]);
    let summary = &object["status"]["summary"];
    assert!(summary["hottest"].as_str().unwrap().starts_with("burnCpu"), "{summary}");
    story.inspector_closes(&pod);

    // A chunk is a minute long.
    let request =
        Request::cpu(&story, "killed", "busy", json!({ "duration": "11m", "activeDeadline": "20m" }));
    request.reach("Recording", Duration::from_secs(30));
    std::thread::sleep(Duration::from_secs(66));
    story.kill(&pod, &["busy.js"]);
    let object = request.finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "CutShort", "{}", object["status"]);
    let target = target_of(&object);
    assert!(target["message"].as_str().unwrap().contains("was killed"), "{target}");
    assert_eq!(target["artifacts"].as_array().map(Vec::len), Some(1), "{target}");
    assert!(object["status"]["summary"]["hottest"].as_str().unwrap().starts_with("burnCpu"));
}
