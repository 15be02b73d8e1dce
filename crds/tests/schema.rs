//! The schema that people write against: current on disk, immutable where it says so, and refusing contradictions.

#![expect(clippy::needless_pass_by_value, reason = "specs are literals where they are passed")]

use kube::core::cel::{validate_cel, validate_cel_update};
use pitwall_crds::{ProfileRequest, Reason, definitions};
use serde_json::{Value, json};
use std::{fs, path::Path};

fn request(spec: Value) -> Result<ProfileRequest, serde_json::Error> {
    serde_json::from_value(json!({
        "apiVersion": "pitwall.dev/v1alpha1", "kind": "ProfileRequest",
        "metadata": { "name": "r", "namespace": "shop" }, "spec": spec,
    }))
}

fn spec() -> Value {
    json!({ "type": "CPU", "target": { "workload": { "kind": "Deployment", "name": "checkout" } } })
}

fn with(path: &str, value: Value) -> Value {
    let mut spec = spec();
    let mut at = &mut spec;
    for segment in path.split('.') {
        at = &mut at[segment];
    }
    *at = value;
    spec
}

#[test]
fn the_files_are_what_the_types_say() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in [here.join("yaml"), here.join("../charts/pitwall/files/crds")] {
        for (file, definition) in definitions() {
            let path = folder.join(file);
            let on_disk = fs::read_to_string(&path).unwrap_or_default();
            let wanted = serde_yaml::to_string(&definition).unwrap();
            assert!(on_disk == wanted, "{} is not current: run cargo run -p pitwall-crds", path.display());
        }
    }
}

#[test]
fn the_immutability_rule_names_every_field_but_two() {
    let definition = serde_json::to_value(&definitions()[0].1).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let rule = schema["x-kubernetes-validations"][0]["rule"].as_str().unwrap();
    for field in schema["properties"].as_object().unwrap().keys() {
        let named = rule.contains(&format!("self.{field} == oldSelf.{field}"));
        assert_eq!(named, !["stop", "ttlAfterFinished"].contains(&field.as_str()), "{field}");
        let always_there = schema["required"].as_array().unwrap().contains(&json!(field))
            || schema["properties"][field].get("default").is_some();
        let guarded =
            rule.contains(&format!("has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) ||"));
        assert!(!named || always_there || guarded, "{field} may be absent, and the rule would then fail");
    }
}

#[test]
fn every_field_has_a_description() {
    fn walk(path: &str, schema: &Value) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 5), "{path}");
            walk(&path, property);
            walk(&path, &property["items"]);
        }
    }
    for (file, definition) in definitions() {
        let definition = serde_json::to_value(&definition).unwrap();
        walk(file, &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    }
}

#[test]
fn every_string_and_list_that_people_write_is_bounded() {
    fn walk(path: &str, schema: &Value) {
        match schema["type"].as_str() {
            Some("string") => assert!(
                schema.get("maxLength").is_some() || schema.get("enum").is_some(),
                "{path} has no maxLength"
            ),
            Some("array") => assert!(schema.get("maxItems").is_some(), "{path} has no maxItems"),
            _ => {}
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), property);
        }
        if schema["items"].is_object() {
            walk(&format!("{path}[]"), &schema["items"]);
        }
    }
    for (file, definition) in definitions() {
        let definition = serde_json::to_value(&definition).unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        walk(file, &schema["properties"]["spec"]);
    }
}

/// A heap snapshot's spec with one more field.
fn snapshot(field: &str, value: Value) -> Value {
    let mut spec = with(field, value);
    spec["type"] = json!("HeapSnapshot");
    spec
}

/// A spec of more than ten minutes.
fn long(more: Value) -> Value {
    let mut spec = with("duration", json!("10m1s"));
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    spec
}

#[test]
fn contradictions_are_refused_by_cel() {
    let both = json!({ "podName": "a", "workload": { "kind": "Job", "name": "b" } });
    for (spec, told) in [
        (spec(), None),
        (with("target", json!({ "podName": "a" })), None),
        (with("target", json!({ "selector": { "matchLabels": { "app": "x" } } })), None),
        (with("duration", json!("10m")), None),
        (with("target", json!({})), Some("exactly one of workload, podName and selector")),
        (with("target", both), Some("exactly one of workload, podName and selector")),
        (with("target", json!({ "selector": {} })), Some("a selector needs a condition")),
        (with("duration", json!("999ms")), Some("duration must be from 1s to 8h")),
        (with("duration", json!("8h")), None),
        (with("duration", json!("8h1s")), Some("duration must be from 1s to 8h")),
        (with("activeDeadline", json!("30s")), Some("activeDeadline must be longer than duration")),
        (with("activeDeadline", json!("31s")), None),
        (snapshot("activeDeadline", json!("20s")), None),
        (snapshot("heapSnapshot", json!({ "redact": "Strings" })), None),
        (snapshot("heapSnapshot", json!({ "count": 3, "interval": "10m" })), None),
        (snapshot("heapSnapshot", json!({ "count": 2, "interval": "999ms" })), Some("interval must be")),
        (snapshot("duration", json!("20s")), Some("a HeapSnapshot has no duration")),
        (snapshot("cpu", json!({})), Some("cpu is for type CPU")),
        (snapshot("heapSampling", json!({})), Some("heapSampling is for type HeapSampling")),
        (with("heapSnapshot", json!({})), Some("heapSnapshot is for type HeapSnapshot")),
        (with("safety", json!({ "override": ["MemoryLimit"] })), None),
        (with("activeDeadline", json!("25h")), Some("activeDeadline must be from 10s to 24h")),
        (with("cpu", json!({ "samplingInterval": "99us" })), Some("samplingInterval must be")),
        (with("cpu", json!({ "samplingInterval": "101ms" })), Some("samplingInterval must be")),
        (long(json!({})), None),
        (long(json!({ "cpu": {} })), None),
        (long(json!({ "cpu": { "samplingInterval": "10ms" } })), None),
        (long(json!({ "cpu": { "samplingInterval": "9ms" } })), Some("at least 10ms")),
        (with("target.threads", json!("All")), None),
        (with("target.pods", json!({ "limit": "50%", "atOnce": 2, "pick": "Busiest" })), None),
        (snapshot("target.threads", json!("All")), Some("All threads can be recorded")),
        (
            long(json!({ "target": { "podName": "a", "threads": "All" } })),
            Some("All threads can be recorded"),
        ),
        (long(json!({ "type": "HeapSampling" })), None),
    ] {
        let outcome = validate_cel(&request(spec.clone()).unwrap()).map_err(|errors| errors.to_string());
        match told {
            None => assert_eq!(outcome, Ok(()), "{spec}"),
            Some(told) => {
                assert!(outcome.as_ref().is_err_and(|text| text.contains(told)), "{spec}: {outcome:?}");
            }
        }
    }
}

#[test]
fn the_spec_changes_in_two_fields_only() {
    let old = request(spec()).unwrap();
    for (spec, allowed) in [
        (spec(), true),
        (with("stop", json!(true)), true),
        (with("ttlAfterFinished", json!("1h")), true),
        (with("target.workload.name", json!("other")), false),
        (with("target.container", json!("other")), false),
        (with("duration", json!("31s")), false),
        (with("cpu", json!({ "samplingInterval": "2ms" })), false),
        (with("cpu", json!({ "samplingInterval": "1ms" })), false),
        (with("heapSampling", json!({})), false),
        (with("heapSnapshot", json!({})), false),
        (with("safety.override", json!(["MemoryLimit"])), false),
        (with("dryRun", json!(true)), false),
        (with("concurrency", json!("Refuse")), false),
        (with("activeDeadline", json!("16m")), false),
    ] {
        let new = request(spec.clone()).unwrap();
        assert_eq!(validate_cel_update(&new, &old).is_ok(), allowed, "{spec}");
    }
    let stopped = request(with("stop", json!(true))).unwrap();
    assert!(validate_cel_update(&old, &stopped).is_err(), "stop was taken back");
}

#[test]
fn every_reason_is_documented() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reasons.md")).unwrap();
    for reason in Reason::ALL {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{reason}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/reasons.md has no row for {reason}"));
        assert!(row.contains(reason.advice()), "docs/reasons.md gives other advice for {reason}");
    }
}
