//! Someone wonders where the memory goes: samples allocations, takes a snapshot, and is kept from killing the pod.

use pitwall_e2e::{App, Request, Story, command, message_of, reason_of, run, target_of};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);

fn heap_app() -> App {
    App::new("heap", "heap.js")
}

/// The one artifact of a request, as `kubectl pitwall download` saves it.
fn download(story: &Story, name: &str, extension: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    run(command("kubectl-pitwall").args(["download", name, "-n", &story.namespace, "--output", output]));
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    assert_eq!(file.extension().unwrap(), extension);
    serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap()
}

/// The bytes that a function and what it calls allocated.
fn allocated_by(node: &Value, function: &str) -> u64 {
    let own =
        if node["callFrame"]["functionName"] == function { node["selfSize"].as_u64().unwrap() } else { 0 };
    let children = node["children"].as_array().unwrap();
    own + children.iter().map(|child| allocated_by(child, function)).sum::<u64>()
}

fn heap_of(version: u32) {
    let story = Story::new(&format!("heap-{version}"));
    // A second snapshot finds the memory of the first one, which Node keeps.
    let pod = heap_app().node(version).memory("512Mi").deploy(&story).remove(0);

    let settings = json!({ "samplingInterval": "4Ki" });
    let fields = json!({ "type": "HeapSampling", "heapSampling": settings });
    let object = Request::cpu(&story, "allocations", "heap", fields).finish(PATIENCE);
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    let profile = download(&story, "allocations", "heapprofile");
    assert!(allocated_by(&profile["head"], "keepSome") > 0, "what lives is seen where it was allocated");
    let live = allocated_by(&profile["head"], "dropMuch");

    let fields =
        json!({ "type": "HeapSampling", "heapSampling": { "samplingInterval": "4Ki", "include": "All" } });
    let object = Request::cpu(&story, "churn", "heap", fields).finish(PATIENCE);
    if version == 18 {
        assert_eq!(reason_of(&object), "UnsupportedByNode", "{}", object["status"]);
        assert!(message_of(&object).contains("Node.js 20"), "{}", message_of(&object));
    } else {
        let profile = download(&story, "churn", "heapprofile");
        let all = allocated_by(&profile["head"], "dropMuch");
        assert!(all > 4 * live + 1, "{all} bytes in all, {live} that live");
    }

    let object = Request::snapshot(&story, "objects", "heap", json!({})).finish(PATIENCE);
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    let preflight = &target_of(&object)["preflight"];
    assert!(
        preflight["checks"].as_array().unwrap().iter().all(|check| check["holds"] == true),
        "{preflight}"
    );
    let snapshot = download(&story, "objects", "heapsnapshot");
    let strings = snapshot["strings"].as_array().unwrap();
    for kept in ["KeptThing", "token 7 Zq7xKf9Lp2"] {
        assert!(strings.iter().any(|string| string == kept), "{kept}");
    }

    // The same without what it says: names stay, the text that was planted is gone.
    let redacted = json!({ "heapSnapshot": { "redact": "Strings" } });
    let object = Request::snapshot(&story, "redacted", "heap", redacted).finish(PATIENCE);
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    let snapshot = download(&story, "redacted", "heapsnapshot");
    let strings = snapshot["strings"].as_array().unwrap();
    assert!(strings.iter().any(|string| string == "KeptThing"));
    assert!(!strings.iter().any(|string| string.as_str().unwrap().contains("Zq7xKf9Lp2")));

    story.inspector_closes(&pod);
    let restarts =
        story.kubectl(&["get", "pod", &pod, "-o", "jsonpath={.status.containerStatuses[*].restartCount}"]);
    assert_eq!(restarts.trim(), "0");
}

#[test]
fn the_heap_of_node_18() {
    heap_of(18);
}

#[test]
fn the_heap_of_node_20() {
    heap_of(20);
}

#[test]
fn the_heap_of_node_22() {
    heap_of(22);
}

#[test]
fn the_heap_of_node_24() {
    heap_of(24);
}

#[test]
fn the_heap_of_node_26() {
    heap_of(26);
}

#[test]
fn a_snapshot_that_could_kill_its_pod_is_refused_with_the_numbers_and_taken_when_overridden() {
    let story = Story::new("heap-preflight");
    // Its limit is 256 MiB: with ten times its heap it would be past that.
    let mut manifest = heap_app().env("HEAP_MIB", "30").manifest();
    // It holds all of that once it serves.
    manifest["spec"]["template"]["spec"]["containers"][0]["startupProbe"] =
        json!({ "httpGet": { "port": 8080, "path": "/" }, "periodSeconds": 1, "failureThreshold": 60 });
    story.apply(&manifest);
    story.kubectl(&["rollout", "status", "deployment/heap", "--timeout=90s"]);
    let pod = story.pods("app=heap").remove(0);

    let object = Request::snapshot(&story, "refused", "heap", json!({})).finish(PATIENCE);
    assert_eq!(reason_of(&object), "PreflightRefused", "{}", object["status"]);
    let message = message_of(&object);
    assert!(message.contains("256 MiB") && message.contains("safety.override: MemoryLimit"), "{message}");
    assert_eq!(target_of(&object)["attach"]["closed"], true);

    let dry = json!({ "dryRun": true, "safety": { "override": ["MemoryLimit"] } });
    let object = Request::snapshot(&story, "dry", "heap", dry).finish(PATIENCE);
    assert_eq!((reason_of(&object), &object["status"]["phase"]), ("Checked", &json!("Succeeded")));
    assert!(message_of(&object).contains("Nothing was recorded"), "{}", message_of(&object));
    assert!(target_of(&object).get("artifacts").is_none());
    assert!(target_of(&object)["preflight"]["heapBytes"].as_u64().unwrap() > 25 << 20);

    let overridden = json!({ "safety": { "override": ["MemoryLimit"] } });
    let object = Request::snapshot(&story, "overridden", "heap", overridden).finish(PATIENCE);
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    story.inspector_closes(&pod);
    let restarts =
        story.kubectl(&["get", "pod", &pod, "-o", "jsonpath={.status.containerStatuses[*].restartCount}"]);
    assert_eq!(restarts.trim(), "0");
}

#[test]
fn a_namespaces_label_has_every_snapshot_redacted() {
    let story = Story::labelled("heap-label", &["pitwall.dev/inject=enabled", "pitwall.dev/redact=Strings"]);
    let pod = heap_app().deploy(&story).remove(0);
    let object = Request::snapshot(&story, "plain", "heap", json!({})).finish(PATIENCE);
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    assert_eq!(target_of(&object)["redact"], "Strings");
    let snapshot = download(&story, "plain", "heapsnapshot");
    let strings = snapshot["strings"].as_array().unwrap();
    assert!(strings.iter().any(|string| string == "KeptThing"));
    assert!(!strings.iter().any(|string| string.as_str().unwrap().contains("Zq7xKf9Lp2")));
    story.inspector_closes(&pod);
}

#[test]
fn two_snapshots_of_one_request_can_be_compared_by_the_ids_of_objects() {
    let story = Story::new("heap-series");
    let pod = heap_app().memory("512Mi").deploy(&story).remove(0);
    let fields = json!({ "heapSnapshot": { "count": 2, "interval": "2s" } });
    let object = Request::snapshot(&story, "series", "heap", fields).finish(PATIENCE);
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    let names: Vec<_> = target_of(&object)["artifacts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|artifact| artifact["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[1].ends_with("-snapshot-2.heapsnapshot"), "{names:?}");
    let checks = target_of(&object)["preflight"]["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["name"] == "SeriesCost"), "{checks:?}");
    story.inspector_closes(&pod);
}

#[test]
fn a_snapshot_that_outlasts_a_probe_is_refused() {
    let story = Story::new("heap-probe");
    let mut manifest = heap_app().env("HEAP_MIB", "10").manifest();
    let container = &mut manifest["spec"]["template"]["spec"]["containers"][0];
    container["livenessProbe"] = json!({ "httpGet": { "path": "/", "port": 8080 }, "periodSeconds": 1,
        "timeoutSeconds": 1, "failureThreshold": 1 });
    story.apply(&manifest);
    story.kubectl(&["rollout", "status", "deployment/heap", "--timeout=90s"]);
    let object = Request::snapshot(&story, "refused", "heap", json!({})).finish(PATIENCE);
    assert_eq!(reason_of(&object), "PreflightRefused", "{}", object["status"]);
    assert!(message_of(&object).contains("LivenessProbe"), "{}", message_of(&object));
}
