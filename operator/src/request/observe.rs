//! What is the case: the target's pods, their sidecars, the sessions and the background work. IO only.

use super::{
    Context,
    bounds::bounds,
    rollout,
    targets::session_key,
    validate::{TargetRef, ValidRequest},
    work::{AnalysisState, CollectionState},
};
use crate::channel::{
    PodUid, SessionKey, pods,
    registry::{PartsWanted, Sight},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::Job,
        core::v1::{Namespace, Pod},
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use kube::{
    Api,
    api::ListParams,
    core::{PartialObjectMeta, Selector, SelectorExt},
    runtime::reflector::ObjectRef,
};
use pitwall_crds::{ProfileType, TargetPhase, WorkloadKind, names};
use pitwall_protocol::{ContainerBounds, ContainerRef, RequestUid, SessionReport};
use std::collections::HashMap;

/// How many of a target's pods are looked at.
const MAX_PODS: usize = 500;

/// What is the case for one request.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The target's pods, while some target isn't told to record yet.
    pub candidates: Candidates,
    /// How far the rollout of the target's workload is, while none was chosen and it isn't complete.
    pub rollout: Option<String>,
    /// Whether the namespace demands that snapshots are redacted, while some target isn't told to record yet.
    pub must_redact: bool,
    /// The pods of targets that were chosen, by uid: whether they are alive and their sidecars connected.
    pub chosen: HashMap<PodUid, ChosenPod>,
    /// The request's sessions, as their sidecars last reported them.
    pub sessions: HashMap<SessionKey, SessionReport>,
    /// The names of the sessions' pods.
    pub pod_names: HashMap<PodUid, String>,
    /// Since when a session that should be there is not reported.
    pub missed_since: HashMap<SessionKey, Timestamp>,
    /// Sessions that wait for part URLs.
    pub parts_wanted: Vec<(SessionKey, PartsWanted)>,
    /// Uploads that are being completed and checked.
    pub collections: HashMap<SessionKey, CollectionState>,
    /// The analysis.
    pub analysis: Option<AnalysisState>,
    /// Whether the list of artifacts is stored, or given up; nothing before that was begun.
    pub manifest: Option<bool>,
}

/// The pods that a request may choose from.
#[derive(Clone, Debug, Default)]
pub enum Candidates {
    /// Every target was told to record; nobody looked.
    #[default]
    NotAsked,
    /// The workload or the pod that the request names doesn't exist.
    Missing,
    /// The target's pods.
    Pods(Vec<PodFacts>),
}

/// A pod that belongs to the target.
#[derive(Clone, Debug)]
pub struct PodFacts {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: PodUid,
    /// Whether the webhook gave it a sidecar.
    pub injected: bool,
    /// Why the webhook left it alone.
    pub not_injected: Option<String>,
    /// Whether it runs, and isn't being deleted.
    pub running: bool,
    /// Since when it is ready.
    pub ready_since: Option<Timestamp>,
    /// When it was created.
    pub created: Timestamp,
    /// Its containers that run, the sidecar left out.
    pub containers: Vec<ContainerRef>,
    /// What its containers may use, and how long their probes let them be silent, by name.
    pub bounds: HashMap<String, ContainerBounds>,
    /// The names of all its containers, the sidecar left out.
    pub container_names: Vec<String>,
    /// Whether its sidecar is connected.
    pub connected: bool,
    /// Why the operator can't talk to its sidecar.
    pub refused: Option<String>,
    /// What its sidecar saw for this request.
    pub sight: Option<Sight>,
    /// The other request that records in it now.
    pub recorded_by: Option<String>,
}

/// The pod of a target that was chosen.
#[derive(Clone, Copy, Debug)]
pub struct ChosenPod {
    /// Whether it exists.
    pub alive: bool,
    /// Whether its sidecar is connected.
    pub connected: bool,
    /// Whether it was ready when the request's first target was told to record, or later, and isn't any more.
    pub became_unready: bool,
}

/// Looks at the cluster, the registry and the background work.
pub async fn observe(ctx: &Context, request: &ValidRequest, now: Timestamp) -> Result<Observed, kube::Error> {
    let sessions: HashMap<_, _> = ctx.registry.sessions(&request.uid).into_iter().collect();
    let mut observed = Observed {
        parts_wanted: ctx.registry.parts_wanted(&request.uid),
        collections: ctx.work.collections(&request.uid),
        analysis: ctx.work.analysis(&request.uid),
        manifest: ctx.work.manifest(&request.uid),
        ..Observed::default()
    };
    for target in &request.previous.targets {
        let uid = PodUid(target.pod_uid.clone());
        let alive = pods::is_alive(&ctx.pods, &request.namespace, &target.pod, &target.pod_uid);
        let connected = ctx.registry.is_connected(&uid);
        let became_unready = alive && became_unready(ctx, request, &target.pod);
        observed.chosen.insert(uid, ChosenPod { alive, connected, became_unready });
    }
    let expected = request.previous.targets.iter().filter(|target| !target.phase.is_over());
    let expected = expected.filter(|target| target.phase != TargetPhase::Pending);
    for key in expected.filter_map(|target| session_key(&request.uid, target)) {
        if let Some(since) = ctx.work.missed_since(&key, sessions.contains_key(&key), now) {
            observed.missed_since.insert(key, since);
        }
    }
    let undecided = request.previous.targets.is_empty() && sessions.is_empty()
        || request.previous.targets.iter().any(|target| target.phase == TargetPhase::Pending);
    for key in sessions.keys() {
        if let Some(name) = ctx.registry.pod_name(&key.pod) {
            observed.pod_names.insert(key.pod.clone(), name);
        }
    }
    observed.sessions = sessions;
    if undecided && !request.is_finished() && request.deleted.is_none() {
        (observed.candidates, observed.rollout) = candidates(ctx, request).await?;
        if request.profile_type == ProfileType::HeapSnapshot {
            let namespaces = Api::<PartialObjectMeta<Namespace>>::all(ctx.client.clone());
            observed.must_redact = must_redact(&namespaces.get(&request.namespace).await?.metadata);
        }
    }
    Ok(observed)
}

/// Whether a namespace's administrator wants its snapshots redacted. A word that isn't known is no permission.
fn must_redact(namespace: &ObjectMeta) -> bool {
    let label = namespace.labels.as_ref().and_then(|labels| labels.get(names::REDACT_LABEL));
    label.is_some_and(|value| value != "None")
}

/// Whether the pod's Ready condition turned false after the request had begun.
fn became_unready(ctx: &Context, request: &ValidRequest, pod: &str) -> bool {
    let Some(started) = &request.previous.start_time else { return false };
    let Some(pod) = ctx.pods.get(&ObjectRef::new(pod).within(&request.namespace)) else { return false };
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|one| {
        one.type_ == "Ready"
            && one.status == "False"
            && one.last_transition_time.as_ref().is_some_and(|time| time.0 > started.0)
    })
}

/// The target's pods, and how far its rollout is unless it is complete.
async fn candidates(
    ctx: &Context,
    request: &ValidRequest,
) -> Result<(Candidates, Option<String>), kube::Error> {
    let mut rollout = None;
    let namespace = &request.namespace;
    let pod_api = Api::<Pod>::namespaced(ctx.client.clone(), namespace);
    let selector = match &request.target {
        TargetRef::Pod(name) => return Ok((one_pod(ctx, request, &pod_api, name).await?, None)),
        TargetRef::Selector(selector) => selector.clone(),
        TargetRef::Workload(workload) => {
            let client = ctx.client.clone();
            let name = workload.name.as_str();
            let selector = match workload.kind {
                WorkloadKind::Pod => return Ok((one_pod(ctx, request, &pod_api, name).await?, None)),
                WorkloadKind::Deployment => {
                    let found = Api::<Deployment>::namespaced(client, namespace).get_opt(name).await?;
                    rollout = found.as_ref().and_then(rollout::of_deployment);
                    found.and_then(|found| found.spec).map(|spec| spec.selector)
                }
                WorkloadKind::StatefulSet => {
                    let found = Api::<StatefulSet>::namespaced(client, namespace).get_opt(name).await?;
                    rollout = found.as_ref().and_then(rollout::of_statefulset);
                    found.and_then(|found| found.spec).map(|spec| spec.selector)
                }
                WorkloadKind::DaemonSet => {
                    let found = Api::<DaemonSet>::namespaced(client, namespace).get_opt(name).await?;
                    rollout = found.as_ref().and_then(rollout::of_daemonset);
                    found.and_then(|found| found.spec).map(|spec| spec.selector)
                }
                WorkloadKind::ReplicaSet => Api::<ReplicaSet>::namespaced(client, namespace)
                    .get_opt(name)
                    .await?
                    .and_then(|found| found.spec)
                    .map(|spec| spec.selector),
                WorkloadKind::Job => Api::<Job>::namespaced(client, namespace)
                    .get_opt(name)
                    .await?
                    .and_then(|found| found.spec)
                    .and_then(|spec| spec.selector),
            };
            let Some(selector) = selector else { return Ok((Candidates::Missing, None)) };
            let Ok(selector) = parse(selector) else { return Ok((Candidates::Missing, None)) };
            selector
        }
    };
    // An empty selector would select every pod of the namespace.
    if selector.selects_all() {
        return Ok((Candidates::Pods(Vec::new()), None));
    }
    let injected = ctx.pods.state().into_iter().filter(|pod| {
        let metadata = &pod.metadata;
        metadata.namespace.as_deref() == Some(namespace)
            && metadata.labels.as_ref().is_some_and(|labels| selector.matches(labels))
    });
    let injected: Vec<_> = injected.take(MAX_PODS).map(|pod| facts(ctx, request, &pod)).collect();
    if !injected.is_empty() {
        return Ok((Candidates::Pods(injected), rollout));
    }
    // None that could be recorded: why not is in those that the watch leaves out.
    let params =
        ListParams::default().labels_from(&selector).limit(u32::try_from(MAX_PODS).unwrap_or(u32::MAX));
    let pods = pod_api.list(&params).await?;
    Ok((Candidates::Pods(pods.items.iter().map(|pod| facts(ctx, request, pod)).collect()), rollout))
}

fn parse(selector: LabelSelector) -> Result<Selector, ()> {
    selector.try_into().map_err(|_| ())
}

async fn one_pod(
    ctx: &Context,
    request: &ValidRequest,
    api: &Api<Pod>,
    name: &str,
) -> Result<Candidates, kube::Error> {
    let injected = ctx.pods.get(&ObjectRef::new(name).within(&request.namespace));
    if let Some(pod) = injected {
        return Ok(Candidates::Pods(vec![facts(ctx, request, &pod)]));
    }
    let found = api.get_opt(name).await?;
    Ok(found.map_or(Candidates::Missing, |pod| Candidates::Pods(vec![facts(ctx, request, &pod)])))
}

fn facts(ctx: &Context, request: &ValidRequest, pod: &Pod) -> PodFacts {
    let uid = PodUid(pod.metadata.uid.clone().unwrap_or_default());
    let label = |key: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
    let annotation = |key: &str| pod.metadata.annotations.as_ref().and_then(|map| map.get(key)).cloned();
    let status = pod.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().flatten().find(|c| c.type_ == "Ready" && c.status == "True");
    let containers = status.container_statuses.iter().flatten().filter_map(|container| {
        container.state.as_ref()?.running.as_ref()?;
        // `containerd://0123...`: the id alone shows in a process' cgroup.
        let (_, id) = container.container_id.as_deref()?.split_once("://")?;
        Some(ContainerRef { name: container.name.clone(), id: id.to_owned() })
    });
    PodFacts {
        name: pod.metadata.name.clone().unwrap_or_default(),
        injected: label(names::INJECTED_LABEL).is_some(),
        not_injected: annotation(names::NOT_INJECTED),
        running: status.phase.as_deref() == Some("Running") && pod.metadata.deletion_timestamp.is_none(),
        ready_since: ready
            .map(|c| c.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)),
        created: pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        containers: containers.collect(),
        bounds: pod
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .map(|container| (container.name.clone(), bounds(container)))
            .collect(),
        container_names: pod.spec.iter().flat_map(|spec| &spec.containers).map(|c| c.name.clone()).collect(),
        connected: ctx.registry.is_connected(&uid),
        refused: ctx.registry.refusal(&uid),
        sight: ctx.registry.sight(&request.uid, &uid),
        recorded_by: ctx.registry.recorded_by(&uid, &request.uid).map(|other| name_of(ctx, &other)),
        uid,
    }
}

/// What people call the request with this uid.
fn name_of(ctx: &Context, uid: &RequestUid) -> String {
    ctx.find(uid).map_or_else(
        || uid.0.clone(),
        |request| format!("{}/{}", request.namespace.unwrap_or_default(), request.name),
    )
}
