//! Giving pods their sidecar: the mutating webhook and what belongs to it.
//!
//! The API server asks about each new pod whose namespace or template carries the label
//! `pitwall.dev/inject: enabled`. [`decide`] says what to do (pure), [`patch`] how (pure), and [`router`]
//! answers. Nothing here may stop a pod: whatever goes wrong, the answer is "allowed, unchanged", and the
//! webhook's `failurePolicy` is `Ignore`.
//!
//! Beside the webhook, the leader runs two loops: [`keep_ca_bundle`] keeps the certificate that the API
//! server trusts in step with the operator's own, and [`announce_left_alone`] makes an Event on each pod
//! that was left alone (at admission a pod has no uid that an Event could name).

mod announce;
mod ca_bundle;
mod commands;
mod decide;
mod namespace;
mod patch;
mod quantity;
mod reason;
mod resources;
mod serve;
mod settings;

pub use announce::announce_left_alone;
pub use ca_bundle::keep_ca_bundle;
pub use decide::{AskedBy, Candidate, Decision, Identity, decide};
pub use namespace::{NamespaceRules, PodSecurity};
pub use patch::{injection, left_alone};
pub use quantity::{ParseQuantityError, Quantity};
pub use reason::Reason;
pub use resources::{SidecarResources, sidecar_resources};
pub use serve::{PATH_BY_NAMESPACE, PATH_BY_POD, router};
pub use settings::{PullPolicy, Settings};
