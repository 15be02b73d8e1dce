//! Someone with rights in their own namespace only fetches what was recorded there.

use pitwall_e2e::{App, Request, Story, attempt, command, kubeconfig, kubectl, root, run};
use serde_json::json;
use std::{process::Command, time::Duration};

/// A kubectl or plugin that acts as a service account of the story's namespace.
fn as_user(story: &Story, program: &str) -> Command {
    let token = story.kubectl(&["create", "token", "developer"]);
    let file = root().join(format!("e2e/cluster/.run/kubeconfig-{}", story.namespace));
    let admin = std::fs::read_to_string(kubeconfig()).unwrap();
    let mut config: serde_json::Value = serde_yaml::from_str(&admin).unwrap();
    config["users"][0]["user"] = json!({ "token": token.trim() });
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = command(program);
    command.env("KUBECONFIG", file);
    command
}

#[test]
fn rights_in_ones_own_namespace_are_enough_and_needed() {
    let story = Story::new("download");
    story.kubectl(&["create", "serviceaccount", "developer"]);
    story.kubectl(&[
        "create",
        "rolebinding",
        "developer",
        "--clusterrole=edit",
        &format!("--serviceaccount={}:developer", story.namespace),
    ]);
    App::busy().deploy(&story);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    let recorded = run(as_user(&story, "kubectl-pitwall").args([
        "cpu",
        "deploy/busy",
        "-n",
        &story.namespace,
        "--duration",
        "3s",
        "--name",
        "mine",
        "--output",
        "json",
        "--download",
        output,
    ]));
    let document: serde_json::Value = serde_json::from_str(&recorded).expect("stdout is one JSON document");
    assert!(
        document["summary"]["hottest"].as_str().is_some_and(|line| line.starts_with("burnCpu ")),
        "{document}"
    );
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let profile: serde_json::Value = serde_json::from_slice(&std::fs::read(&files[0]).unwrap()).unwrap();
    assert!(profile["nodes"].is_array() && profile["samples"].is_array());

    // Another namespace's artifacts are out of reach.
    let other = Story::new("download-other");
    App::busy().deploy(&other);
    Request::cpu(&other, "theirs", "busy", json!({})).finish(Duration::from_secs(60));
    let denied =
        attempt(as_user(&story, "kubectl-pitwall").args(["download", "theirs", "-n", &other.namespace]));
    assert!(!denied.status.success());
    assert!(String::from_utf8_lossy(&denied.stderr).contains("profilerequests"), "{denied:?}");
    let left = run(&mut kubectl(&["get", "artifactdownloads", "-n", &story.namespace, "-o", "name"]));
    assert_eq!(left.trim(), "", "downloads are deleted when they are done");
    let _ = std::fs::remove_file(root().join(format!("e2e/cluster/.run/kubeconfig-{}", story.namespace)));
}
