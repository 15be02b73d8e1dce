//! Why a function is slow though its code is simple: what V8 optimized and deoptimized, recorded beside a CPU profile.

use pitwall_e2e::{App, Request, Story, command, in_store, reason_of, run, target_of};
use serde_json::{Value, json};
use std::time::Duration;

fn traced_of_node(version: u32) {
    let story = Story::new(&format!("optimizations-{version}"));
    let pod = App::new("deopts", "deopts.js").node(version).deploy(&story).remove(0);
    let fields = json!({ "duration": "3s", "cpu": { "traceOptimizations": true } });
    let object = Request::cpu(&story, "traced", "deopts", fields).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    let target = target_of(&object);
    let delay = &target["load"]["eventLoopDelay"];
    assert!(delay["max"].is_string() && target["load"]["mainThread"]["running"].is_string(), "{target}");

    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    run(command("kubectl-pitwall").args(["download", "traced", "-n", &story.namespace, "--output", output]));
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let trace = files.into_iter().find(|path| path.to_string_lossy().ends_with("-optimizations.json"));
    let trace: Value = serde_json::from_slice(&std::fs::read(trace.unwrap()).unwrap()).unwrap();
    let functions = trace["functions"].as_array().unwrap();
    let planted = functions.iter().find(|one| one["function"] == "planted").unwrap();
    assert!(planted["deoptimized"].as_u64().unwrap() >= 5, "{planted}");
    let reasons = planted["reasons"].as_array().unwrap();
    assert!(reasons.iter().any(|one| one["reason"] == "not a Smi"), "{planted}");

    story.inspector_closes(&pod);
    let list = "console.log(require('fs').readdirSync('/dev/shm').join())";
    let left = story.kubectl(&["exec", &pod, "-c", "app", "--", "node", "-e", list]);
    assert_eq!(left.trim(), "", "the trace's file stays");
    let stored = in_store(object["metadata"]["uid"].as_str().unwrap());
    assert!(stored.iter().any(|key| key.ends_with("/manifest.json")), "{stored:?}");

    let told = run(command("kubectl-pitwall").args(["findings", "traced", "-n", &story.namespace]));
    assert!(told.contains("event loop late by up to"), "{told}");
}

#[test]
fn what_v8_deoptimizes_in_node_18() {
    traced_of_node(18);
}

#[test]
fn what_v8_deoptimizes_in_node_20() {
    traced_of_node(20);
}

#[test]
fn what_v8_deoptimizes_in_node_22() {
    traced_of_node(22);
}

#[test]
fn what_v8_deoptimizes_in_node_24() {
    traced_of_node(24);
}

#[test]
fn what_v8_deoptimizes_in_node_26() {
    traced_of_node(26);
}
