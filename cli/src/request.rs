//! The `ProfileRequest` that a command line asks for.

use crate::{
    args::{CpuArgs, HeapSamplingArgs, HeapSnapshotArgs, Include, RecordArgs},
    exit::Failure,
    selector,
    target::{self, Named, TargetError},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pitwall_crds::{
    AllocationsIncluded, CpuSettings, HeapSamplingSettings, HeapSnapshotSettings, LabelSelector, Output,
    PodChoice, ProfileRequest, ProfileRequestSpec, ProfileType, Redaction, Safety, Target, Threads,
};

/// The API server adds five characters to a generated name, and pods that carry it as a label's value allow
/// 63.
const LONGEST_GENERATED_PREFIX: usize = 58;

/// A request, and what the user should know about how it was understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Composed {
    pub request: ProfileRequest,
    pub remark: Option<String>,
}

/// What is to be recorded, as far as the types differ.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// In the name of the request.
    word: &'static str,
    r#type: ProfileType,
    duration: Option<pitwall_crds::Duration>,
    cpu: Option<CpuSettings>,
    heap_sampling: Option<HeapSamplingSettings>,
    heap_snapshot: Option<HeapSnapshotSettings>,
    safety: Safety,
    threads: Threads,
}

impl Wanted {
    fn new(word: &'static str, r#type: ProfileType) -> Self {
        let safety = Safety::default();
        Self {
            word,
            r#type,
            duration: None,
            cpu: None,
            heap_sampling: None,
            heap_snapshot: None,
            safety,
            threads: Threads::Main,
        }
    }
}

impl From<&CpuArgs> for Wanted {
    fn from(args: &CpuArgs) -> Self {
        let (sampling_interval, trace_optimizations) = (args.sampling_interval, args.trace_optimizations);
        let cpu = Some(CpuSettings { sampling_interval, trace_optimizations });
        let threads = args.threads.into();
        Self { duration: Some(args.duration), cpu, threads, ..Self::new("cpu", ProfileType::Cpu) }
    }
}

impl From<&HeapSamplingArgs> for Wanted {
    fn from(args: &HeapSamplingArgs) -> Self {
        let include = match args.include {
            Include::Live => AllocationsIncluded::Live,
            Include::All => AllocationsIncluded::All,
        };
        let heap_sampling =
            Some(HeapSamplingSettings { sampling_interval: args.sampling_interval.clone(), include });
        let new = Self::new("heap-sampling", ProfileType::HeapSampling);
        Self { duration: Some(args.duration), heap_sampling, threads: args.threads.into(), ..new }
    }
}

impl From<&HeapSnapshotArgs> for Wanted {
    fn from(args: &HeapSnapshotArgs) -> Self {
        let redact = if args.redact { Redaction::Strings } else { Redaction::None };
        let overridden = args.overridden.iter().map(|check| (*check).into()).collect();
        let safety = Safety { overridden, ..Safety::default() };
        let heap_snapshot =
            Some(HeapSnapshotSettings { redact, count: args.count.into(), interval: args.interval });
        Self { heap_snapshot, safety, ..Self::new("heap-snapshot", ProfileType::HeapSnapshot) }
    }
}

/// Makes the request of `kubectl pitwall cpu` and its like. Bounds are the API's to check.
pub(crate) fn compose(
    args: &RecordArgs,
    wanted: Wanted,
    namespace: Option<&str>,
) -> Result<Composed, Failure> {
    let usage = |error: &dyn std::error::Error| Failure::usage(error.to_string());
    let mut target = Target { container: args.container.clone(), ..Target::default() };
    target.threads = wanted.threads;
    target.pods = PodChoice { limit: args.pods, pick: args.pick.into(), at_once: args.at_once };
    let mut remark = None;
    if let (Some(first), Some(second)) = (&args.target, &args.second) {
        return Err(Failure::usage(match target::parse(first) {
            Err(TargetError::KindOnly(kind)) => format!("write the target as one word: {kind}/{second}"),
            _ => {
                format!("{first} {second} are two targets: a request has one, or --selector for several pods")
            }
        }));
    }
    let stem = match (&args.target, &args.selector) {
        (Some(text), _) => {
            let named = target::parse(text).map_err(|error| usage(&error))?;
            let stem = named.name().to_owned();
            match named {
                Named::Workload(workload) => target.workload = Some(workload),
                Named::Pod(name) => target.pod_name = Some(name),
                Named::Bare(name) => {
                    remark = Some(format!(
                        "{name} is taken for a pod's name; for a Deployment write deploy/{name}"
                    ));
                    target.pod_name = Some(name);
                }
            }
            stem
        }
        (None, Some(text)) => {
            let selector = selector::parse(text).map_err(|error| usage(&error))?;
            let stem = stem_of(&selector).to_owned();
            target.selector = Some(selector);
            stem
        }
        (None, None) => {
            return Err(Failure::usage("name a target, such as deploy/checkout, or give --selector"));
        }
    };
    let spec = ProfileRequestSpec {
        target,
        r#type: wanted.r#type,
        duration: wanted.duration,
        cpu: wanted.cpu,
        heap_sampling: wanted.heap_sampling,
        heap_snapshot: wanted.heap_snapshot,
        safety: wanted.safety,
        dry_run: args.check,
        concurrency: pitwall_crds::Concurrency::default(),
        output: Output::default(),
        stop: false,
        active_deadline: args.deadline,
        ttl_after_finished: args.ttl,
    };
    let metadata = ObjectMeta {
        name: args.name.clone(),
        generate_name: args.name.is_none().then(|| generated_prefix(&stem, &format!("-{}-", wanted.word))),
        namespace: namespace.map(str::to_owned),
        ..ObjectMeta::default()
    };
    Ok(Composed { request: ProfileRequest { metadata, spec, status: None }, remark })
}

/// The first label's value names what is selected best.
fn stem_of(selector: &LabelSelector) -> &str {
    let values =
        selector.match_labels.values().chain(selector.match_expressions.iter().flat_map(|e| &e.values));
    values.map(String::as_str).find(|value| !value.is_empty()).unwrap_or("pods")
}

/// A prefix for a generated name that is a DNS label whatever the stem is.
pub(crate) fn generated_prefix(stem: &str, suffix: &str) -> String {
    let mut prefix: String = stem
        .chars()
        .take(LONGEST_GENERATED_PREFIX - suffix.len())
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    prefix.truncate(prefix.trim_end_matches('-').len());
    let prefix = prefix.trim_start_matches('-');
    format!("{}{suffix}", if prefix.is_empty() { "profile" } else { prefix })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser as _;
    use serde_json::json;

    fn composed(line: &str) -> Result<Composed, Failure> {
        let words = ["kubectl-pitwall", "cpu"].into_iter().chain(line.split('|'));
        let Command::Cpu(args) = Cli::try_parse_from(words).unwrap().command else { panic!("cpu") };
        compose(&args.record, (&args).into(), Some("shop"))
    }

    #[test]
    fn each_type_has_its_own_settings() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).unwrap().command;
        let Command::HeapSampling(sampling) = parse("x heap deploy/a --include all --check") else {
            panic!()
        };
        let spec = compose(&sampling.record, (&sampling).into(), None).unwrap().request.spec;
        let seen = serde_json::to_value(&spec).unwrap();
        assert_eq!(
            (&seen["type"], &seen["heapSampling"], &seen["duration"], &seen["dryRun"]),
            (
                &json!("HeapSampling"),
                &json!({ "samplingInterval": "32Ki", "include": "All" }),
                &json!("30s"),
                &json!(true)
            )
        );
        let line = "x heap-snapshot deploy/a --redact --override MemoryLimit,LivenessProbe";
        let Command::HeapSnapshot(snapshot) = parse(line) else { panic!() };
        let request = compose(&snapshot.record, (&snapshot).into(), None).unwrap().request;
        assert_eq!(request.metadata.generate_name.as_deref(), Some("a-heap-snapshot-"));
        let seen = serde_json::to_value(&request.spec).unwrap();
        assert_eq!(seen["heapSnapshot"], json!({ "redact": "Strings", "count": 1, "interval": "1m" }));
        assert_eq!(seen["safety"]["override"], json!(["MemoryLimit", "LivenessProbe"]));
        assert!(seen.get("duration").is_none() && seen.get("cpu").is_none());
    }

    #[test]
    fn flags_become_fields() {
        let request = composed(
            "deploy/checkout|--duration|10s|--sampling-interval|500us|--trace-optimizations|-c|app|--pods|3|--pick|newest|--deadline|5m|--ttl|1h",
        )
        .unwrap()
        .request;
        let seen = serde_json::to_value(&request).unwrap();
        assert_eq!(
            seen,
            json!({
                "apiVersion": "pitwall.dev/v1alpha1",
                "kind": "ProfileRequest",
                "metadata": { "generateName": "checkout-cpu-", "namespace": "shop" },
                "spec": {
                    "target": {
                        "workload": { "kind": "Deployment", "name": "checkout" },
                        "container": "app",
                        "threads": "Main",
                        "pods": { "limit": 3, "pick": "Newest" },
                    },
                    "type": "CPU",
                    "duration": "10s",
                    "cpu": { "samplingInterval": "500us", "traceOptimizations": true },
                    "safety": { "guard": { "memoryPercent": 90, "readiness": "Stop" }, "duringRollout": "Defer" },
                    "dryRun": false,
                    "concurrency": "Wait",
                    "output": { "formats": ["Native"], "maxSize": "500Mi" },
                    "stop": false,
                    "activeDeadline": "5m",
                    "ttlAfterFinished": "1h",
                },
            })
        );
    }

    #[test]
    fn a_bare_name_is_a_pods_and_that_is_said() {
        let composed = composed("x").unwrap();
        assert_eq!(composed.request.spec.target.pod_name.as_deref(), Some("x"));
        assert!(composed.remark.unwrap().contains("deploy/x"));
    }

    #[test]
    fn a_given_name_is_kept_and_a_selector_names_by_its_first_value() {
        let named = composed("pod/x|--name|before").unwrap().request.metadata;
        assert_eq!((named.name.as_deref(), named.generate_name), (Some("before"), None));
        let selected = composed("-l|app=checkout").unwrap().request.metadata;
        assert_eq!(selected.generate_name.as_deref(), Some("checkout-cpu-"));
    }

    #[test]
    fn nonsense_is_wrong_usage() {
        for line in ["cronjob/x", "deploy|x", "-l|a=b=c"] {
            assert_eq!(composed(line).unwrap_err().exit, crate::exit::Exit::Usage, "{line}");
        }
    }

    #[test]
    fn generated_names_are_dns_labels_within_63_characters() {
        let long = "checkout".repeat(12);
        for (stem, prefix) in [
            ("checkout", "checkout-cpu-".to_owned()),
            ("my.pod_x", "my-pod-x-cpu-".to_owned()),
            ("_x_", "x-cpu-".to_owned()),
            ("...", "profile-cpu-".to_owned()),
            (long.as_str(), format!("{}-cpu-", &long[..53])),
        ] {
            assert_eq!(generated_prefix(stem, "-cpu-"), prefix);
            assert!(prefix.len() <= 58);
        }
    }
}
