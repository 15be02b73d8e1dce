//! The decision table: a row for each rule of `docs/injection.md`.

#![expect(clippy::needless_pass_by_value, reason = "json!(...) reads best as an argument")]

use serde_json::{Value, json};

use super::{AskedBy, Candidate, Decision, Identity, decide};
use crate::inject::Reason;

fn decide_for(namespace: &str, asked_by: AskedBy, pod: Value) -> Decision {
    let pod = serde_json::from_value(pod).unwrap();
    decide(&Candidate { pod: &pod, namespace, asked_by, own_namespace: "pitwall" })
}

fn decided(pod: Value) -> Decision {
    decide_for("shop", AskedBy::Namespace, pod)
}

/// A pod of one container, with these fields laid over its spec.
fn pod(spec: Value) -> Value {
    let mut pod = json!({ "metadata": {}, "spec": { "containers": [{ "name": "app", "image": "shop:1" }] } });
    json_patch::merge(&mut pod["spec"], &spec);
    pod
}

/// A pod of one container with these fields laid over the container.
fn container(fields: Value) -> Value {
    let mut pod = pod(json!({}));
    json_patch::merge(&mut pod["spec"]["containers"][0], &fields);
    pod
}

fn labelled(value: &str) -> Value {
    let mut pod = pod(json!({}));
    pod["metadata"]["labels"] = json!({ "pitwall.dev/inject": value });
    pod
}

fn run_as(value: &str, spec: Value) -> Value {
    let mut pod = pod(spec);
    pod["metadata"]["annotations"] = json!({ "pitwall.dev/run-as": value });
    pod
}

const SAME: Decision = Decision::Inject(Identity::Same { uid: 1000, gid: 1000 });
const ASSUME: Decision = Decision::Inject(Identity::Assume);

#[test]
fn the_label_asks_and_on_a_pod_declines() {
    for (asked_by, label, expected) in [
        (AskedBy::Namespace, None, ASSUME),
        (AskedBy::Namespace, Some("enabled"), ASSUME),
        (AskedBy::Namespace, Some("disabled"), Decision::NotAsked),
        (AskedBy::Namespace, Some("nonsense"), ASSUME),
        (AskedBy::Pod, Some("enabled"), ASSUME),
        (AskedBy::Pod, Some("disabled"), Decision::NotAsked),
        (AskedBy::Pod, None, Decision::NotAsked),
    ] {
        let pod = label.map_or_else(|| pod(json!({})), labelled);
        assert_eq!(decide_for("shop", asked_by, pod), expected, "{asked_by:?} {label:?}");
    }
}

#[test]
fn the_sidecar_runs_as_the_pod_says() {
    let says = |uid: i64, gid: i64| json!({ "runAsUser": uid, "runAsGroup": gid });
    let same = |uid, gid| Decision::Inject(Identity::Same { uid, gid });
    let left = Decision::LeaveAlone;
    for (name, pod, expected) in [
        ("the pod says both", pod(json!({ "securityContext": says(1000, 1000) })), SAME),
        ("the container says both", container(json!({ "securityContext": says(1000, 1000) })), SAME),
        (
            "the container overrides the pod",
            pod(json!({
                "securityContext": says(1, 2),
                "containers": [{ "name": "app", "securityContext": says(1000, 1000) }],
            })),
            SAME,
        ),
        (
            "the uid is the container's and the gid the pod's",
            pod(json!({
                "securityContext": { "runAsGroup": 3000 },
                "containers": [{ "name": "app", "securityContext": { "runAsUser": 1000 } }],
            })),
            same(1000, 3000),
        ),
        ("root is said", pod(json!({ "securityContext": says(0, 0) })), same(0, 0)),
        (
            "root is said and refused",
            pod(json!({ "securityContext": { "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": true } })),
            left(Reason::RootRefused),
        ),
        ("no gid", pod(json!({ "securityContext": { "runAsUser": 1000 } })), left(Reason::GidNotSaid)),
        ("no uid, root allowed", pod(json!({ "securityContext": { "runAsGroup": 1000 } })), ASSUME),
        ("nothing said", pod(json!({})), ASSUME),
        (
            "no uid, root refused by the pod",
            pod(json!({ "securityContext": { "runAsNonRoot": true } })),
            left(Reason::UidNotSaid),
        ),
        (
            "no uid, root refused by the container",
            container(json!({ "securityContext": { "runAsNonRoot": true } })),
            left(Reason::UidNotSaid),
        ),
        (
            "the container allows the root that the pod refuses",
            pod(json!({
                "securityContext": { "runAsNonRoot": true },
                "containers": [{ "name": "app", "securityContext": { "runAsNonRoot": false } }],
            })),
            ASSUME,
        ),
        ("no uid, own users", pod(json!({ "hostUsers": false })), left(Reason::UserNamespace)),
        (
            "own users and both ids",
            pod(json!({ "hostUsers": false, "securityContext": says(1000, 1000) })),
            SAME,
        ),
    ] {
        assert_eq!(decided(pod), expected, "{name}");
    }
}

#[test]
fn several_containers_must_agree() {
    let two = |first: Value, second: Value| {
        pod(json!({ "containers": [
            { "name": "app", "securityContext": first },
            { "name": "proxy", "securityContext": second },
        ]}))
    };
    let says = |uid: i64, gid: i64| json!({ "runAsUser": uid, "runAsGroup": gid });
    let differ = Decision::LeaveAlone(Reason::IdentitiesDiffer);
    for (name, pod, expected) in [
        ("agree", two(says(1000, 1000), says(1000, 1000)), SAME),
        ("other uid", two(says(1000, 1000), says(1337, 1000)), differ),
        ("other gid", two(says(1000, 1000), says(1000, 1337)), differ),
        ("only the first says", two(says(1000, 1000), json!({})), differ),
        ("only the second says", two(json!({}), says(1000, 1000)), differ),
        ("none says", two(json!({}), json!({})), ASSUME),
        (
            "none says, one refuses root",
            two(json!({}), json!({ "runAsNonRoot": true })),
            Decision::LeaveAlone(Reason::UidNotSaid),
        ),
    ] {
        assert_eq!(decided(pod), expected, "{name}");
    }
}

#[test]
fn the_annotation_settles_whom_the_sidecar_runs_as() {
    let malformed = Decision::LeaveAlone(Reason::RunAsMalformed);
    for (written, spec, expected) in [
        ("1000:1000", json!({}), SAME),
        (" 1000:1000 ", json!({}), SAME),
        ("1000:1000", json!({ "securityContext": { "runAsNonRoot": true } }), SAME),
        ("1000:1000", json!({ "securityContext": { "runAsUser": 1000 } }), SAME),
        (
            "1000:1000",
            json!({ "containers": [
                { "name": "app", "securityContext": { "runAsUser": 1000 } },
                { "name": "proxy", "securityContext": { "runAsUser": 1337 } },
            ]}),
            SAME,
        ),
        ("0:0", json!({}), Decision::Inject(Identity::Same { uid: 0, gid: 0 })),
        (
            "0:0",
            json!({ "securityContext": { "runAsNonRoot": true } }),
            Decision::LeaveAlone(Reason::RootRefused),
        ),
        ("1000", json!({}), malformed),
        ("1000:", json!({}), malformed),
        ("node:node", json!({}), malformed),
        ("+1:-1", json!({}), malformed),
        ("1000:1000:1000", json!({}), malformed),
        ("99999999999:1", json!({}), malformed),
    ] {
        assert_eq!(decided(run_as(written, spec.clone())), expected, "{written:?} {spec}");
    }
}

#[test]
fn what_must_not_be_changed_is_left_alone() {
    let mut mirror = pod(json!({}));
    mirror["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "hash" });
    for (pod, reason) in [
        (mirror, Reason::MirrorPod),
        (pod(json!({ "hostPID": true })), Reason::HostPid),
        (pod(json!({ "hostNetwork": true })), Reason::HostNetwork),
        (pod(json!({ "shareProcessNamespace": false })), Reason::ProcessesNotShared),
        (pod(json!({ "os": { "name": "windows" } })), Reason::Windows),
        (pod(json!({ "nodeSelector": { "kubernetes.io/os": "windows" } })), Reason::Windows),
        (pod(json!({ "initContainers": [{ "name": "pitwall" }] })), Reason::NameTaken),
        (pod(json!({ "containers": [{ "name": "pitwall" }] })), Reason::NameTaken),
        (pod(json!({ "volumes": [{ "name": "pitwall-spool" }] })), Reason::NameTaken),
        (pod(json!({ "resources": { "limits": { "cpu": "1" } } })), Reason::PodLevelResources),
        (container(json!({ "command": ["sh", "-c", "kill -TERM 1"] })), Reason::NamesPidOne),
        (container(json!({ "args": ["--pid-file", "/proc/1/status"] })), Reason::NamesPidOne),
        (
            container(json!({ "livenessProbe": { "exec": { "command": ["cat", "/proc/1/stat"] } } })),
            Reason::NamesPidOne,
        ),
        (
            container(
                json!({ "lifecycle": { "preStop": { "exec": { "command": ["kill", "-QUIT", "1"] } } } }),
            ),
            Reason::NamesPidOne,
        ),
        (container(json!({ "command": ["/init"] })), Reason::MustBePidOne),
        (container(json!({ "env": [{ "name": "S6_KEEP_ENV", "value": "1" }] })), Reason::MustBePidOne),
        (container(json!({ "image": "lscr.io/linuxserver/code-server:4" })), Reason::MustBePidOne),
        (
            pod(json!({ "containers": [
                { "name": "app", "lifecycle": { "preStop": { "exec": { "command": ["pkill", "node"] } } } },
                { "name": "other" },
            ]})),
            Reason::SignalsByName,
        ),
    ] {
        assert_eq!(decided(pod.clone()), Decision::LeaveAlone(reason), "{pod}");
    }
    for namespace in ["kube-system", "pitwall"] {
        assert_eq!(
            decide_for(namespace, AskedBy::Pod, labelled("enabled")),
            Decision::LeaveAlone(Reason::SystemNamespace),
        );
    }
}

#[test]
fn what_only_looks_so_gets_its_sidecar() {
    for pod in [
        container(json!({ "command": ["node", "server.js"] })),
        container(json!({ "lifecycle": { "preStop": { "exec": { "command": ["pkill", "node"] } } } })),
        container(json!({ "image": "lscr.io/linuxserver/base:1", "command": ["node", "server.js"] })),
        container(json!({ "args": ["/proc/12/status"] })),
        pod(json!({ "hostPID": false, "hostNetwork": false, "os": { "name": "linux" }, "resources": {} })),
        // Its author knows of the shared namespace.
        pod(json!({
            "shareProcessNamespace": true,
            "containers": [{ "name": "app", "command": ["sh", "-c", "ls /proc/1"] }],
        })),
    ] {
        assert_eq!(decided(pod.clone()), ASSUME, "{pod}");
    }
}

#[test]
fn a_pod_with_its_sidecar_is_not_given_another() {
    let injected = pod(json!({ "initContainers": [
        { "name": "pitwall", "restartPolicy": "Always", "env": [{ "name": "PITWALL_OPERATOR_URL", "value": "wss://x" }] },
    ]}));
    assert_eq!(decided(injected), Decision::AlreadyInjected);
}

#[test]
fn a_pod_without_a_spec_is_let_be() {
    assert_eq!(decided(json!({ "metadata": {} })), Decision::NotAsked);
}
