use serde_json::{Value, json};

use super::*;
use crate::inject::{
    AskedBy, Candidate, Decision, NamespaceRules, decide, settings::tests::settings, sidecar_resources,
};

const CA: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

fn typed(pod: &Value) -> Pod {
    serde_json::from_value(pod.clone()).unwrap()
}

fn decided(pod: &Value) -> Decision {
    decide(&Candidate {
        pod: &typed(pod),
        namespace: "shop",
        asked_by: AskedBy::Namespace,
        own_namespace: "pitwall",
    })
}

fn injected(mut pod: Value) -> Value {
    let Decision::Inject(identity) = decided(&pod) else { panic!("{pod} should get its sidecar") };
    let before = typed(&pod);
    let settings = settings();
    let resources =
        sidecar_resources(before.spec.as_ref().unwrap(), identity, &NamespaceRules::default(), &settings)
            .unwrap();
    let patch = injection(&before, identity, &resources, &settings, CA);
    json_patch::patch(&mut pod, &patch.0).unwrap();
    pod
}

/// As the API server shows a Deployment's pod.
fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "checkout-5d4f8-",
            "namespace": "shop",
            "labels": { "app": "checkout", "pod-template-hash": "5d4f8" },
            "annotations": { "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z" },
        },
        "spec": {
            "initContainers": [{ "name": "migrate", "image": "shop:1" }],
            "containers": [{ "name": "app", "image": "shop:1", "aFieldOfTomorrow": true }],
            "volumes": [{ "name": "kube-api-access-x", "projected": { "sources": [] } }],
            "securityContext": { "runAsUser": 1000, "runAsGroup": 2000, "runAsNonRoot": true },
        },
    })
}

#[test]
fn the_sidecar_is_the_last_init_container_and_complete() {
    let pod = injected(pod());
    assert_eq!(pod["spec"]["initContainers"][0]["name"], "migrate");
    assert_eq!(
        pod["spec"]["initContainers"][1],
        json!({
            "name": "pitwall",
            "image": "pitwall/sidecar:1",
            "imagePullPolicy": "IfNotPresent",
            "restartPolicy": "Always",
            "env": [
                { "name": "PITWALL_OPERATOR_URL", "value": "wss://pitwall-channel.pitwall.svc:8443/channel/v1" },
                { "name": "PITWALL_CA", "value": CA },
                { "name": "PITWALL_TOKEN_FILE", "value": "/var/run/secrets/pitwall.dev/token" },
                { "name": "PITWALL_POD_NAMESPACE", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } } },
                { "name": "PITWALL_POD_NAME", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.name" } } },
                { "name": "PITWALL_POD_UID", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.uid" } } },
                { "name": "PITWALL_SPOOL_DIR", "value": "/var/lib/pitwall/spool" },
                { "name": "PITWALL_SPOOL_LIMIT", "value": "805306368" },
                { "name": "PITWALL_JOURNAL_DIR", "value": "/var/lib/pitwall/journal" },
                { "name": "PITWALL_IDENTITY", "value": "same" },
            ],
            "resources": { "requests": { "cpu": "5m", "memory": "16Mi" }, "limits": { "memory": "64Mi" } },
            "securityContext": {
                "runAsUser": 1000,
                "runAsGroup": 2000,
                "runAsNonRoot": true,
                "privileged": false,
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "volumeMounts": [
                { "name": "pitwall-token", "mountPath": "/var/run/secrets/pitwall.dev", "readOnly": true },
                { "name": "pitwall-spool", "mountPath": "/var/lib/pitwall/spool" },
                { "name": "pitwall-journal", "mountPath": "/var/lib/pitwall/journal" },
            ],
        })
    );
}

#[test]
fn the_pod_gets_volumes_a_shared_process_namespace_and_its_marks() {
    let pod = injected(pod());
    assert_eq!(
        pod["spec"]["volumes"].as_array().unwrap()[1..],
        [
            json!({ "name": "pitwall-token", "projected": { "sources": [
                { "serviceAccountToken": { "audience": "pitwall", "expirationSeconds": 3600, "path": "token" } },
            ]}}),
            json!({ "name": "pitwall-spool", "emptyDir": { "sizeLimit": "1Gi" } }),
            json!({ "name": "pitwall-journal", "emptyDir": { "sizeLimit": "4194304" } }),
        ]
    );
    assert_eq!(pod["spec"]["shareProcessNamespace"], true);
    assert_eq!(pod["metadata"]["labels"]["pitwall.dev/injected"], "true");
    assert_eq!(pod["metadata"]["annotations"]["pitwall.dev/sidecar-version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn what_the_author_wrote_stays() {
    let before = pod();
    let after = injected(before.clone());
    assert_eq!(after["spec"]["containers"], before["spec"]["containers"]);
    assert_eq!(after["spec"]["securityContext"], before["spec"]["securityContext"]);
    assert_eq!(after["spec"]["volumes"][0], before["spec"]["volumes"][0]);
    assert_eq!(after["metadata"]["labels"]["app"], "checkout");
}

#[test]
fn lists_and_maps_that_are_missing_null_or_empty_are_made() {
    let bare = json!({ "metadata": {}, "spec": { "containers": [{ "name": "app" }] } });
    let nulls = json!({
        "metadata": { "labels": null, "annotations": null },
        "spec": { "containers": [{ "name": "app" }], "initContainers": null, "volumes": null },
    });
    let empty = json!({
        "metadata": { "labels": {}, "annotations": {} },
        "spec": { "containers": [{ "name": "app" }], "initContainers": [], "volumes": [] },
    });
    let expected = injected(bare);
    assert_eq!(expected["spec"]["initContainers"].as_array().unwrap().len(), 1);
    assert_eq!(expected["spec"]["volumes"].as_array().unwrap().len(), 3);
    assert_eq!(injected(nulls), expected);
    assert_eq!(injected(empty), expected);
}

#[test]
fn a_sidecar_that_assumes_ids_is_root() {
    let mut pod = pod();
    pod["spec"]["securityContext"] = json!({});
    let pod = injected(pod);
    let sidecar = &pod["spec"]["initContainers"][1];
    let context = &sidecar["securityContext"];
    assert_eq!((&context["runAsUser"], &context["runAsGroup"]), (&json!(0), &json!(0)));
    assert_eq!(context["runAsNonRoot"], false);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    let env = sidecar["env"].as_array().unwrap();
    assert!(env.contains(&json!({ "name": "PITWALL_IDENTITY", "value": "assume" })));
}

#[test]
fn a_sidecar_has_the_capabilities_that_its_target_may_have_and_no_more() {
    let none = json!({ "drop": ["ALL"] });
    let two = json!({ "add": ["SETGID", "SETUID"], "drop": ["ALL"] });
    let dropping = json!({ "capabilities": { "drop": ["all"] } });
    let some = json!({ "capabilities": { "drop": ["NET_RAW"] } });
    let unsaid = json!({});
    let root = json!({ "runAsUser": 0, "runAsGroup": 0 });
    let user = json!({ "runAsUser": 1000, "runAsGroup": 1000 });
    for (pod_says, containers_say, wanted) in [
        (&user, [&unsaid, &unsaid], &none),
        (&unsaid, [&unsaid, &unsaid], &Value::Null),
        (&unsaid, [&some, &dropping], &Value::Null),
        (&unsaid, [&dropping, &dropping], &two),
        (&root, [&unsaid, &dropping], &Value::Null),
        (&root, [&dropping, &dropping], &none),
    ] {
        let containers = containers_say.map(|says| json!({ "name": "app", "securityContext": says }));
        let pod =
            json!({ "metadata": {}, "spec": { "containers": containers, "securityContext": pod_says } });
        let context = &injected(pod)["spec"]["initContainers"][0]["securityContext"];
        assert_eq!(&context["capabilities"], wanted, "{pod_says} {containers_say:?}");
    }
}

#[test]
fn an_injected_pod_is_not_injected_again() {
    assert_eq!(decided(&injected(pod())), Decision::AlreadyInjected);
}

#[test]
fn a_pod_left_alone_is_marked_and_otherwise_unchanged() {
    for mut before in [pod(), json!({ "metadata": {}, "spec": { "containers": [] } })] {
        let mut after = before.clone();
        json_patch::patch(&mut after, &left_alone(&typed(&before), Reason::HostPid).0).unwrap();
        for map in ["labels", "annotations"] {
            assert_eq!(after["metadata"][map]["pitwall.dev/not-injected"], "HostPid");
        }
        before["metadata"] = Value::Null;
        after["metadata"] = Value::Null;
        assert_eq!(after, before);
    }
}

#[test]
fn marks_that_a_copied_pod_brought_along_are_replaced() {
    let mut copied = pod();
    copied["metadata"]["labels"]["pitwall.dev/not-injected"] = json!("HostPid");
    copied["metadata"]["annotations"]["pitwall.dev/not-injected"] = json!("HostPid");
    let after = injected(copied);
    assert!(after["metadata"]["labels"].get("pitwall.dev/not-injected").is_none());
    assert!(after["metadata"]["annotations"].get("pitwall.dev/not-injected").is_none());

    let mut copied = pod();
    copied["metadata"]["labels"]["pitwall.dev/injected"] = json!("true");
    let patch = left_alone(&typed(&copied), Reason::HostPid);
    json_patch::patch(&mut copied, &patch.0).unwrap();
    assert!(copied["metadata"]["labels"].get("pitwall.dev/injected").is_none());
}
