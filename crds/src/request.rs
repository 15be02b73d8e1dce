//! `ProfileRequest`: one bounded recording, over one or more targets.

use crate::{Duration, LabelSelector, Share, status::ProfileRequestStatus};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The same of a field that may be absent.
macro_rules! unchanged {
    ($field:literal) => {
        concat!(
            " && has(self.",
            $field,
            ") == has(oldSelf.",
            $field,
            ") && (!has(self.",
            $field,
            ") || self.",
            $field,
            " == oldSelf.",
            $field,
            ")"
        )
    };
}

/// What to record, from which pods, for how long.
///
/// Immutable but for `stop` (false to true) and `ttlAfterFinished`: a recording is asked for by making a new
/// request.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "pitwall.dev",
    version = "v1alpha1",
    kind = "ProfileRequest",
    namespaced,
    shortname = "prof",
    category = "pitwall",
    status = "ProfileRequestStatus",
    derive = "PartialEq",
    doc = "A ProfileRequest asks Pitwall to record one profile of Node.js processes that run in this namespace.",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Pods", type_ = "string", json_path = ".status.pods"),
    printcolumn(name = "Hottest", type_ = "string", json_path = ".status.summary.hottest"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Finished")].reason"#,
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(IMMUTABLE).message("spec is immutable but for stop and ttlAfterFinished; make a new ProfileRequest"),
    validation = Rule::new("!oldSelf.stop || self.stop").message("stop can't be taken back; make a new ProfileRequest").field_path(".stop"),
    validation = Rule::new("!has(self.activeDeadline) || self.type == 'HeapSnapshot' || duration(self.activeDeadline) > duration(has(self.duration) ? self.duration : '30s')").message("activeDeadline must be longer than duration (30s unless given)").field_path(".activeDeadline"),
    validation = Rule::new("!has(self.duration) || self.type != 'HeapSnapshot'").message("a HeapSnapshot has no duration").field_path(".duration"),
    validation = Rule::new("!has(self.duration) || duration(self.duration) <= duration('10m') || !has(self.cpu) || !has(self.cpu.samplingInterval) || duration(self.cpu.samplingInterval) >= duration('10ms')").message("longer than 10m takes a cpu.samplingInterval of at least 10ms").field_path(".cpu.samplingInterval"),
    validation = Rule::new("self.target.threads != 'All' || (self.type != 'HeapSnapshot' && (!has(self.duration) || duration(self.duration) <= duration('10m')))").message("All threads can be recorded for types CPU and HeapSampling, for up to 10m").field_path(".target.threads"),
    validation = Rule::new("!has(self.cpu) || self.type == 'CPU'").message("cpu is for type CPU").field_path(".cpu"),
    validation = Rule::new("!has(self.heapSampling) || self.type == 'HeapSampling'").message("heapSampling is for type HeapSampling").field_path(".heapSampling"),
    validation = Rule::new("!has(self.heapSnapshot) || self.type == 'HeapSnapshot'").message("heapSnapshot is for type HeapSnapshot").field_path(".heapSnapshot")
)]
pub struct ProfileRequestSpec {
    /// Which processes to record.
    pub target: Target,
    /// What to record.
    pub r#type: ProfileType,
    /// How long to record, from 1s to 8h; unset: 30s. Not for type HeapSnapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('8h')").message("duration must be from 1s to 8h"))]
    pub duration: Option<Duration>,
    /// Settings of the CPU profiler, for type CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuSettings>,
    /// Settings of the sampling heap profiler, for type HeapSampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heap_sampling: Option<HeapSamplingSettings>,
    /// Settings of a heap snapshot, for type HeapSnapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heap_snapshot: Option<HeapSnapshotSettings>,
    /// What protects the target, and what its author takes responsibility for.
    #[serde(default)]
    pub safety: Safety,
    /// Set to true to prove and check everything, report it in status, and record nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// What happens when a target is already being recorded by another request.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// What is made of the recording.
    #[serde(default)]
    pub output: Output,
    /// Set to true to stop now and keep what was recorded. Deleting the object discards it.
    #[serde(default)]
    pub stop: bool,
    /// How long the request may take from its creation to its end, waiting included: from 10s to 24h; unset: 15m,
    /// and 10m more than duration if that is longer. At its end whatever is still under way fails with the
    /// reason DeadlineExceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')").message("activeDeadline must be from 10s to 24h"))]
    pub active_deadline: Option<Duration>,
    /// How long the finished request, and with it its artifacts, is kept. Unset: until someone deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('8760h')").message("ttlAfterFinished must be at most 8760h"))]
    pub ttl_after_finished: Option<Duration>,
}

/// Names every field of the spec but `stop` and `ttlAfterFinished`; a test holds it to that.
const IMMUTABLE: &str = concat!(
    "self.target == oldSelf.target && self.type == oldSelf.type && self.safety == oldSelf.safety",
    " && self.dryRun == oldSelf.dryRun && self.concurrency == oldSelf.concurrency && self.output == oldSelf.output",
    unchanged!("duration"),
    unchanged!("cpu"),
    unchanged!("heapSampling"),
    unchanged!("heapSnapshot"),
    unchanged!("activeDeadline"),
);

impl ProfileRequestSpec {
    /// How long to record; nothing for a heap snapshot.
    pub fn window(&self) -> Duration {
        match self.r#type {
            ProfileType::HeapSnapshot => Duration::default(),
            ProfileType::Cpu | ProfileType::HeapSampling => self.duration.unwrap_or(Duration::from_secs(30)),
        }
    }

    /// Time between samples of the CPU profiler.
    pub fn cpu_sampling_interval(&self) -> Duration {
        let given = self.cpu.as_ref().and_then(|cpu| cpu.sampling_interval);
        given.unwrap_or_else(|| default_sampling_interval(self.window()))
    }

    /// How long the request may take.
    pub fn deadline(&self) -> Duration {
        let between = self.heap_snapshot.as_ref().map(HeapSnapshotSettings::between).unwrap_or_default();
        self.active_deadline.unwrap_or_else(|| default_deadline(self.window().max(between)))
    }
}

/// How long a request with this window may take that doesn't say.
pub fn default_deadline(window: Duration) -> Duration {
    let with_window = window.as_std().saturating_add(std::time::Duration::from_secs(10 * 60));
    Duration::from_secs(with_window.as_secs().max(15 * 60))
}

/// Which processes to record: pods by exactly one of `workload`, `podName` and `selector`, then a container.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.workload), has(self.podName), has(self.selector)].filter(given, given).size() == 1").message("exactly one of workload, podName and selector must be given")
)]
pub struct Target {
    /// The pods of a workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadRef>,
    /// One pod, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub pod_name: Option<String>,
    /// The pods that carry these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("(has(self.matchLabels) && self.matchLabels.size() > 0) || (has(self.matchExpressions) && self.matchExpressions.size() > 0)").message("a selector needs a condition"))]
    pub selector: Option<LabelSelector>,
    /// The container to record in. Unset: the only container that runs Node.js.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub container: Option<String>,
    /// Which threads of a process: Main, the one that runs its first event loop, or All, with up to eight worker
    /// threads, an artifact each.
    #[serde(default)]
    pub threads: Threads,
    /// How many of the pods, and which.
    #[serde(default)]
    pub pods: PodChoice,
}

/// A workload of the request's namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRef {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The kinds of workload that can be named.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WorkloadKind {
    /// apps/v1 Deployment
    Deployment,
    /// apps/v1 StatefulSet
    StatefulSet,
    /// apps/v1 DaemonSet
    DaemonSet,
    /// apps/v1 ReplicaSet
    ReplicaSet,
    /// batch/v1 Job
    Job,
    /// v1 Pod
    Pod,
}

impl WorkloadKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::ReplicaSet, Self::Job, Self::Pod];

    /// The kind as kubectl abbreviates it: `deploy`, `sts`, `ds`, `rs`, `job`, `pod`.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Deployment => "deploy",
            Self::StatefulSet => "sts",
            Self::DaemonSet => "ds",
            Self::ReplicaSet => "rs",
            Self::Job => "job",
            Self::Pod => "pod",
        }
    }

    /// The names by which kubectl knows the kind, in lower case.
    pub const fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Deployment => {
                &["deploy", "deployment", "deployments", "deployment.apps", "deployments.apps"]
            }
            Self::StatefulSet => {
                &["sts", "statefulset", "statefulsets", "statefulset.apps", "statefulsets.apps"]
            }
            Self::DaemonSet => &["ds", "daemonset", "daemonsets", "daemonset.apps", "daemonsets.apps"],
            Self::ReplicaSet => &["rs", "replicaset", "replicasets", "replicaset.apps", "replicasets.apps"],
            Self::Job => &["job", "jobs", "job.batch", "jobs.batch"],
            Self::Pod => &["po", "pod", "pods"],
        }
    }
}

/// How many of the target's pods to record, and which.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodChoice {
    /// How many pods at most: a number from 1 to 32, or a share of those that run, such as 25%, rounded up.
    #[serde(default = "default_limit")]
    pub limit: Share,
    /// Which pods, when there are more than limit.
    #[serde(default)]
    pub pick: PodPick,
    /// How many pods are recorded at once: a number from 1 to 32, or a share of those that run, such as 25%, rounded
    /// up. Unset: all of them, and one for type HeapSnapshot, which stops its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<Share>,
}

fn default_limit() -> Share {
    Share::Count(1)
}

impl Default for PodChoice {
    fn default() -> Self {
        Self { limit: default_limit(), pick: PodPick::default(), at_once: None }
    }
}

/// Which pods to record, when there are more than are asked for.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodPick {
    /// Those that became ready first: they have warmed up.
    #[default]
    Oldest,
    /// Those that became ready last.
    Newest,
    /// Any.
    Random,
    /// Those whose Node.js processes take the most CPU time, measured for a second when the request begins.
    Busiest,
}

/// What to record.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProfileType {
    /// Where the time goes: V8's sampling CPU profiler, a `.cpuprofile`.
    #[serde(rename = "CPU")]
    Cpu,
    /// Which code allocates: V8's sampling heap profiler, a `.heapprofile`.
    HeapSampling,
    /// Every object and what keeps it alive: a `.heapsnapshot`. Stops the process for seconds, and takes memory.
    HeapSnapshot,
}

impl ProfileType {
    /// As it is written in a spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::HeapSampling => "HeapSampling",
            Self::HeapSnapshot => "HeapSnapshot",
        }
    }

    /// The extension of its artifacts, by which `DevTools` knows what it opens.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Cpu => "cpuprofile",
            Self::HeapSampling => "heapprofile",
            Self::HeapSnapshot => "heapsnapshot",
        }
    }
}

/// Which threads of a process to record.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Threads {
    /// The main thread.
    #[default]
    Main,
    /// The main thread and up to eight worker threads, an artifact each. For types CPU and HeapSampling, up to 10m.
    All,
}

/// Settings of the CPU profiler.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuSettings {
    /// Time between samples, from 100us (about a quarter more CPU time) to 100ms; unset: 1ms, which costs a few
    /// percent, and 10ms where duration is longer than 10m, which then is the least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100us') && duration(self) <= duration('100ms')").message("samplingInterval must be from 100us to 100ms"))]
    pub sampling_interval: Option<Duration>,
    /// Set to true to record, too, which functions V8 optimized and deoptimized, how often and why: an artifact of
    /// its own, in JSON. See docs/types/cpu.md for what it costs.
    #[serde(default)]
    pub trace_optimizations: bool,
}

/// Time between samples of a CPU recording that doesn't say.
pub fn default_sampling_interval(window: Duration) -> Duration {
    Duration::from_millis(if window > LONGEST_IN_ONE_PIECE { 10 } else { 1 })
}

/// Whether a CPU recording of the main thread comes over in chunks: one that is long, or has more samples than `DevTools`
/// opens. V8 takes at most 5,000 a second.
pub fn comes_in_chunks(window: Duration, sampling_interval: Duration) -> bool {
    const MOST_SAMPLES: f64 = 2e6;
    const FINEST: f64 = 0.0002;
    let samples = window.as_std().as_secs_f64() / sampling_interval.as_std().as_secs_f64().max(FINEST);
    window > LONGEST_IN_ONE_PIECE || samples > MOST_SAMPLES
}

/// A CPU recording that is longer comes over in chunks, and takes fewer samples.
pub const LONGEST_IN_ONE_PIECE: Duration = Duration::from_secs(10 * 60);

/// Settings of the sampling heap profiler.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeapSamplingSettings {
    /// Bytes that are allocated between two samples, on average: a power of two from 4Ki (an allocating loop takes
    /// a third longer) to 1Mi.
    #[serde(default = "default_sampling_bytes")]
    #[schemars(length(max = 16), regex(pattern = r"^((4|8|16|32|64|128|256|512)Ki|1Mi)$"))]
    pub sampling_interval: String,
    /// Which objects: Live, those that are reachable at the end, or All, with those that the garbage collector
    /// freed meanwhile, too. All needs Node.js 20.
    #[serde(default)]
    pub include: AllocationsIncluded,
}

fn default_sampling_bytes() -> String {
    "32Ki".to_owned()
}

impl Default for HeapSamplingSettings {
    fn default() -> Self {
        Self { sampling_interval: default_sampling_bytes(), include: AllocationsIncluded::default() }
    }
}

impl HeapSamplingSettings {
    /// The interval in bytes; nothing if it isn't written as the schema asks.
    pub fn sampling_interval_bytes(&self) -> Option<u32> {
        let text = self.sampling_interval.as_str();
        let kibibytes = if text == "1Mi" { 1024 } else { text.strip_suffix("Ki")?.parse().ok()? };
        (4..=1024_u32).contains(&kibibytes).then_some(kibibytes << 10)
    }
}

/// Which objects a heap sampling shows.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AllocationsIncluded {
    /// Those that are reachable at its end.
    #[default]
    Live,
    /// All that were allocated. Needs Node.js 20.
    All,
}

/// Settings of a heap snapshot.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeapSnapshotSettings {
    /// What is replaced before anything leaves the pod. Strings: the contents of strings; names of properties,
    /// classes and files stay. See docs/redaction.md.
    #[serde(default)]
    pub redact: Redaction,
    /// How many snapshots, an artifact each: from 1 to 3. Between them the inspector is held, so that an object has the
    /// same id in all of them.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 3))]
    pub count: i32,
    /// From the end of one snapshot to the start of the next, from 1s to 10m.
    #[serde(default = "default_interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('10m')").message("interval must be from 1s to 10m"))]
    pub interval: Duration,
}

fn one() -> i32 {
    1
}

fn default_interval() -> Duration {
    Duration::from_secs(60)
}

impl Default for HeapSnapshotSettings {
    fn default() -> Self {
        Self { redact: Redaction::default(), count: one(), interval: default_interval() }
    }
}

impl HeapSnapshotSettings {
    /// The time between the first snapshot and the last, but for what the snapshots take.
    pub fn between(&self) -> Duration {
        let pauses = u32::try_from(self.count).unwrap_or(1).saturating_sub(1);
        Duration::from_secs((self.interval.as_std() * pauses).as_secs())
    }
}

/// What is replaced in a heap snapshot.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Redaction {
    /// Nothing.
    #[default]
    None,
    /// The contents of strings.
    Strings,
}

/// What protects the target.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Safety {
    /// Preflight checks that the author of the request takes responsibility for: a recording that they would refuse
    /// is made.
    #[serde(default, rename = "override", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub overridden: Vec<PreflightCheck>,
    /// What ends a recording before its time, and keeps what there is.
    #[serde(default)]
    pub guard: Guard,
    /// What happens while the target's workload is rolled out: a recording that begins then would be of pods that
    /// are about to go.
    #[serde(default)]
    pub during_rollout: DuringRollout,
}

/// What ends a recording before its time. A heap snapshot can't be ended; its preflight stands for it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guard {
    /// The share of the container's memory limit, in percent, that its processes may use together; unlimited where
    /// the container has no limit.
    #[serde(default = "default_memory_percent")]
    #[schemars(range(min = 10, max = 100))]
    pub memory_percent: i32,
    /// The share of ten seconds that the main thread may be on a CPU, in percent; unset: any, as it is often the busy
    /// process that is of interest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 100))]
    pub main_thread_percent: Option<i32>,
    /// What happens when the pod stops being ready: Stop, or Ignore.
    #[serde(default)]
    pub readiness: OnUnready,
}

fn default_memory_percent() -> i32 {
    90
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            memory_percent: default_memory_percent(),
            main_thread_percent: None,
            readiness: OnUnready::default(),
        }
    }
}

/// What happens when a pod stops being ready while it is recorded.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnUnready {
    /// The recording ends, and is kept.
    #[default]
    Stop,
    /// The recording goes on.
    Ignore,
}

/// What happens while the target's workload is rolled out.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DuringRollout {
    /// Wait until the rollout is complete, within `activeDeadline`.
    #[default]
    Defer,
    /// Fail with the reason RolloutInProgress.
    Refuse,
    /// Record all the same.
    Allow,
}

/// A check that is made before a recording that could hurt its pod.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PreflightCheck {
    /// The recording's memory fits the container's limit.
    MemoryLimit,
    /// The recording's memory fits what the node has free, where the container has no limit.
    NodeMemory,
    /// The app answers again before its liveness probe has it killed.
    LivenessProbe,
    /// The app answers again before its readiness probe takes its traffic away.
    ReadinessProbe,
    /// The snapshot is over by activeDeadline.
    Deadline,
}

/// What happens when a target is already being recorded by another request.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Concurrency {
    /// Wait until the other recording is over, within `activeDeadline`.
    #[default]
    Wait,
    /// Fail with the reason TargetBusy.
    Refuse,
}

/// What is made of the recording.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The formats to store.
    #[serde(default = "default_formats")]
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub formats: Vec<Format>,
    /// The most that one artifact may have as it is stored, compressed: from 64Mi to 2Gi. A heap snapshot that may have
    /// more isn't begun.
    #[serde(default = "default_max_size")]
    #[schemars(
        length(max = 8),
        regex(pattern = r"^(6[4-9]|[7-9][0-9]|[1-9][0-9]{2}|1[0-9]{3}|20[0-3][0-9]|204[0-8])Mi$|^[12]Gi$")
    )]
    pub max_size: String,
}

fn default_max_size() -> String {
    "500Mi".to_owned()
}

impl Output {
    /// The most that one artifact may have, in bytes; nothing if it isn't written as the schema asks.
    pub fn max_bytes(&self) -> Option<u64> {
        let (number, shift) = match self.max_size.strip_suffix("Mi") {
            Some(number) => (number, 20),
            None => (self.max_size.strip_suffix("Gi")?, 30),
        };
        let bytes = number.parse::<u64>().ok()?.checked_mul(1 << shift)?;
        (64 << 20..=2 << 30).contains(&bytes).then_some(bytes)
    }
}

fn default_formats() -> Vec<Format> {
    vec![Format::Native]
}

impl Default for Output {
    fn default() -> Self {
        Self { formats: default_formats(), max_size: default_max_size() }
    }
}

/// A format that a recording is stored in.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// As V8 made it, which Chrome DevTools opens.
    Native,
}
