//! Which of many pods are recorded, and how many at once.

use pitwall_e2e::{App, Request, Story, eventually, finished, reason_of};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

#[test]
fn the_busiest_pod_of_several_is_recorded() {
    let story = Story::new("busiest");
    App::new("idle", "pool.js").env("IDLE", "1").replicas(2).label("part", "shop").deploy(&story);
    let busy = App::busy().label("part", "shop").deploy(&story).remove(0);
    let target = json!({ "selector": { "matchLabels": { "part": "shop" } }, "pods": { "limit": "30%", "pick": "Busiest" } });
    let fields = json!({ "duration": "2s" });
    let object = Request::with_target(&story, "r", target, fields).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    let pods: Vec<_> =
        object["status"]["targets"].as_array().unwrap().iter().map(|one| &one["pod"]).collect();
    assert_eq!(pods, [&json!(busy)]);
}

#[test]
fn pods_take_turns_where_only_a_share_of_them_may_be_recorded_at_once() {
    let story = Story::new("at-once");
    let pods: BTreeSet<_> = App::busy().replicas(3).deploy(&story).into_iter().collect();
    let workload = json!({ "kind": "Deployment", "name": "busy" });
    let target = json!({ "workload": workload, "pods": { "limit": "100%", "atOnce": "40%" } });
    let request = Request::with_target(&story, "r", target, json!({ "duration": "2s" }));
    let mut most = 0;
    let object = eventually(
        Duration::from_secs(90),
        || format!("not finished: {}", request.get()["status"]),
        || {
            let object = request.get();
            let targets = object["status"]["targets"].as_array().cloned().unwrap_or_default();
            let active = targets.iter().filter(|one| one["phase"] == "Recording").count();
            most = most.max(active);
            finished(&object).then_some(object)
        },
    );
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    let targets = object["status"]["targets"].as_array().unwrap();
    let recorded: BTreeSet<_> = targets.iter().map(|one| one["pod"].as_str().unwrap().to_owned()).collect();
    assert_eq!(recorded, pods);
    assert!(most <= 2, "{most} at once");
}

#[test]
fn each_worker_of_a_cluster_is_recorded_and_its_primary_is_left_alone() {
    let story = Story::new("cluster");
    let pod = App::new("cluster", "cluster.js").deploy(&story).remove(0);
    let object =
        Request::cpu(&story, "r", "cluster", json!({ "duration": "2s" })).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    let targets = object["status"]["targets"].as_array().unwrap();
    let pids: BTreeSet<_> = targets.iter().map(|target| target["pid"].as_u64().unwrap()).collect();
    assert_eq!((targets.len(), pids.len()), (2, 2), "{targets:?}");
    assert!(object["status"]["summary"]["hottest"].as_str().unwrap().starts_with("burnCpu"));
    story.inspector_closes(&pod);
}
