//! Deleting a request while it records.

use pitwall_e2e::{App, Request, Story, eventually, kubectl, operator_namespace, run};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Files of the built-in store's volume whose path or content names this request.
fn stored(uid: &str) -> Vec<PathBuf> {
    // The store's image has no shell: its volume is looked at from the node, which is this machine.
    let namespace = operator_namespace();
    let volume =
        run(&mut kubectl(&["-n", namespace, "get", "pvc", "-o", "jsonpath={.items[0].spec.volumeName}"]));
    let path = "jsonpath={.spec.hostPath.path}{.spec.local.path}";
    let folder = run(&mut kubectl(&["get", "pv", volume.trim(), "-o", path]));
    let mut found = Vec::new();
    walk(Path::new(folder.trim()), &mut found);
    found.retain(|file| {
        let content = std::fs::read(file).unwrap_or_default();
        file.to_string_lossy().contains(uid) || String::from_utf8_lossy(&content).contains(uid)
    });
    found
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

#[test]
fn nothing_is_left_of_a_deleted_recording() {
    let story = Story::new("deletion");
    let pod = App::busy().deploy(&story).remove(0);
    let request = Request::cpu(&story, "r", "busy", json!({ "duration": "60s", "activeDeadline": "120s" }));
    let object = request.reach("Recording", Duration::from_secs(30));
    let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
    assert!(!stored(&uid).is_empty(), "an upload is under way");
    story.kubectl(&["delete", "profilerequest", "r", "--timeout=60s"]);
    story.inspector_closes(&pod);
    eventually(
        Duration::from_secs(10),
        || format!("left in the store: {:?}", stored(&uid)),
        || stored(&uid).is_empty().then_some(()),
    );
}
