//! The stores, looked at from outside: not through Pitwall.

use crate::{attempt, command, kubectl, operator_namespace, root, run, stores_in_s3};
use std::{fs, path::Path};

/// What the store holds of the request with this uid: objects, and unfinished uploads.
pub fn in_store(uid: &str) -> Vec<String> {
    if stores_in_s3() {
        return [in_s3(uid, "list-type=2&max-keys=1000"), in_s3(uid, "uploads=")].concat();
    }
    let mut found = Vec::new();
    walk(&builtin_folder(), uid, &mut found);
    found
}

/// The folder of the built-in store's volume on the node, which is this machine: its image has no shell.
pub fn builtin_folder() -> std::path::PathBuf {
    let claim = ["-n", operator_namespace(), "get", "pvc", "-o", "jsonpath={.items[0].spec.volumeName}"];
    let volume = run(&mut kubectl(&claim));
    let path = "jsonpath={.spec.hostPath.path}{.spec.local.path}";
    run(&mut kubectl(&["get", "pv", volume.trim(), "-o", path])).trim().into()
}

/// Files whose path or content names the uid.
fn walk(folder: &Path, uid: &str, found: &mut Vec<String>) {
    // A folder may be deleted while it is walked.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, uid, found);
        } else {
            let content = fs::read(&path).unwrap_or_default();
            let name = path.to_string_lossy().into_owned();
            if name.contains(uid) || String::from_utf8_lossy(&content).contains(uid) {
                found.push(name);
            }
        }
    }
}

/// A fact of the S3 that the cluster brings along.
pub fn s3_fact(name: &str) -> String {
    let facts = fs::read_to_string(root().join("e2e/cluster/.run/s3.env")).expect("the cluster is up");
    let line = facts.lines().find_map(|line| {
        line.trim_start_matches("export ").strip_prefix(name)?.strip_prefix('=').map(str::to_owned)
    });
    line.unwrap_or_else(|| panic!("s3.env has no {name}")).trim_matches(['"', '\'']).to_owned()
}

/// Keys that a listing of the bucket shows and that name the uid.
fn in_s3(uid: &str, query: &str) -> Vec<String> {
    let user = format!("{}:{}", s3_fact("S3_ACCESS_KEY_ID"), s3_fact("S3_SECRET_ACCESS_KEY"));
    let url = format!("{}/{}?{query}", s3_fact("S3_ENDPOINT"), s3_fact("S3_BUCKET"));
    let output = attempt(command("curl").args([
        "-sS",
        "--fail-with-body",
        "--max-time",
        "10",
        "--cacert",
        &s3_fact("S3_CA_FILE"),
        "--aws-sigv4",
        &format!("aws:amz:{}:s3", s3_fact("S3_REGION")),
        "--user",
        &user,
        &url,
    ]));
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "listing {url}: {listing}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!listing.contains("<IsTruncated>true"), "the bucket holds too much for one page");
    let keys = listing.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
    keys.filter(|key| key.contains(uid)).map(str::to_owned).collect()
}
