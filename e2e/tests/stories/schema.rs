//! What the API server itself refuses.

use pitwall_e2e::{Request, Story};
use serde_json::{Value, json};

fn object(spec: &Value) -> Value {
    json!({
        "apiVersion": "pitwall.dev/v1alpha1", "kind": "ProfileRequest", "metadata": { "name": "r" }, "spec": spec,
    })
}

#[test]
fn contradictions_are_refused_with_the_fields_path() {
    let story = Story::labelled("schema", &[]);
    let workload = json!({ "workload": { "kind": "Deployment", "name": "x" } });
    for (spec, told) in [
        (json!({ "type": "CPU", "target": {} }), "exactly one of workload, podName and selector"),
        (json!({ "type": "CPU", "target": workload, "duration": "9h" }), "duration must be from 1s to 8h"),
        (
            json!({
                "type": "HeapSampling", "target": { "workload": { "kind": "Deployment", "name": "x" }, "threads": "All" },
                "duration": "11m"
            }),
            "for up to 10m",
        ),
        (
            json!({ "type": "CPU", "target": workload, "duration": "11m", "cpu": { "samplingInterval": "1ms" } }),
            "longer than 10m takes a cpu.samplingInterval of at least 10ms",
        ),
        (json!({ "type": "CPU", "target": workload, "duration": "soon" }), "spec.duration"),
        (
            json!({ "type": "CPU", "target": workload, "activeDeadline": "20s" }),
            "activeDeadline must be longer",
        ),
        (json!({ "type": "Heap", "target": workload }), "Unsupported value: \"Heap\""),
        (
            json!({ "type": "CPU", "target": workload, "heapSnapshot": {} }),
            "heapSnapshot is for type HeapSnapshot",
        ),
        (json!({ "type": "CPU", "target": workload, "cpus": 1 }), "unknown field \"spec.cpus\""),
        (
            json!({ "type": "CPU", "target": workload, "output": { "maxSize": "63Mi" } }),
            "spec.output.maxSize",
        ),
        (
            json!({ "type": "CPU", "target": workload, "safety": { "guard": { "mainThreadPercent": 5 } } }),
            "spec.safety.guard.mainThreadPercent",
        ),
        (json!({ "target": workload }), "spec.type: Required value"),
    ] {
        let (taken, answer) = story.try_apply(&object(&spec));
        assert!(!taken && answer.contains(told), "{spec}: {answer}");
    }
}

#[test]
fn the_spec_can_not_be_changed_but_for_stop_and_ttl() {
    let story = Story::labelled("immutable", &[]);
    let request = Request::cpu(&story, "r", "x", json!({}));
    request.patch(&json!({ "stop": true }));
    request.patch(&json!({ "ttlAfterFinished": "1h" }));
    for (patch, told) in [
        (json!({ "spec": { "stop": false } }), "stop can't be taken back"),
        (json!({ "spec": { "duration": "9s" } }), "spec is immutable"),
        (json!({ "spec": { "target": { "container": "x" } } }), "spec is immutable"),
    ] {
        let (taken, answer) =
            story.try_kubectl(&["patch", "profilerequest", "r", "--type=merge", "-p", &patch.to_string()]);
        assert!(!taken && answer.contains(told), "{patch}: {answer}");
    }
}
