//! `ArtifactDownload`: a short-lived signed URL for one artifact.
//!
//! Reading what was recorded is an RBAC verb of its own: `create` on `artifactdownloads`. The URL in status
//! is sealed to the public key in spec, so who may list or watch downloads learns nothing.

use crate::ProfileType;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Which artifact, and for whom.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "pitwall.dev",
    version = "v1alpha1",
    kind = "ArtifactDownload",
    namespaced,
    category = "pitwall",
    status = "ArtifactDownloadStatus",
    derive = "PartialEq",
    doc = "An ArtifactDownload asks for a URL, good for a minute, to one artifact of a ProfileRequest. Pitwall deletes it when the URL has expired.",
    printcolumn(name = "Request", type_ = "string", json_path = ".spec.request"),
    printcolumn(name = "Artifact", type_ = "string", json_path = ".spec.artifact"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec is immutable; make a new ArtifactDownload"))]
pub struct ArtifactDownloadSpec {
    /// The name of the `ProfileRequest`, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub request: String,
    /// The artifact, as its name stands in the request's status.targets[].artifacts.
    #[schemars(length(min = 1, max = 320))]
    pub artifact: String,
    /// The artifact's type. Access to types can be granted apart, so it must be named, and must be right.
    pub r#type: ProfileType,
    /// The X25519 public key that the URL is sealed to: 32 bytes in base64.
    #[schemars(length(min = 43, max = 44))]
    pub public_key: String,
}

/// The sealed URL, or why there is none.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactDownloadStatus {
    /// Ready: the URL is there, or its reason says why it won't be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 4))]
    pub conditions: Vec<Condition>,
    /// The URL, sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_url: Option<SealedUrl>,
    /// When the URL ceases to work; the object is deleted soon after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
    /// Where the URL leads when it is a path only: a Service to be reached through the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceRef>,
    /// The private CA of the URL's host, in PEM, beside the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub ca: Option<String>,
}

/// RFC 9180 HPKE: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305; info
/// `pitwall.dev/artifactdownload`, additional data the download's uid.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedUrl {
    /// The encapsulated key, in base64.
    #[schemars(length(max = 64))]
    pub encapsulated_key: String,
    /// The encrypted URL, in base64.
    #[schemars(length(max = 16384))]
    pub ciphertext: String,
}

impl SealedUrl {
    /// HPKE's `info`: what the key is used for.
    pub const INFO: &'static [u8] = b"pitwall.dev/artifactdownload";
}

/// A Service that is reached through the API server's proxy.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The port to use, over HTTPS.
    pub port: i32,
}
