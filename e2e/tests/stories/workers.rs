//! The work is in worker threads: each is recorded beside the main thread.

use pitwall_e2e::{App, Request, Story, command, reason_of, run, target_of};
use serde_json::{Value, json};
use std::time::Duration;

fn all_threads_of_node(version: u32) {
    let story = Story::new(&format!("workers-{version}"));
    let pod = App::new("pool", "pool.js").node(version).deploy(&story).remove(0);
    let target = json!({ "workload": { "kind": "Deployment", "name": "pool" }, "threads": "All" });
    let fields = json!({ "type": "CPU", "duration": "3s" });
    let object = Request::with_target(&story, "threads", target, fields).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    let artifacts = target_of(&object)["artifacts"].as_array().unwrap();
    let threads: Vec<_> = artifacts.iter().map(|artifact| &artifact["thread"]).collect();
    assert_eq!(threads, [&Value::Null, &json!("worker-1"), &json!("worker-2")]);
    // The busiest of them speaks for all.
    let summary = &object["status"]["summary"];
    assert!(summary["hottest"].as_str().unwrap().starts_with("crunch20"), "{summary}");
    let told = run(command("kubectl-pitwall").args(["findings", "threads", "-n", &story.namespace]));
    assert!(told.contains("busiest thread busy"), "{told}");

    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    run(command("kubectl-pitwall").args(["download", "threads", "-n", &story.namespace, "--output", output]));
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 3);
    story.inspector_closes(&pod);
}

#[test]
fn all_threads_of_node_18() {
    all_threads_of_node(18);
}

#[test]
fn all_threads_of_node_20() {
    all_threads_of_node(20);
}

#[test]
fn all_threads_of_node_22() {
    all_threads_of_node(22);
}

#[test]
fn all_threads_of_node_24() {
    all_threads_of_node(24);
}

#[test]
fn all_threads_of_node_26() {
    all_threads_of_node(26);
}
