//! What a stranger reads who has no cluster, or types something else than is meant.

#![expect(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

use serde_json::json;
use std::{fs, path::Path, process::Command};

/// Variables and their values.
type Environment<'a> = &'a [(&'a str, &'a str)];

/// The exit code and stderr, with nothing of this machine's own in the environment.
fn run(home: &Path, line: &str, environment: Environment<'_>) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-pitwall"))
        .args(line.split(' '))
        .env_clear()
        .env("HOME", home)
        .envs(environment.iter().copied())
        .current_dir(home)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "{line}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn errors_say_what_was_tried_and_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = |name: &str, server: &str, user: serde_json::Value| {
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "clusters": [{ "name": "c", "cluster": { "server": server } }],
            "users": [{ "name": "u", "user": user }],
        });
        fs::write(home.path().join(name), text.to_string()).unwrap();
    };
    kubeconfig("closed", "https://127.0.0.1:1", json!({}));
    kubeconfig("remote", "https://k8s.invalid:6443", json!({}));
    let plugin = json!({ "apiVersion": "client.authentication.k8s.io/v1", "command": "/no-plugin",
                         "interactiveMode": "Never" });
    kubeconfig("plugin", "https://127.0.0.1:1", json!({ "exec": plugin }));
    fs::write(home.path().join("torn"), "contexts: [").unwrap();
    fs::write(home.path().join("empty"), "").unwrap();
    let proxy = [("HTTPS_PROXY", "http://me:secret@127.0.0.1:1")];
    let around = [proxy[0], ("NO_PROXY", ".invalid")];
    let table: [(&str, Environment<'_>, i32, &[&str]); 14] = [
        ("cpu deploy/x --duration banana", &[], 2, &["\"banana\" is no duration", "30s"]),
        ("cpu deploy", &[], 2, &["write deploy/NAME"]),
        ("cpu deploy x", &[], 2, &["as one word: deploy/x"]),
        ("cpu pod/a pod/b", &[], 2, &["two targets", "--selector"]),
        ("cpu cronjob/x", &[], 2, &["\"cronjob\"", "deploy, sts, ds, rs, job, pod"]),
        ("cpu job/x", &[], 3, &["no kubeconfig ~/.kube/config", "--kubeconfig or $KUBECONFIG"]),
        ("list", &[("KUBECONFIG", "nowhere")], 3, &["no kubeconfig nowhere (of $KUBECONFIG)"]),
        ("list --kubeconfig empty", &[], 3, &["empty has no present context", "--context"]),
        ("list --kubeconfig torn", &[], 3, &["can't use the kubeconfig torn", "line 1"]),
        ("list --kubeconfig closed --context d", &[], 3, &["no context d", "get-contexts"]),
        ("list --kubeconfig closed", &proxy, 3, &["https://127.0.0.1:1/: tcp", "kubectl cluster-info"]),
        ("list --kubeconfig plugin", &[], 3, &["credentials is /no-plugin"]),
        ("list --kubeconfig remote", &proxy, 3, &["through the proxy http://127.0.0.1:1: "]),
        ("list --kubeconfig remote", &around, 3, &["https://k8s.invalid:6443/: dns error"]),
    ];
    for (line, environment, code, told) in table {
        let (seen, stderr) = run(home.path(), line, environment);
        assert_eq!(seen, Some(code), "{line}: {stderr}");
        for told in told {
            assert!(stderr.contains(told), "{line}: {stderr}\n lacks {told}");
        }
        assert!(!stderr.contains("secret"), "{line}: {stderr}");
        assert!(!stderr.contains('\u{fffd}'), "{line}: {stderr}");
    }
}
