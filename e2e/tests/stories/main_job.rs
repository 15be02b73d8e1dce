//! Someone labels a namespace, deploys a program, asks for a profile, and reads what is hot.

use pitwall_e2e::{App, Request, Story, command, reason_of, run, target_of};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

fn the_main_job(version: u32) {
    let story = Story::new(&format!("main-{version}"));
    let pod = App::shop().node(version).deploy(&story).remove(0);
    let load = App::load(&story, &pod);
    let before = App::counts(&story, &load);

    let object =
        Request::cpu(&story, "slow", "checkout", json!({ "duration": "5s" })).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    assert_eq!(object["status"]["phase"], "Succeeded");
    assert_eq!(object["status"]["pods"], "1/1");
    let hottest = object["status"]["summary"]["hottest"].as_str().unwrap_or_default();
    assert!(hottest.starts_with("serializeCart ") && hottest.contains("server.js:"), "{hottest:?}");
    let target = target_of(&object);
    let node = target["nodeVersion"].as_str().unwrap_or_default();
    assert!(node.starts_with(&format!("v{version}.")), "{node}");
    assert_eq!(
        target["attach"],
        json!({ "openedBy": "Pitwall", "closed": true, "took": target["attach"]["took"] })
    );
    story.inspector_closes(&pod);
    let (answered, failed) = App::counts(&story, &load);
    assert!(answered > before.0 && failed == before.1, "before {before:?}, after {answered} and {failed}");

    // The bytes agree with the status, and are a profile.
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    run(command("kubectl-pitwall").args([
        "download",
        "slow",
        "-n",
        &story.namespace,
        "--raw",
        "--output",
        output,
    ]));
    let artifact = &target["artifacts"][0];
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(artifact["bytes"], json!(bytes.len()));
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(artifact["sha256"], json!(sha256));
    let profile: Value = serde_json::from_reader(flate2::read::GzDecoder::new(bytes.as_slice())).unwrap();
    let functions =
        profile["nodes"].as_array().unwrap().iter().map(|node| &node["callFrame"]["functionName"]);
    assert!(functions.into_iter().any(|name| name == "serializeCart"));
    let seconds = (profile["endTime"].as_f64().unwrap() - profile["startTime"].as_f64().unwrap()) / 1e6;
    assert!((4.5..8.0).contains(&seconds), "the window was {seconds} s");
}

#[test]
fn the_hot_function_is_named_on_node_18() {
    the_main_job(18);
}

#[test]
fn the_hot_function_is_named_on_node_20() {
    the_main_job(20);
}

#[test]
fn the_hot_function_is_named_on_node_22() {
    the_main_job(22);
}

#[test]
fn the_hot_function_is_named_on_node_24() {
    the_main_job(24);
}

#[test]
fn the_hot_function_is_named_on_node_26() {
    the_main_job(26);
}
