//! Labels, annotations, finalizers and other names that are the same everywhere.

/// The API group.
pub const GROUP: &str = "pitwall.dev";
/// The API version.
pub const VERSION: &str = "v1alpha1";
/// The field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "pitwall-operator";
/// The finalizer of a `ProfileRequest`, held while its recordings are stopped and its artifacts deleted.
pub const FINALIZER: &str = "pitwall.dev/recordings";

/// Label on a namespace or a pod template: `enabled`, or on a pod `disabled`.
pub const INJECT_LABEL: &str = "pitwall.dev/inject";
/// Label on a namespace, of whoever administers it: `Strings` has every heap snapshot of it redacted, whatever a request
/// says. A value that isn't known counts as that.
pub const REDACT_LABEL: &str = "pitwall.dev/redact";
/// Label that the webhook puts on the pods that it gave a sidecar; the operator watches only these.
pub const INJECTED_LABEL: &str = "pitwall.dev/injected";
/// Annotation and label on a pod that was left alone: the reason.
pub const NOT_INJECTED: &str = "pitwall.dev/not-injected";
/// Annotation on a pod: `uid:gid` of its processes where its spec doesn't say.
pub const RUN_AS_ANNOTATION: &str = "pitwall.dev/run-as";
/// Annotation on an injected pod: the version of the operator that injected it.
pub const SIDECAR_VERSION_ANNOTATION: &str = "pitwall.dev/sidecar-version";
/// The sidecar container's name.
pub const SIDECAR_CONTAINER: &str = "pitwall";
/// Label on the operator's pod that leads; the Service that sidecars dial selects it.
pub const LEADER_LABEL: &str = "pitwall.dev/leader";
/// The operator's Deployment, in Pitwall's own namespace.
pub const DEPLOYMENT: &str = "pitwall-operator";
/// The Lease that operator replicas compete for.
pub const LEASE: &str = "pitwall-operator";
/// The ConfigMap of artifacts that wait to be deleted: their request is gone, or may be gone by now.
pub const TOMBSTONES: &str = "pitwall-tombstones";
