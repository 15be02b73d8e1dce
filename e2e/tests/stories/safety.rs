//! What protects the pod: a recording waits for a rollout, and ends early where it could hurt.

use pitwall_e2e::{App, Request, Story, eventually, reason_of, target_of};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_request_in_the_middle_of_a_rollout_waits_for_its_end_or_is_refused() {
    let story = Story::new("rollout");
    let old = App::busy().replicas(2).deploy(&story);
    // The new pods are ready only after a while.
    let mut next = App::busy().replicas(2).env("REVISION", "2").manifest();
    next["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] =
        json!({ "exec": { "command": ["true"] }, "initialDelaySeconds": 8 });
    story.apply(&next);

    let refused = json!({ "safety": { "duringRollout": "Refuse" } });
    let object = Request::cpu(&story, "refused", "busy", refused).finish(Duration::from_secs(20));
    assert_eq!(reason_of(&object), "RolloutInProgress", "{}", object["status"]);

    let deferred = Request::cpu(&story, "deferred", "busy", json!({ "duration": "2s" }));
    let phase = || deferred.get()["status"]["phase"].as_str().unwrap_or_default().to_owned();
    eventually(
        Duration::from_secs(20),
        || format!("not deferred: {}", phase()),
        || (phase() == "Deferred").then_some(()),
    );
    let object = deferred.finish(Duration::from_secs(90));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    let pod = target_of(&object)["pod"].as_str().unwrap();
    assert!(!old.contains(&pod.to_owned()), "{pod} is of the old revision");
}

#[test]
fn a_pod_that_is_told_to_end_publishes_what_was_recorded_if_its_app_ends_in_order() {
    // Without a handler of SIGTERM the app is gone at once, and with it what V8 had recorded.
    for (graceful, wanted) in [("1", "ProcessExiting"), ("", "ProcessExited")] {
        let story = Story::new(&format!("sigterm-{}", wanted.to_lowercase()));
        let mut manifest = App::busy().env("GRACEFUL", graceful).manifest();
        manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(20);
        story.apply(&manifest);
        story.kubectl(&["rollout", "status", "deployment/busy", "--timeout=90s"]);
        let pod = story.pods("app=busy").remove(0);
        let request = Request::cpu(&story, "ended", "busy", json!({ "duration": "60s" }));
        request.reach("Recording", Duration::from_secs(30));
        story.kubectl(&["delete", "pod", &pod, "--wait=false"]);
        let object = request.finish(Duration::from_secs(60));
        assert_eq!(reason_of(&object), wanted, "{}", object["status"]);
        let stored = target_of(&object)["artifacts"].as_array().map_or(0, Vec::len);
        assert_eq!(stored, usize::from(wanted == "ProcessExiting"));
    }
}

#[test]
fn a_container_near_its_limit_or_a_pod_that_is_not_ready_ends_the_recording_early() {
    let story = Story::new("guard");
    let mut manifest = App::busy().manifest();
    let ready = json!({ "exec": { "command": ["test", "!", "-e", "/tmp/unready"] }, "periodSeconds": 1, "failureThreshold": 1 });
    manifest["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = ready;
    story.apply(&manifest);
    story.kubectl(&["rollout", "status", "deployment/busy", "--timeout=90s"]);
    let pod = story.pods("app=busy").remove(0);

    // Node alone takes more than a tenth of 256 MiB.
    let guard = json!({ "duration": "60s", "safety": { "guard": { "memoryPercent": 10 } } });
    let object = Request::cpu(&story, "memory", "busy", guard).finish(Duration::from_secs(40));
    assert_eq!(reason_of(&object), "GuardedMemory", "{}", object["status"]);
    assert!(target_of(&object)["message"].as_str().unwrap().contains("25 MiB"), "{}", object["status"]);

    let request = Request::cpu(&story, "readiness", "busy", json!({ "duration": "60s" }));
    request.reach("Recording", Duration::from_secs(30));
    story.kubectl(&["exec", &pod, "-c", "app", "--", "touch", "/tmp/unready"]);
    let object = request.finish(Duration::from_secs(40));
    assert_eq!(reason_of(&object), "GuardedReadiness", "{}", object["status"]);
    assert_eq!(target_of(&object)["artifacts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn an_inspector_that_the_app_opened_is_used_and_left_as_it_was() {
    let story = Story::new("inspect");
    let pod = App::busy().options(&["--inspect=127.0.0.1:9229"]).deploy(&story).remove(0);
    let object = Request::cpu(&story, "r", "busy", json!({})).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    assert_eq!(target_of(&object)["attach"]["openedBy"], "Process");
    assert!(story.listens(&pod, "app", 9229));
}
