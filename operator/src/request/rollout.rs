//! Whether a workload is being rolled out, as `kubectl rollout status` decides it. Pure.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};

const NOT_SEEN: &str = "its controller hasn't looked at the last change yet";

/// How far the rollout of a Deployment is; nothing when it is complete, or doesn't go on (paused).
pub(super) fn of_deployment(deployment: &Deployment) -> Option<String> {
    let spec = deployment.spec.as_ref()?;
    let status = deployment.status.clone().unwrap_or_default();
    if spec.paused == Some(true) {
        return None;
    }
    if deployment.metadata.generation > status.observed_generation {
        return Some(NOT_SEEN.to_owned());
    }
    let wanted = spec.replicas.unwrap_or(1);
    let updated = status.updated_replicas.unwrap_or(0);
    let old = status.replicas.unwrap_or(0) - updated;
    // A rollout that has brought all its pods up, and of which one has become unready since, is over.
    if updated < wanted {
        Some(format!("{updated} of {wanted} new pods are there"))
    } else if old > 0 {
        Some(format!("{old} old pods are still there"))
    } else {
        None
    }
}

/// The same of a `StatefulSet`.
pub(super) fn of_statefulset(set: &StatefulSet) -> Option<String> {
    let spec = set.spec.as_ref()?;
    let status = set.status.clone().unwrap_or_default();
    let strategy = spec.update_strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return None;
    }
    if set.metadata.generation > status.observed_generation {
        return Some(NOT_SEEN.to_owned());
    }
    let partition = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.partition).unwrap_or(0);
    let wanted = (spec.replicas.unwrap_or(1) - partition).max(0);
    let updated = status.updated_replicas.unwrap_or(0);
    let moves = status.update_revision.is_some() && status.update_revision != status.current_revision;
    (moves && updated < wanted).then(|| format!("{updated} of {wanted} pods are of the new revision"))
}

/// The same of a `DaemonSet`.
pub(super) fn of_daemonset(set: &DaemonSet) -> Option<String> {
    let status = set.status.clone().unwrap_or_default();
    let strategy = set.spec.as_ref()?.update_strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return None;
    }
    if set.metadata.generation > status.observed_generation {
        return Some(NOT_SEEN.to_owned());
    }
    let (wanted, updated) = (status.desired_number_scheduled, status.updated_number_scheduled.unwrap_or(0));
    (updated < wanted).then(|| format!("{updated} of {wanted} pods are of the new revision"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(kind: &str, generation: i64, spec: &Value, status: &Value) -> Value {
        let mut spec = spec.clone();
        spec["selector"] = json!({});
        spec["template"] = json!({});
        if kind == "StatefulSet" {
            spec["serviceName"] = json!("s");
        }
        json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": { "generation": generation }, "spec": spec,
            "status": status })
    }

    #[test]
    fn a_deployment_is_complete_when_all_its_pods_are_new() {
        for (spec, generation, status, expected) in [
            (json!({ "replicas": 2 }), 2, json!({ "observedGeneration": 1 }), Some("looked")),
            (
                json!({ "replicas": 2 }),
                2,
                json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 1 }),
                Some("1 of 2 new"),
            ),
            (
                json!({ "replicas": 2 }),
                2,
                json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 2 }),
                Some("1 old"),
            ),
            (
                json!({ "replicas": 2 }),
                2,
                json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "unavailableReplicas": 1 }),
                None,
            ),
            (
                json!({ "replicas": 2, "paused": true }),
                2,
                json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 1 }),
                None,
            ),
            (json!({ "replicas": 0 }), 1, json!({ "observedGeneration": 1 }), None),
        ] {
            let deployment = object("Deployment", generation, &spec, &status);
            let told = of_deployment(&serde_json::from_value(deployment).unwrap());
            let agrees = match (told.as_deref(), expected) {
                (Some(told), Some(expected)) => told.contains(expected),
                (told, expected) => told == expected,
            };
            assert!(agrees, "{spec} {status}: {told:?}");
        }
    }

    #[test]
    fn a_stateful_set_is_complete_when_the_pods_above_its_partition_are_new() {
        let moving = |updated| {
            json!({ "observedGeneration": 1, "replicas": 3, "updatedReplicas": updated,
                "currentRevision": "a", "updateRevision": "b" })
        };
        let partition = json!({ "replicas": 3, "updateStrategy": { "type": "RollingUpdate",
            "rollingUpdate": { "partition": 2 } } });
        for (spec, status, goes_on) in [
            (json!({ "replicas": 3 }), moving(1), true),
            (json!({ "replicas": 3 }), moving(3), false),
            (partition.clone(), moving(0), true),
            (partition, moving(1), false),
            (json!({ "replicas": 3, "updateStrategy": { "type": "OnDelete" } }), moving(0), false),
            (
                json!({ "replicas": 3 }),
                json!({ "observedGeneration": 1, "replicas": 1, "currentRevision": "a", "updateRevision": "a" }),
                false,
            ),
        ] {
            let set = object("StatefulSet", 1, &spec, &status);
            let told = of_statefulset(&serde_json::from_value(set).unwrap());
            assert_eq!(told.is_some(), goes_on, "{spec} {status}: {told:?}");
        }
    }

    #[test]
    fn a_daemon_set_is_complete_when_every_node_has_the_new_pod() {
        let status = |updated| {
            json!({ "observedGeneration": 3, "currentNumberScheduled": 2, "desiredNumberScheduled": 2,
                "numberMisscheduled": 0, "numberReady": 2, "updatedNumberScheduled": updated })
        };
        for (generation, updated, goes_on) in [(3, 1, true), (3, 2, false), (4, 2, true)] {
            let set = object("DaemonSet", generation, &json!({}), &status(updated));
            let told = of_daemonset(&serde_json::from_value(set).unwrap());
            assert_eq!(told.is_some(), goes_on, "{generation} {updated}: {told:?}");
        }
    }
}
