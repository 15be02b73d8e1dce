//! How much CPU, memory and storage a pod's sidecar asks for, within what the namespace allows. Pure.
//!
//! A sidecar that the namespace has no room for would stop its pod at admission: such a pod is left alone.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, LimitRangeItem, PodSpec, ResourceQuota, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as Written,
};

use super::{
    decide::Identity,
    namespace::{NamespaceRules, PodSecurity},
    patch::JOURNAL_SIZE,
    quantity::Quantity,
    reason::Reason,
    settings::Settings,
};

const CPU: &str = "cpu";
const MEMORY: &str = "memory";
const STORAGE: &str = "ephemeral-storage";

/// For the container's own log, on top of the volumes.
const LOG_ROOM: u64 = 64 << 20;

/// The request and limit of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Amounts {
    request: Option<Quantity>,
    limit: Option<Quantity>,
}

/// What a sidecar asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidecarResources {
    cpu: Amounts,
    memory: Amounts,
    storage: Amounts,
}

impl SidecarResources {
    /// For the container's spec.
    pub fn requirements(&self) -> ResourceRequirements {
        let side = |of: fn(&Amounts) -> &Option<Quantity>| -> Option<BTreeMap<String, Written>> {
            let said = [(CPU, &self.cpu), (MEMORY, &self.memory), (STORAGE, &self.storage)];
            Some(
                said.into_iter()
                    .filter_map(|(name, amounts)| Some((name.to_owned(), of(amounts).as_ref()?.written())))
                    .collect(),
            )
        };
        ResourceRequirements { requests: side(|a| &a.request), limits: side(|a| &a.limit), claims: None }
    }

    fn each(&mut self) -> [(&'static str, &mut Amounts); 3] {
        [(CPU, &mut self.cpu), (MEMORY, &mut self.memory), (STORAGE, &mut self.storage)]
    }
}

/// What the sidecar asks for in this pod, or why it can't be there.
pub fn sidecar_resources(
    pod: &PodSpec,
    identity: Identity,
    rules: &NamespaceRules,
    settings: &Settings,
) -> Result<SidecarResources, Reason> {
    if rules.pod_security == PodSecurity::Restricted && identity == Identity::Assume {
        return Err(Reason::RestrictedNamespace);
    }
    let guaranteed = is_guaranteed(pod);
    let mut wanted = SidecarResources {
        cpu: Amounts { request: Some(settings.sidecar_cpu_request.clone()), limit: None },
        memory: Amounts {
            request: Some(settings.sidecar_memory_request.clone()),
            limit: Some(settings.sidecar_memory_limit.clone()),
        },
        storage: Amounts::default(),
    };
    // kubelet evicts a pod that writes more than the sum of its containers' limits. So where any container
    // has one, the sidecar's volumes must be in that sum; where none has, the sidecar's would bind them all.
    if each_container(pod).any(|container| limit_of(container, STORAGE).is_some()) {
        let volumes =
            settings.sidecar_spool_size.whole().saturating_add(JOURNAL_SIZE).saturating_add(LOG_ROOM);
        wanted.storage =
            Amounts { request: Some(Quantity::bytes(LOG_ROOM)), limit: Some(Quantity::bytes(volumes)) };
    }
    if quota_names(rules, "limits.cpu") || guaranteed {
        wanted.cpu.limit =
            Some(settings.sidecar_guaranteed_cpu.clone().max(settings.sidecar_cpu_request.clone()));
    }
    if quota_names(rules, "requests.ephemeral-storage") || quota_names(rules, STORAGE) {
        wanted.storage.request = Some(Quantity::bytes(LOG_ROOM));
    }
    for item in rules.limits.iter().filter(|item| item.type_ == "Container") {
        for (name, amounts) in wanted.each() {
            raise(amounts, name, item);
        }
    }
    if guaranteed {
        // Equal request and limit in every container is what makes a pod Guaranteed: the last to be
        // evicted, and with cores of its own under kubelet's static CPU policy. It shall stay so.
        wanted.cpu.request.clone_from(&wanted.cpu.limit);
        wanted.memory.request.clone_from(&wanted.memory.limit);
    }
    if !rules.limits.iter().all(|item| allows(item, pod, &mut wanted)) {
        return Err(Reason::LimitRange);
    }
    if !rules.quotas.iter().all(|quota| has_room(quota, pod, &mut wanted)) {
        return Err(Reason::ResourceQuota);
    }
    Ok(wanted)
}

/// Containers that run as long as the pod does.
fn each_container(pod: &PodSpec) -> impl Iterator<Item = &Container> {
    let sidecars =
        pod.init_containers.iter().flatten().filter(|init| init.restart_policy.as_deref() == Some("Always"));
    pod.containers.iter().chain(sidecars)
}

fn read(map: Option<&BTreeMap<String, Written>>, name: &str) -> Option<Quantity> {
    // The API server has read each quantity before it asks a webhook.
    Quantity::try_from(map?.get(name)?).ok()
}

fn limit_of(container: &Container, name: &str) -> Option<Quantity> {
    read(container.resources.as_ref()?.limits.as_ref(), name)
}

fn request_of(container: &Container, name: &str) -> Option<Quantity> {
    let said = container.resources.as_ref()?;
    read(said.requests.as_ref(), name).or_else(|| read(said.limits.as_ref(), name))
}

/// The class Guaranteed of <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>.
fn is_guaranteed(pod: &PodSpec) -> bool {
    let nothing = Quantity::bytes(0);
    pod.containers.iter().chain(pod.init_containers.iter().flatten()).all(|container| {
        [CPU, MEMORY].iter().all(|name| {
            limit_of(container, name)
                .is_some_and(|limit| limit > nothing && request_of(container, name) == Some(limit))
        })
    })
}

/// The class `BestEffort`: nothing said of CPU or memory.
fn is_best_effort(pod: &PodSpec) -> bool {
    pod.containers
        .iter()
        .chain(pod.init_containers.iter().flatten())
        .all(|container| [CPU, MEMORY].iter().all(|name| request_of(container, name).is_none()))
}

fn quota_names(rules: &NamespaceRules, key: &str) -> bool {
    rules.quotas.iter().any(|quota| {
        quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()).is_some_and(|hard| hard.contains_key(key))
    })
}

/// Raises request and limit to what a `LimitRange` wants at least.
fn raise(amounts: &mut Amounts, name: &str, item: &LimitRangeItem) {
    if let Some(min) = read(item.min.as_ref(), name) {
        amounts.request = amounts.request.take().max(Some(min));
        // A request over the limit is refused.
        amounts.limit =
            amounts.limit.take().map(|limit| limit.max(amounts.request.clone().expect("set above")));
    }
    if let Some(ratio) = read(item.max_limit_request_ratio.as_ref(), name) {
        let limit = amounts
            .limit
            .clone()
            .or_else(|| read(item.default.as_ref(), name))
            .or_else(|| amounts.request.clone());
        amounts.request = amounts.request.take().max(limit.as_ref().map(|limit| limit.over(&ratio)));
        amounts.limit = limit;
    }
}

/// Whether the item has room for the sidecar, and for the pod with it.
fn allows(item: &LimitRangeItem, pod: &PodSpec, wanted: &mut SidecarResources) -> bool {
    match item.type_.as_str() {
        "Container" => wanted.each().into_iter().all(|(name, amounts)| {
            // Where the sidecar has no limit, the API server fills in the default one.
            let limit = amounts.limit.clone().or_else(|| read(item.default.as_ref(), name));
            let most = read(item.max.as_ref(), name);
            let within = |amount: &Option<Quantity>, most: &Option<Quantity>| match (amount, most) {
                (Some(amount), Some(most)) => amount <= most,
                _ => true,
            };
            within(&limit, &most) && within(&amounts.request, &most) && within(&amounts.request, &limit)
        }),
        "Pod" => wanted.each().into_iter().all(|(name, amounts)| {
            let limits = sum(pod, amounts.limit.as_ref(), |container| limit_of(container, name));
            let requests = sum(pod, amounts.request.as_ref(), |container| request_of(container, name));
            let within = read(item.max.as_ref(), name).is_none_or(|most| limits <= most);
            let ratio = read(item.max_limit_request_ratio.as_ref(), name);
            within && ratio.is_none_or(|ratio| limits.over(&ratio) <= requests)
        }),
        _ => true,
    }
}

fn sum(pod: &PodSpec, own: Option<&Quantity>, of: impl Fn(&Container) -> Option<Quantity>) -> Quantity {
    each_container(pod).filter_map(of).chain(own.cloned()).fold(Quantity::bytes(0), |all, one| all.plus(&one))
}

/// Whether the quota leaves room for the pod with its sidecar. Where it has none for the pod alone, that is
/// for the API server to say.
fn has_room(quota: &ResourceQuota, pod: &PodSpec, wanted: &mut SidecarResources) -> bool {
    let Some(spec) = &quota.spec else { return true };
    let by_class = |scope: &str| matches!(scope, "BestEffort" | "NotBestEffort");
    let selects_class = spec.scopes.iter().flatten().any(|scope| by_class(scope))
        || spec
            .scope_selector
            .iter()
            .flat_map(|selector| selector.match_expressions.iter().flatten())
            .any(|term| by_class(&term.scope_name));
    if selects_class && is_best_effort(pod) {
        // With a sidecar that requests something the pod would count in another class, where each of its
        // containers may have to say something.
        return false;
    }
    let used = quota.status.as_ref().and_then(|status| status.used.as_ref());
    wanted.each().into_iter().all(|(name, amounts)| {
        let requests = sum(pod, amounts.request.as_ref(), |container| request_of(container, name));
        let limits = sum(pod, amounts.limit.as_ref(), |container| limit_of(container, name));
        [
            (name.to_owned(), &requests),
            (format!("requests.{name}"), &requests),
            (format!("limits.{name}"), &limits),
        ]
        .into_iter()
        .all(|(key, more)| {
            let Some(most) = read(spec.hard.as_ref(), &key) else { return true };
            let used = read(used, &key).unwrap_or_else(|| Quantity::bytes(0));
            used.plus(more) <= most
        })
    })
}

#[cfg(test)]
#[path = "resources_tests.rs"]
mod tests;
