//! A `ProfileRequest` as the later steps want it: parsed once, nothing optional that has a default.

use jiff::{SignedDuration, Timestamp};
use kube::core::Selector;
use pitwall_crds::{
    AllocationsIncluded, Concurrency, DuringRollout, Format, Guard, HeapSnapshotSettings, PodChoice, PodPick,
    PreflightCheck, ProfileRequest, ProfileRequestSpec, ProfileRequestStatus, ProfileType, Redaction, Safety,
    Share, Target, Threads, WorkloadRef, comes_in_chunks, names::FINALIZER,
};
use pitwall_protocol::{Check, Recording, RequestUid};
use std::time::Duration;

/// A request that can be carried out.
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the request's")]
#[derive(Clone, Debug)]
pub struct ValidRequest {
    /// Its uid.
    pub uid: RequestUid,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The generation of its spec.
    pub generation: Option<i64>,
    /// Whether the finalizer is on it.
    pub has_finalizer: bool,
    /// When its deletion was asked for.
    pub deleted: Option<Timestamp>,
    /// When it was created.
    pub created: Timestamp,
    /// When it must have ended.
    pub deadline: Timestamp,
    /// Which pods.
    pub target: TargetRef,
    /// The container that was named.
    pub container: Option<String>,
    /// How many pods, of those that run.
    pub limit: Share,
    /// How many of them at once.
    pub at_once: Share,
    /// Which of them.
    pub pick: PodPick,
    /// What to record.
    pub recording: Recording,
    /// Whether what V8 optimizes is recorded beside it.
    pub trace_optimizations: bool,
    /// The type, as it is written.
    pub profile_type: ProfileType,
    /// The window.
    pub duration: Duration,
    /// The preflight checks that don't count.
    pub overridden: Vec<Check>,
    /// Whether nothing is to be recorded.
    pub dry_run: bool,
    /// The most bytes that one artifact may have, as stored.
    pub max_bytes: u64,
    /// What ends a recording early.
    pub guard: Guard,
    /// What happens while the workload is rolled out.
    pub during_rollout: DuringRollout,
    /// What happens when a target is busy.
    pub concurrency: Concurrency,
    /// Whether to stop and keep.
    pub stop: bool,
    /// How long to keep the finished request.
    pub ttl: Option<SignedDuration>,
    /// The status as it is stored.
    pub previous: ProfileRequestStatus,
}

/// Which pods a request is about.
#[derive(Clone, Debug)]
pub enum TargetRef {
    /// The pods of a workload.
    Workload(WorkloadRef),
    /// One pod.
    Pod(String),
    /// The pods with these labels.
    Selector(Selector),
}

impl TargetRef {
    /// In short, for columns: `deploy/checkout`, `pod/x`, `app=checkout`.
    pub fn display(&self) -> String {
        match self {
            Self::Workload(WorkloadRef { kind, name }) => format!("{}/{name}", kind.short()),
            Self::Pod(name) => format!("pod/{name}"),
            Self::Selector(selector) => selector.to_string().chars().take(100).collect(),
        }
    }

    /// The workload's place in artifact keys.
    pub fn folder_name(&self) -> &str {
        match self {
            Self::Workload(workload) => &workload.name,
            Self::Pod(name) => name,
            Self::Selector(_) => "selected",
        }
    }
}

/// What the schema should have refused: the CRD in the cluster is not the operator's.
#[derive(Debug, thiserror::Error)]
#[error("spec.{field} can't be carried out: {why}. Is the CRD in the cluster of this operator's version?")]
pub struct Invalid {
    field: &'static str,
    why: &'static str,
}

/// How many worker threads of a process are recorded: each costs what the main thread's recording costs.
const WORKERS: u32 = 8;

/// Checks what the schema promises, and parses it.
pub fn validate(request: &ProfileRequest) -> Result<ValidRequest, Invalid> {
    // Without `..`: a new field must find its place here.
    let ProfileRequestSpec {
        target,
        r#type,
        duration: _,
        cpu,
        heap_sampling,
        heap_snapshot,
        safety: Safety { overridden, guard, during_rollout },
        dry_run,
        concurrency,
        output,
        stop,
        active_deadline: _,
        ttl_after_finished,
    } = request.spec.clone();
    let Target { workload, pod_name, selector, container, threads, pods } = target;
    let PodChoice { limit, pick, at_once } = pods;
    let invalid = |field, why| Invalid { field, why };

    let target = match (workload, pod_name, selector) {
        (Some(workload), None, None) => TargetRef::Workload(workload),
        (None, Some(name), None) => TargetRef::Pod(name),
        (None, None, Some(selector)) if !selector.is_empty() => TargetRef::Selector(selector.to_selector()),
        _ => return Err(invalid("target", "exactly one of workload, podName and selector must be given")),
    };
    if output.formats != [Format::Native] {
        return Err(invalid("output.formats", "only Native is made"));
    }
    let recording = match r#type {
        ProfileType::Cpu => {
            let interval = request.spec.cpu_sampling_interval();
            // Worker threads are recorded in one piece.
            let in_chunks = threads == Threads::Main && comes_in_chunks(request.spec.window(), interval);
            Recording::cpu(interval.as_std(), in_chunks)
        }
        ProfileType::HeapSampling => {
            let settings = heap_sampling.unwrap_or_default();
            let interval = settings.sampling_interval_bytes();
            let not_a_size = || invalid("heapSampling.samplingInterval", "it isn't from 4Ki to 1Mi");
            Recording::HeapSampling {
                sampling_interval_bytes: interval.ok_or_else(not_a_size)?,
                collected: settings.include == AllocationsIncluded::All,
            }
        }
        ProfileType::HeapSnapshot => {
            let HeapSnapshotSettings { redact, count, interval } = heap_snapshot.unwrap_or_default();
            let recording = Recording::HeapSnapshot { redact: redact == Redaction::Strings };
            match u32::try_from(count) {
                Ok(count @ 2..) => Recording::Series {
                    recording: Box::new(recording),
                    count,
                    interval_ms: u64::try_from(interval.as_std().as_millis()).unwrap_or(u64::MAX),
                },
                _ => recording,
            }
        }
    };
    let recording = match threads {
        Threads::Main => recording,
        Threads::All => Recording::AllThreads { recording: Box::new(recording), workers: WORKERS },
    };
    let metadata = &request.metadata;
    let created = metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let signed = |duration: pitwall_crds::Duration, field| {
        SignedDuration::try_from(duration.as_std()).map_err(|_| invalid(field, "it is too long"))
    };
    let deadline = created
        .checked_add(signed(request.spec.deadline(), "activeDeadline")?)
        .map_err(|_| invalid("activeDeadline", "it is too long"))?;
    Ok(ValidRequest {
        uid: RequestUid(metadata.uid.clone().unwrap_or_default()),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        generation: metadata.generation,
        has_finalizer: metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER),
        deleted: metadata.deletion_timestamp.as_ref().map(|time| time.0),
        created,
        deadline,
        target,
        container,
        limit,
        at_once: at_once.unwrap_or(match r#type {
            ProfileType::HeapSnapshot => Share::Count(1),
            ProfileType::Cpu | ProfileType::HeapSampling => Share::Percent(100),
        }),
        pick,
        recording,
        trace_optimizations: cpu.is_some_and(|cpu| cpu.trace_optimizations),
        profile_type: r#type,
        duration: request.spec.window().as_std(),
        overridden: overridden.into_iter().map(check).collect(),
        dry_run,
        max_bytes: output
            .max_bytes()
            .ok_or_else(|| invalid("output.maxSize", "it isn't from 64Mi to 2Gi"))?,
        guard,
        during_rollout,
        concurrency,
        stop,
        ttl: ttl_after_finished.map(|ttl| signed(ttl, "ttlAfterFinished")).transpose()?,
        previous: request.status.clone().unwrap_or_default(),
    })
}

fn check(check: PreflightCheck) -> Check {
    match check {
        PreflightCheck::MemoryLimit => Check::MemoryLimit,
        PreflightCheck::NodeMemory => Check::NodeMemory,
        PreflightCheck::LivenessProbe => Check::LivenessProbe,
        PreflightCheck::ReadinessProbe => Check::ReadinessProbe,
        PreflightCheck::Deadline => Check::Deadline,
    }
}

impl ValidRequest {
    /// Whether the stored status says that the request has ended.
    pub fn is_finished(&self) -> bool {
        self.previous.conditions.iter().any(|c| c.type_ == "Finished" && c.status == "True")
    }
}
