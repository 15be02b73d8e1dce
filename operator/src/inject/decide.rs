//! What the webhook does with a pod, from the pod alone. Pure; `docs/injection.md` is the table for people.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use pitwall_crds::names::{INJECT_LABEL, RUN_AS_ANNOTATION, SIDECAR_CONTAINER};

use super::{
    commands::{Trouble, trouble},
    patch::{JOURNAL_VOLUME, SPOOL_VOLUME, TOKEN_VOLUME},
    reason::Reason,
};

/// Whose label made the API server ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedBy {
    /// The namespace is labelled.
    Namespace,
    /// The pod itself is labelled.
    Pod,
}

/// A pod about to be created.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The pod as the API server showed it.
    pub pod: &'a Pod,
    /// The namespace that it will be in.
    pub namespace: &'a str,
    /// Whose label made the API server ask.
    pub asked_by: AskedBy,
    /// The namespace that Pitwall runs in.
    pub own_namespace: &'a str,
}

/// Whom the sidecar runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// As the pod's containers do, without capabilities.
    Same {
        /// Their uid.
        uid: i64,
        /// Their gid.
        gid: i64,
    },
    /// As root, with no more capabilities than the pod's root may have; a short-lived child takes the target's ids.
    Assume,
}

/// What to do with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Give it a sidecar, if the namespace's rules have room for one.
    Inject(Identity),
    /// Leave it alone, and say why.
    LeaveAlone(Reason),
    /// Nobody asked, or the pod declines.
    NotAsked,
    /// It has its sidecar already.
    AlreadyInjected,
}

/// What to do with the pod.
pub fn decide(candidate: &Candidate<'_>) -> Decision {
    let pod = candidate.pod;
    let asked = match label(pod, INJECT_LABEL) {
        Some("enabled") => true,
        Some("disabled") => false,
        _ => candidate.asked_by == AskedBy::Namespace,
    };
    let Some(spec) = pod.spec.as_ref().filter(|_| asked) else { return Decision::NotAsked };
    if already_injected(spec) {
        return Decision::AlreadyInjected;
    }
    match not_ours(candidate, spec).or_else(|| shares_too_much(spec)).map_or_else(|| identity(pod, spec), Err)
    {
        Ok(identity) => Decision::Inject(identity),
        Err(reason) => Decision::LeaveAlone(reason),
    }
}

fn label<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(name).map(String::as_str)
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The label alone doesn't count: it is copied with a pod's template, the container is the fact.
fn already_injected(spec: &PodSpec) -> bool {
    spec.init_containers.iter().flatten().any(|container| {
        container.name == SIDECAR_CONTAINER
            && container.env.iter().flatten().any(|env| env.name == "PITWALL_OPERATOR_URL")
    })
}

/// Pods that are not Pitwall's to change.
fn not_ours(candidate: &Candidate<'_>, spec: &PodSpec) -> Option<Reason> {
    if candidate.namespace == "kube-system" || candidate.namespace == candidate.own_namespace {
        return Some(Reason::SystemNamespace);
    }
    if annotation(candidate.pod, "kubernetes.io/config.mirror").is_some() {
        return Some(Reason::MirrorPod);
    }
    let node_os = spec.node_selector.as_ref().and_then(|labels| labels.get("kubernetes.io/os"));
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") || node_os.is_some_and(|os| os == "windows") {
        return Some(Reason::Windows);
    }
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let volumes = spec.volumes.iter().flatten();
    let taken = containers.map(|container| container.name.as_str()).any(|name| name == SIDECAR_CONTAINER)
        || volumes
            .map(|volume| volume.name.as_str())
            .any(|name| [TOKEN_VOLUME, SPOOL_VOLUME, JOURNAL_VOLUME].contains(&name));
    if taken {
        return Some(Reason::NameTaken);
    }
    let whole = spec.resources.as_ref();
    let says_some = whole.is_some_and(|whole| {
        whole.requests.as_ref().is_some_and(|some| !some.is_empty())
            || whole.limits.as_ref().is_some_and(|some| !some.is_empty())
    });
    says_some.then_some(Reason::PodLevelResources)
}

/// Pods for which one process namespace, or an open inspector, is not what it should be.
fn shares_too_much(spec: &PodSpec) -> Option<Reason> {
    if spec.host_pid == Some(true) {
        return Some(Reason::HostPid);
    }
    if spec.host_network == Some(true) {
        return Some(Reason::HostNetwork);
    }
    if spec.share_process_namespace == Some(false) {
        return Some(Reason::ProcessesNotShared);
    }
    // The author shares processes already: commands that mind it are theirs to have settled.
    if spec.share_process_namespace == Some(true) {
        return None;
    }
    trouble(spec).map(|trouble| match trouble {
        Trouble::NamesPidOne => Reason::NamesPidOne,
        Trouble::SignalsByName => Reason::SignalsByName,
        Trouble::MustBePidOne => Reason::MustBePidOne,
    })
}

/// What one container's spec, with the pod's behind it, says about whom it runs as.
#[derive(Clone, Copy, PartialEq, Eq)]
struct RunsAs {
    uid: Option<i64>,
    gid: Option<i64>,
}

fn identity(pod: &Pod, spec: &PodSpec) -> Result<Identity, Reason> {
    let whole = spec.security_context.as_ref();
    let each = spec.containers.iter().map(|container| {
        let own = container.security_context.as_ref();
        let runs_as = RunsAs {
            uid: own.and_then(|own| own.run_as_user).or_else(|| whole.and_then(|whole| whole.run_as_user)),
            gid: own.and_then(|own| own.run_as_group).or_else(|| whole.and_then(|whole| whole.run_as_group)),
        };
        let non_root =
            own.and_then(|own| own.run_as_non_root).or_else(|| whole.and_then(|whole| whole.run_as_non_root));
        (runs_as, non_root == Some(true))
    });
    let root_allowed = !each.clone().any(|(_, non_root)| non_root);
    let same = |uid, gid| {
        if uid == 0 && !root_allowed { Err(Reason::RootRefused) } else { Ok(Identity::Same { uid, gid }) }
    };

    if let Some(run_as) = annotation(pod, RUN_AS_ANNOTATION) {
        let (uid, gid) = parse_run_as(run_as).ok_or(Reason::RunAsMalformed)?;
        return same(uid, gid);
    }
    let mut said = each.map(|(runs_as, _)| runs_as);
    let first = said.next().unwrap_or(RunsAs { uid: None, gid: None });
    let rest: Vec<RunsAs> = said.collect();
    match first {
        RunsAs { uid: None, .. } if rest.iter().all(|other| other.uid.is_none()) => {
            if !root_allowed {
                Err(Reason::UidNotSaid)
            } else if spec.host_users == Some(false) {
                Err(Reason::UserNamespace)
            } else {
                Ok(Identity::Assume)
            }
        }
        _ if rest.iter().any(|other| *other != first) => Err(Reason::IdentitiesDiffer),
        RunsAs { uid: Some(uid), gid: Some(gid) } => same(uid, gid),
        RunsAs { .. } => Err(Reason::GidNotSaid),
    }
}

/// `uid:gid`, both within what Linux and Kubernetes allow.
fn parse_run_as(written: &str) -> Option<(i64, i64)> {
    let (uid, gid) = written.trim().split_once(':')?;
    let id = |written: &str| {
        let all_digits = !written.is_empty() && written.chars().all(|c| c.is_ascii_digit());
        written.parse::<i64>().ok().filter(|id| all_digits && *id <= i64::from(i32::MAX))
    };
    Some((id(uid)?, id(gid)?))
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
