//! The custom resources of Pitwall: [`ProfileRequest`] and [`ArtifactDownload`].
//!
//! Shape and contradictions are the schema's and CEL's to refuse: there is no validating webhook, so that
//! Pitwall being down never blocks a write. `crds/yaml` is generated from these types by
//! `cargo run -p pitwall-crds`, and a test holds it to be current.

#![expect(unreachable_pub, reason = "kube's derive wraps each type in a private module")]
#![expect(clippy::duplicated_attributes, reason = "kube's derive takes one attribute a column")]
#![expect(clippy::doc_markdown, reason = "these are the texts of kubectl explain, which shows no markdown")]

mod condition;
mod download;
mod duration;
mod label_selector;
pub mod names;
mod reason;
mod request;
mod share;
mod status;

pub use condition::{ConditionType, set_condition};
pub use download::{ArtifactDownload, ArtifactDownloadSpec, ArtifactDownloadStatus, SealedUrl, ServiceRef};
pub use duration::{Duration, ParseDurationError};
pub use label_selector::{LabelSelector, LabelSelectorRequirement, SelectorOperator};
pub use reason::Reason;
pub use request::{
    AllocationsIncluded, Concurrency, CpuSettings, DuringRollout, Format, Guard, HeapSamplingSettings,
    HeapSnapshotSettings, LONGEST_IN_ONE_PIECE, OnUnready, Output, PodChoice, PodPick, PreflightCheck,
    ProfileRequest, ProfileRequestSpec, ProfileType, Redaction, Safety, Target, Threads, WorkloadKind,
    WorkloadRef, comes_in_chunks, default_deadline, default_sampling_interval,
};
pub use share::{ParseShareError, Share};
pub use status::{
    Artifact, AttachStatus, EventLoopDelayStatus, Finding, FindingKind, InspectorOpener, LoadStatus,
    MainThreadStatus, Phase, PreflightCheckStatus, PreflightStatus, ProfileRequestStatus, StallStatus,
    Summary, TargetPhase, TargetStatus, ThrottlingStatus,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// Every custom resource definition, with the file under `crds/yaml` that it is checked in as.
pub fn definitions() -> [(&'static str, CustomResourceDefinition); 2] {
    [
        ("pitwall.dev_profilerequests.yaml", ProfileRequest::crd()),
        ("pitwall.dev_artifactdownloads.yaml", ArtifactDownload::crd()),
    ]
}
