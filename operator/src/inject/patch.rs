//! The JSON patch that gives a pod its sidecar, or marks it as left alone. Pure.

use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, jsonptr::PointerBuf};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, ObjectFieldSelector, Pod,
        PodSpec, ProjectedVolumeSource, SeccompProfile, SecurityContext, ServiceAccountTokenProjection,
        Volume, VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::api::resource::Quantity as Written,
};
use pitwall_crds::names::{INJECTED_LABEL, NOT_INJECTED, SIDECAR_CONTAINER, SIDECAR_VERSION_ANNOTATION};
use serde_json::{Value, json};

use super::{
    decide::Identity, quantity::Quantity, reason::Reason, resources::SidecarResources, settings::Settings,
};

/// The volume of the sidecar's token.
pub(super) const TOKEN_VOLUME: &str = "pitwall-token";
/// The volume on which recordings wait to be uploaded.
pub(super) const SPOOL_VOLUME: &str = "pitwall-spool";
/// The volume that remembers what the sidecar opened.
pub(super) const JOURNAL_VOLUME: &str = "pitwall-journal";
/// Size of the journal's volume in bytes: a few KiB are used, and kubelet evicts a pod that goes over.
pub(super) const JOURNAL_SIZE: u64 = 4 << 20;

const TOKEN_DIR: &str = "/var/run/secrets/pitwall.dev";
const SPOOL_DIR: &str = "/var/lib/pitwall/spool";
const JOURNAL_DIR: &str = "/var/lib/pitwall/journal";
/// kubelet renews a token when a fifth of its life is left; an hour is a usual life.
const TOKEN_SECONDS: i64 = 3600;

/// What gives the pod its sidecar. `ca` is the PEM bundle that the operator's certificate is signed by.
pub fn injection(
    pod: &Pod,
    identity: Identity,
    resources: &SidecarResources,
    settings: &Settings,
    ca: &str,
) -> Patch {
    let mut patch = Patching::new();
    let spec = pod.spec.as_ref();
    let init_containers = spec.and_then(|spec| spec.init_containers.as_deref());
    patch.append(
        ["spec", "initContainers"],
        init_containers.is_some(),
        [sidecar(security_context(identity, spec), identity, resources, settings, ca)],
    );
    let volumes = spec.and_then(|spec: &PodSpec| spec.volumes.as_deref());
    patch.append(["spec", "volumes"], volumes.is_some(), volumes_of(settings));
    patch.add(["spec", "shareProcessNamespace"], Value::Bool(true));
    patch.mark(pod, [(INJECTED_LABEL, "true")], [(SIDECAR_VERSION_ANNOTATION, env!("CARGO_PKG_VERSION"))]);
    patch.unmark(pod, NOT_INJECTED);
    patch.finished()
}

/// What marks the pod as left alone: a label, so that it can be watched for, and the annotation that
/// people read.
pub fn left_alone(pod: &Pod, reason: Reason) -> Patch {
    let mut patch = Patching::new();
    patch.mark(pod, [(NOT_INJECTED, reason.as_str())], [(NOT_INJECTED, reason.as_str())]);
    patch.unmark(pod, INJECTED_LABEL);
    patch.finished()
}

fn sidecar(
    security_context: SecurityContext,
    identity: Identity,
    resources: &SidecarResources,
    settings: &Settings,
    ca: &str,
) -> Container {
    let spool_limit = settings.sidecar_spool_size.whole() / 4 * 3;
    Container {
        name: SIDECAR_CONTAINER.to_owned(),
        image: Some(settings.sidecar_image.clone()),
        image_pull_policy: Some(settings.sidecar_pull_policy.as_str().to_owned()),
        restart_policy: Some("Always".to_owned()),
        env: Some(vec![
            said("PITWALL_OPERATOR_URL", &settings.operator_url),
            said("PITWALL_CA", ca),
            said("PITWALL_TOKEN_FILE", &format!("{TOKEN_DIR}/token")),
            of_pod("PITWALL_POD_NAMESPACE", "metadata.namespace"),
            of_pod("PITWALL_POD_NAME", "metadata.name"),
            of_pod("PITWALL_POD_UID", "metadata.uid"),
            said("PITWALL_SPOOL_DIR", SPOOL_DIR),
            said("PITWALL_SPOOL_LIMIT", &spool_limit.to_string()),
            said("PITWALL_JOURNAL_DIR", JOURNAL_DIR),
            said(
                "PITWALL_IDENTITY",
                match identity {
                    Identity::Same { .. } => "same",
                    Identity::Assume => "assume",
                },
            ),
        ]),
        resources: Some(resources.requirements()),
        security_context: Some(security_context),
        volume_mounts: Some(vec![
            VolumeMount { read_only: Some(true), ..mount(TOKEN_VOLUME, TOKEN_DIR) },
            mount(SPOOL_VOLUME, SPOOL_DIR),
            mount(JOURNAL_VOLUME, JOURNAL_DIR),
        ]),
        ..Container::default()
    }
}

/// Each field is said, so that nothing comes from the pod's own security context.
fn security_context(identity: Identity, spec: Option<&PodSpec>) -> SecurityContext {
    let (uid, gid) = match identity {
        Identity::Same { uid, gid } => (uid, gid),
        Identity::Assume => (0, 0),
    };
    SecurityContext {
        run_as_user: Some(uid),
        run_as_group: Some(gid),
        run_as_non_root: Some(uid != 0),
        privileged: Some(false),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: capabilities(identity, spec),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}

/// Linux shows a process only to one that has at least its capabilities, and the container runtime gives
/// some to root: a sidecar that may meet such a process keeps the same (docs/adr/0003). None: the runtime's.
fn capabilities(identity: Identity, spec: Option<&PodSpec>) -> Option<Capabilities> {
    let may_be_root = matches!(identity, Identity::Assume | Identity::Same { uid: 0, .. });
    let drops_all = |container: &Container| {
        let capabilities = container.security_context.as_ref().and_then(|own| own.capabilities.as_ref());
        let dropped = capabilities.and_then(|capabilities| capabilities.drop.as_ref());
        dropped.is_some_and(|dropped| dropped.iter().any(|name| name.eq_ignore_ascii_case("ALL")))
    };
    if may_be_root && !spec.is_some_and(|spec| spec.containers.iter().all(drops_all)) {
        return None;
    }
    let add = (identity == Identity::Assume).then(|| vec!["SETGID".to_owned(), "SETUID".to_owned()]);
    Some(Capabilities { add, drop: Some(vec!["ALL".to_owned()]) })
}

fn volumes_of(settings: &Settings) -> [Volume; 3] {
    let token = ServiceAccountTokenProjection {
        audience: Some(pitwall_protocol::AUDIENCE.to_owned()),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: "token".to_owned(),
    };
    let empty = |name: &str, size: Written| Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { medium: None, size_limit: Some(size) }),
        ..Volume::default()
    };
    [
        Volume {
            name: TOKEN_VOLUME.to_owned(),
            projected: Some(ProjectedVolumeSource {
                default_mode: None,
                sources: Some(vec![VolumeProjection {
                    service_account_token: Some(token),
                    ..VolumeProjection::default()
                }]),
            }),
            ..Volume::default()
        },
        empty(SPOOL_VOLUME, settings.sidecar_spool_size.written()),
        empty(JOURNAL_VOLUME, Quantity::bytes(JOURNAL_SIZE).written()),
    ]
}

fn said(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
}

fn of_pod(name: &str, field: &str) -> EnvVar {
    let field_ref = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: field.to_owned() };
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() }),
    }
}

fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

/// A patch in the making.
struct Patching(Vec<PatchOperation>);

impl Patching {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn add<'a>(&mut self, path: impl IntoIterator<Item = &'a str>, value: Value) {
        self.0.push(PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path), value }));
    }

    /// At the end of a list, which is made where it isn't there: its order is the pod author's.
    fn append<T: serde::Serialize>(
        &mut self,
        list: [&str; 2],
        is_there: bool,
        items: impl IntoIterator<Item = T>,
    ) {
        let items = items.into_iter().map(|item| json!(item));
        if is_there {
            for item in items {
                self.add(list.into_iter().chain(["-"]), item);
            }
        } else {
            self.add(list, items.collect());
        }
    }

    fn mark(&mut self, pod: &Pod, labels: [(&str, &str); 1], annotations: [(&str, &str); 1]) {
        for (map, is_there, entries) in [
            ("labels", pod.metadata.labels.is_some(), labels),
            ("annotations", pod.metadata.annotations.is_some(), annotations),
        ] {
            if !is_there {
                self.add(["metadata", map], json!({}));
            }
            for (name, value) in entries {
                self.add(["metadata", map, name], value.into());
            }
        }
    }

    /// Takes a mark away that a copied pod brought along.
    fn unmark(&mut self, pod: &Pod, name: &str) {
        for (map, entries) in [("labels", &pod.metadata.labels), ("annotations", &pod.metadata.annotations)] {
            if entries.as_ref().is_some_and(|entries| entries.contains_key(name)) {
                let path = PointerBuf::from_tokens(["metadata", map, name]);
                self.0.push(PatchOperation::Remove(RemoveOperation { path }));
            }
        }
    }

    fn finished(self) -> Patch {
        Patch(self.0)
    }
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
