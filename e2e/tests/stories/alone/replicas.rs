//! Two replicas: one leads, and recordings outlive the change of the leader.

use super::{Scaled, own};
use pitwall_e2e::{App, Request, Story, eventually, reason_of};
use serde_json::{Value, json};
use std::time::Duration;

fn holder() -> String {
    own(&["get", "lease", "pitwall-operator", "-o", "jsonpath={.spec.holderIdentity}"]).trim().to_owned()
}

/// The pod that sidecars find behind the channel's Service.
fn behind_the_channel() -> Vec<String> {
    let endpoints =
        ["get", "endpointslices", "-l", "kubernetes.io/service-name=pitwall-channel", "-o", "json"];
    let slices: Value = serde_json::from_str(&own(&endpoints)).unwrap();
    let endpoints =
        slices["items"].as_array().unwrap().iter().filter_map(|slice| slice["endpoints"].as_array());
    endpoints.flatten().filter_map(|one| one["targetRef"]["name"].as_str()).map(str::to_owned).collect()
}

fn recording(story: &Story) -> (String, Request<'_>) {
    let pod = App::busy().deploy(story).remove(0);
    let request = Request::cpu(story, "r", "busy", json!({ "duration": "15s", "activeDeadline": "150s" }));
    request.reach("Recording", Duration::from_secs(60));
    (pod, request)
}

fn is_completed(story: &Story, (pod, request): &(String, Request<'_>)) {
    let object = request.finish(Duration::from_secs(120));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    story.inspector_closes(pod);
    eventually(
        Duration::from_secs(30),
        || format!("{} leads, and the channel leads to {:?}", holder(), behind_the_channel()),
        || (behind_the_channel() == [holder()]).then_some(()),
    );
}

#[test]
fn a_replica_takes_over_from_a_killed_leader() {
    let story = Story::new("leader-killed");
    let two = Scaled::to(2);
    let recording = recording(&story);
    let leader = holder();
    own(&["delete", "pod", &leader, "--grace-period=0", "--force"]);
    is_completed(&story, &recording);
    assert_ne!(holder(), leader);
    drop(two);
}

#[test]
fn a_leader_that_lost_its_lease_lets_go() {
    let story = Story::new("lease-lost");
    let two = Scaled::to(2);
    let recording = recording(&story);
    let leader = holder();
    // As if a third replica had taken it, and then died.
    let patch = json!({ "spec": { "holderIdentity": "thief", "renewTime": "2026-01-01T00:00:00.000000Z" } });
    own(&["patch", "lease", "pitwall-operator", "--type=merge", "-p", &patch.to_string()]);
    eventually(
        Duration::from_secs(20),
        || format!("{leader} did not let go"),
        || {
            let log = own(&["logs", &leader, "--since=60s"]);
            log.contains("another replica holds the Lease").then_some(())
        },
    );
    is_completed(&story, &recording);
    assert_ne!(holder(), "thief");
    drop(two);
}
