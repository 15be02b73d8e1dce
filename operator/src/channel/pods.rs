//! The injected pods of the cluster, trimmed to what deciding needs.

use super::registry::{PodUid, Registry};
use futures_util::{Stream, StreamExt};
use k8s_openapi::{
    api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, reflector, watcher},
};
use pitwall_crds::names::INJECTED_LABEL;
use std::sync::Arc;

/// The cache of injected pods.
pub type Pods = reflector::Store<Pod>;

/// A watch of the injected pods that fills the cache and tells the registry of the deleted ones. Runs for
/// as long as it is polled.
pub fn watch(client: Client, registry: Arc<Registry>) -> (Pods, impl Stream<Item = ()> + Send) {
    let (store, writer) = reflector::store();
    let config = watcher::Config::default().labels(INJECTED_LABEL).page_size(500);
    let stream = watcher(Api::<Pod>::all(client), config).default_backoff().modify(trim).reflect(writer).map(
        move |event| match event {
            Ok(watcher::Event::Delete(pod)) => {
                if let Some(uid) = pod.metadata.uid {
                    registry.remove_pod(&PodUid(uid));
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the watch of injected pods broke; it is tried again"),
        },
    );
    (store, stream)
}

/// Leaves of a pod what deciding needs: a cluster may have ten thousand.
fn trim(pod: &mut Pod) {
    let metadata = std::mem::take(&mut pod.metadata);
    pod.metadata = ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        labels: metadata.labels,
        creation_timestamp: metadata.creation_timestamp,
        deletion_timestamp: metadata.deletion_timestamp,
        resource_version: metadata.resource_version,
        ..ObjectMeta::default()
    };
    pod.spec = pod.spec.take().map(|spec| PodSpec {
        containers: spec
            .containers
            .into_iter()
            .map(|container| Container {
                name: container.name,
                resources: container.resources,
                liveness_probe: container.liveness_probe,
                readiness_probe: container.readiness_probe,
                ..Container::default()
            })
            .collect(),
        ..PodSpec::default()
    });
    pod.status = pod.status.take().map(|status| PodStatus {
        phase: status.phase,
        conditions: status.conditions.map(|all| all.into_iter().filter(|one| one.type_ == "Ready").collect()),
        container_statuses: status.container_statuses.map(|all| {
            let trimmed = all.into_iter().map(|one| ContainerStatus {
                name: one.name,
                container_id: one.container_id,
                state: one.state,
                ..ContainerStatus::default()
            });
            trimmed.collect()
        }),
        ..PodStatus::default()
    });
}

/// Whether the pod with this identity is alive.
pub fn is_alive(pods: &Pods, namespace: &str, name: &str, uid: &str) -> bool {
    let key = reflector::ObjectRef::new(name).within(namespace);
    pods.get(&key).is_some_and(|pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        pod.metadata.uid.as_deref() == Some(uid) && !matches!(phase, Some("Succeeded" | "Failed"))
    })
}
