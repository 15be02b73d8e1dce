#![expect(clippy::needless_pass_by_value, reason = "json!(...) reads best as an argument")]

use serde_json::{Value, json};

use super::*;

fn settings() -> Settings {
    crate::inject::settings::tests::settings()
}

fn pod(resources: Value) -> PodSpec {
    serde_json::from_value(json!({ "containers": [{ "name": "app", "resources": resources }] })).unwrap()
}

fn limits(items: Value) -> NamespaceRules {
    NamespaceRules { limits: serde_json::from_value(items).unwrap(), ..NamespaceRules::default() }
}

fn quota(quota: Value) -> NamespaceRules {
    NamespaceRules { quotas: vec![serde_json::from_value(quota).unwrap()], ..NamespaceRules::default() }
}

fn asked(resources: Value, rules: &NamespaceRules) -> Result<Value, Reason> {
    sidecar_resources(&pod(resources), Identity::Assume, rules, &settings())
        .map(|wanted| serde_json::to_value(wanted.requirements()).unwrap())
}

fn plain() -> Value {
    json!({ "requests": { "cpu": "5m", "memory": "16Mi" }, "limits": { "memory": "64Mi" } })
}

#[test]
fn a_sidecar_asks_for_little() {
    let rules = NamespaceRules::default();
    for resources in [json!({}), json!({ "requests": { "cpu": "1", "memory": "1Gi" } })] {
        assert_eq!(asked(resources, &rules), Ok(plain()));
    }
}

#[test]
fn a_guaranteed_pod_stays_one() {
    for resources in [
        json!({ "limits": { "cpu": "1", "memory": "1Gi" } }),
        json!({ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "1000m", "memory": "1024Mi" } }),
    ] {
        let expected = json!({
            "requests": { "cpu": "100m", "memory": "64Mi" },
            "limits": { "cpu": "100m", "memory": "64Mi" },
        });
        assert_eq!(asked(resources, &NamespaceRules::default()), Ok(expected));
    }
    let burstable =
        json!({ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "1", "memory": "1Mi" } });
    assert_eq!(asked(burstable, &NamespaceRules::default()), Ok(plain()));
}

#[test]
fn the_volumes_count_only_where_the_pod_limits_its_storage() {
    let limited =
        asked(json!({ "limits": { "ephemeral-storage": "100Mi" } }), &NamespaceRules::default()).unwrap();
    assert_eq!(limited["limits"]["ephemeral-storage"], json!(((1024 + 4 + 64) << 20).to_string()));
    assert_eq!(limited["requests"]["ephemeral-storage"], json!((64 << 20).to_string()));
}

#[test]
fn a_limit_range_raises_the_sidecar_or_keeps_it_out() {
    let no_room = Err(Reason::LimitRange);
    let with = |requests: Value, limits: Value| Ok(json!({ "requests": requests, "limits": limits }));
    for (item, expected) in [
        (json!({ "type": "Container", "default": { "cpu": "500m" }, "max": { "cpu": "1" } }), Ok(plain())),
        (
            json!({ "type": "Container", "min": { "cpu": "100m", "memory": "128Mi" } }),
            with(json!({ "cpu": "100m", "memory": "128Mi" }), json!({ "memory": "128Mi" })),
        ),
        (json!({ "type": "Container", "max": { "memory": "32Mi" } }), no_room.clone()),
        (json!({ "type": "Container", "default": { "cpu": "4m" } }), no_room.clone()),
        (
            json!({ "type": "Container", "maxLimitRequestRatio": { "memory": "2" } }),
            with(json!({ "cpu": "5m", "memory": "33554432" }), json!({ "memory": "64Mi" })),
        ),
        (
            json!({ "type": "Container", "default": { "cpu": "500m" }, "maxLimitRequestRatio": { "cpu": "10" } }),
            with(json!({ "cpu": "50m", "memory": "16Mi" }), json!({ "cpu": "500m", "memory": "64Mi" })),
        ),
        (json!({ "type": "Pod", "max": { "memory": "1088Mi" } }), Ok(plain())),
        (json!({ "type": "Pod", "max": { "memory": "1Gi" } }), no_room.clone()),
        (json!({ "type": "PersistentVolumeClaim", "max": { "storage": "1" } }), Ok(plain())),
    ] {
        let resources = json!({ "limits": { "memory": "1Gi" } });
        assert_eq!(asked(resources, &limits(json!([item]))), expected, "{item}");
    }
}

#[test]
fn a_quota_is_satisfied_or_keeps_the_sidecar_out() {
    let no_room = Err(Reason::ResourceQuota);
    let with_cpu_limit = Ok(json!({
        "requests": { "cpu": "5m", "memory": "16Mi" },
        "limits": { "cpu": "100m", "memory": "64Mi" },
    }));
    for (quota_said, expected) in [
        (json!({ "spec": { "hard": { "pods": "10" } } }), Ok(plain())),
        (json!({ "spec": { "hard": { "limits.cpu": "2" } } }), with_cpu_limit),
        (json!({ "spec": { "hard": { "requests.memory": "1040Mi" } } }), Ok(plain())),
        (json!({ "spec": { "hard": { "requests.memory": "1Gi" } } }), no_room.clone()),
        (
            json!({ "spec": { "hard": { "memory": "2Gi" } }, "status": { "used": { "memory": "1Gi" } } }),
            no_room.clone(),
        ),
        (
            json!({ "spec": { "hard": { "memory": "3Gi" } }, "status": { "used": { "memory": "1Gi" } } }),
            Ok(plain()),
        ),
    ] {
        let resources = json!({ "requests": { "memory": "1Gi" } });
        assert_eq!(asked(resources, &quota(quota_said.clone())), expected, "{quota_said}");
    }
}

#[test]
fn a_pod_without_requests_is_not_moved_into_another_quota_class() {
    for spec in [
        json!({ "scopes": ["NotBestEffort"] }),
        json!({ "scopeSelector": { "matchExpressions": [{ "scopeName": "BestEffort", "operator": "Exists" }] } }),
    ] {
        let rules = quota(json!({ "spec": spec }));
        assert_eq!(asked(json!({}), &rules), Err(Reason::ResourceQuota));
        assert_eq!(asked(json!({ "requests": { "cpu": "1" } }), &rules), Ok(plain()));
    }
}

#[test]
fn a_restricted_namespace_takes_only_a_sidecar_of_the_same_identity() {
    let rules = NamespaceRules { pod_security: PodSecurity::Restricted, ..NamespaceRules::default() };
    let pod = pod(json!({}));
    let same = Identity::Same { uid: 1000, gid: 1000 };
    assert_eq!(
        sidecar_resources(&pod, Identity::Assume, &rules, &settings()),
        Err(Reason::RestrictedNamespace)
    );
    assert!(sidecar_resources(&pod, same, &rules, &settings()).is_ok());
}
