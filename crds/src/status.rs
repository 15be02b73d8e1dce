//! What the operator writes into a `ProfileRequest`.

use crate::{Duration, ProfileType, Redaction};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of the request.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileRequestStatus {
    /// Where the request stands, for people; programs read `conditions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the first target was told to record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the request ended, either way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// Accepted, Recording, Complete, Analyzed, Failed and Finished. `kubectl wait --for=condition=Finished`
    /// returns at every end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// The target in short, such as deploy/checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Pods whose recording is stored, of those chosen, such as 1/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<String>,
    /// The processes that were chosen, one entry each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub targets: Vec<TargetStatus>,
    /// The analysis in a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// What the analysis found, most important first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub findings: Vec<Finding>,
}

/// Where a request stands. Printed, never decided on.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing records yet.
    Pending,
    /// Waiting for the workload's rollout.
    Deferred,
    /// Recording, uploading or analysing.
    Running,
    /// At least one recording is stored, and nothing is under way any more.
    Succeeded,
    /// Nothing was stored.
    Failed,
}

/// One process, or a pod in which none was found yet.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    #[serde(rename = "podUID")]
    pub pod_uid: String,
    /// The container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The process id in the pod's shared process namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i64>,
    /// When the process started, in clock ticks after the node's boot: with `pid` an identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_start_ticks: Option<i64>,
    /// The version that the process says it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub node_version: Option<String>,
    /// Where the target stands.
    pub phase: TargetPhase,
    /// How far the present phase has come, such as 12s of 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Why it waits, failed or ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<crate::Reason>,
    /// What was tried, what was seen, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub message: Option<String>,
    /// How the inspector was come by and left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<AttachStatus>,
    /// What the recording cost the process' main thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall: Option<StallStatus>,
    /// Under which load a CPU recording was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadStatus>,
    /// What was checked before the recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<PreflightStatus>,
    /// What is replaced in its heap snapshots: as the request says, or the namespace's label pitwall.dev/redact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redact: Option<Redaction>,
    /// How long was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Duration>,
    /// What was stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 34))]
    pub artifacts: Vec<Artifact>,
}

/// Where a target stands.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetPhase {
    /// Not told to record yet; `reason` says what it waits for.
    Pending,
    /// Told to record; the inspector is being opened and proved.
    Attaching,
    /// The profiler runs.
    Recording,
    /// The profile is being taken over and uploaded.
    Uploading,
    /// The artifact is stored, and its bytes were checked.
    Stored,
    /// Ended with an artifact.
    Succeeded,
    /// Ended without an artifact.
    Failed,
}

impl TargetPhase {
    /// Whether nothing is under way for the target any more, but for its analysis.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Stored | Self::Succeeded | Self::Failed)
    }
}

/// What is known before a recording starts, at worst.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreflightStatus {
    /// What the container's processes use, in bytes: the sum of their resident memory.
    pub used_bytes: i64,
    /// The JavaScript heap of the process, in bytes.
    pub heap_bytes: i64,
    /// By how much the recording can make the process grow, in bytes.
    pub growth_bytes: i64,
    /// For how long the recording can stop the main thread in one go.
    pub pause: Duration,
    /// How large the artifact can be before compression, in bytes; unset where that isn't known before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_bytes: Option<i64>,
    /// The checks that apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub checks: Vec<PreflightCheckStatus>,
}

/// A check, and what came of it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreflightCheckStatus {
    /// Its name.
    #[schemars(length(max = 32))]
    pub name: String,
    /// Whether it holds.
    pub holds: bool,
    /// The numbers that were compared.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// How the inspector was come by and left.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachStatus {
    /// Who opened it.
    pub opened_by: InspectorOpener,
    /// Whether its port was seen closed after the recording.
    pub closed: bool,
    /// From the signal to the proved connection.
    pub took: Duration,
}

/// Who opened an inspector.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InspectorOpener {
    /// The process itself, with --inspect: it was used, and left open.
    Process,
    /// Pitwall, with SIGUSR1.
    Pitwall,
}

/// Stalls of the main thread that the recording caused.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StallStatus {
    /// While the profiler started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Duration>,
    /// While the profiler stopped and handed the profile over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Duration>,
}

/// What was measured beside a CPU recording. Unset: it can't be had there.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadStatus {
    /// By how much the event loop was late, of a look every 10 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_loop_delay: Option<EventLoopDelayStatus>,
    /// What the scheduler gave the main thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_thread: Option<MainThreadStatus>,
    /// What the container's CPU limit took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttling: Option<ThrottlingStatus>,
}

/// By how much the event loop was late.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventLoopDelayStatus {
    /// In half of the looks at most by this.
    pub p50: Duration,
    /// In 99 of 100 at most by this.
    pub p99: Duration,
    /// Never by more.
    pub max: Duration,
}

/// What the scheduler gave a thread.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MainThreadStatus {
    /// On a CPU.
    pub running: Duration,
    /// Ready to run, and without a CPU.
    pub waiting: Duration,
}

/// What a container's CPU limit took.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThrottlingStatus {
    /// The scheduler's periods in which the container ran.
    pub periods: i64,
    /// Those of them in which it was stopped.
    pub throttled_periods: i64,
    /// For how long all of its threads were stopped.
    pub throttled: Duration,
}

/// One stored file.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Its file name, unique within the request, such as checkout-5d9c-x7k2p-17.cpuprofile.
    #[schemars(length(max = 320))]
    pub name: String,
    /// What was recorded.
    pub r#type: ProfileType,
    /// The worker thread that it is of, such as worker-3 of the one whose threadId is 3; unset: the main thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub thread: Option<String>,
    /// Its key in the store.
    #[schemars(length(max = 1024))]
    pub key: String,
    /// Its size as stored, in bytes.
    pub bytes: i64,
    /// Its size without the encoding, in bytes.
    pub uncompressed_bytes: i64,
    /// SHA-256 of the bytes as stored, in lower-case hex.
    #[schemars(length(max = 64))]
    pub sha256: String,
    /// Its Content-Encoding.
    pub encoding: String,
    /// Its Content-Type.
    pub media_type: String,
}

/// The analysis in a line.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The function of most self time, where it is, and its share of busy time: serializeCart checkout.js:41 61%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub hottest: Option<String>,
    /// The share of the recorded time in which the main thread was not idle, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub busy_percent: Option<i32>,
    /// Samples that were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<i64>,
    /// The real mean time between samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_interval: Option<Duration>,
}

/// One thing that the analysis found.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What kind of finding it is.
    pub kind: FindingKind,
    /// The finding in a sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub function: Option<String>,
    /// Where the function begins, as file:line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub location: Option<String>,
    /// Its share of busy time, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i32>,
    /// Its time within the recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Duration>,
    /// The artifact that shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub artifact: Option<String>,
}

/// The kinds of finding.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FindingKind {
    /// A function whose own code takes much of the busy time.
    HotSelf,
    /// A function which takes much of the busy time together with what it calls.
    HotTotal,
    /// The process was all but idle while it was recorded.
    Idle,
}
