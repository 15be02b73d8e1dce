//! Pitwall's objects as they are read: a newer Pitwall in the cluster may write words that this program
//! doesn't know. They are kept and shown as they are; what this program writes are the types of
//! [`pitwall_crds`], which have no such words.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::Resource;
use pitwall_crds::{
    ArtifactDownload, ArtifactDownloadStatus, Duration, FindingKind, Phase, ProfileRequest, ProfileType,
    Reason, Summary, TargetPhase,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::IntoDeserializer as _};
use std::fmt;

/// One of the API's words: a `T`, if this program knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word<T> {
    text: String,
    known: Option<T>,
}

impl<T: Copy> Word<T> {
    /// What it means, if this program knows it.
    pub(crate) const fn known(&self) -> Option<T> {
        self.known
    }
}

impl<T> Word<T> {
    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl<T: PartialEq> PartialEq<T> for Word<T> {
    fn eq(&self, other: &T) -> bool {
        self.known.as_ref() == Some(other)
    }
}

impl<T> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known: Result<T, serde::de::value::Error> = T::deserialize(text.clone().into_deserializer());
        Ok(Self { text, known: known.ok() })
    }
}

impl<T> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// A `ProfileRequest`, as far as it is shown.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = ProfileRequest)]
pub(crate) struct Request {
    #[serde(default)]
    pub metadata: ObjectMeta,
    pub spec: Spec,
    pub status: Option<Status>,
}

/// `spec`, as far as it is shown.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    pub target: Target,
    pub r#type: Word<ProfileType>,
    pub duration: Option<Duration>,
    pub active_deadline: Option<Duration>,
}

impl Spec {
    /// How long is recorded; nothing for a type that takes no time.
    pub(crate) fn window(&self) -> Duration {
        let takes_time = self.r#type != ProfileType::HeapSnapshot;
        self.duration.unwrap_or(if takes_time { Duration::from_secs(30) } else { Duration::default() })
    }

    /// How long the request may take.
    pub(crate) fn deadline(&self) -> Duration {
        self.active_deadline.unwrap_or_else(|| pitwall_crds::default_deadline(self.window()))
    }
}

/// `spec.target`, as far as it is shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    pub workload: Option<Workload>,
    pub pod_name: Option<String>,
}

/// `spec.target.workload`
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Workload {
    pub kind: Word<pitwall_crds::WorkloadKind>,
    pub name: String,
}

/// `status`, as far as it is shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub phase: Option<Word<Phase>>,
    pub start_time: Option<Time>,
    pub conditions: Vec<Condition>,
    pub target: Option<String>,
    pub pods: Option<String>,
    pub targets: Vec<TargetStatus>,
    pub summary: Option<Summary>,
    pub findings: Vec<Finding>,
}

/// `status.targets[]`, as far as it is shown.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetStatus {
    pub pod: String,
    pub container: Option<String>,
    pub pid: Option<i64>,
    pub node_version: Option<String>,
    pub phase: Word<TargetPhase>,
    pub progress: Option<String>,
    pub reason: Option<Word<Reason>>,
    pub message: Option<String>,
    pub attach: Option<Attach>,
    pub recorded: Option<Duration>,
    pub load: Option<pitwall_crds::LoadStatus>,
    pub redact: Option<Word<pitwall_crds::Redaction>>,
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
}

impl TargetStatus {
    /// The reason as it was written, if there is one.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.as_ref().map(Word::as_str)
    }
}

/// `status.targets[].attach`, as far as it is shown.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attach {
    pub opened_by: Word<pitwall_crds::InspectorOpener>,
    pub closed: bool,
}

/// `status.targets[].artifacts[]`, as far as a download needs it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Artifact {
    pub name: String,
    pub r#type: Word<ProfileType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    pub bytes: i64,
    pub uncompressed_bytes: i64,
    pub sha256: String,
    pub encoding: String,
}

/// `status.findings[]`
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Finding {
    pub kind: Word<FindingKind>,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
}

/// An `ArtifactDownload`, as far as its answer goes.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = ArtifactDownload)]
pub(crate) struct Download {
    #[serde(default)]
    pub metadata: ObjectMeta,
    pub status: Option<ArtifactDownloadStatus>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::{End, end},
        report::report,
        view::{
            findings::describe,
            list::table,
            meter::Meter,
            printable::Paint,
            stage::{line, stage},
        },
    };
    use serde_json::{Value, json};

    /// What a Pitwall to come may write, in every place that has a list of words today.
    fn from_the_future(status: &Value) -> Request {
        serde_json::from_value(json!({
            "apiVersion": "pitwall.dev/v1alpha1",
            "kind": "ProfileRequest",
            "metadata": { "name": "nightly-heap-x7k2p", "namespace": "shop" },
            "spec": {
                "type": "HeapSnapshot",
                "target": { "workload": { "kind": "CronJob", "name": "nightly" }, "threads": "All",
                            "pods": { "limit": 1, "pick": "Busiest" } },
                "concurrency": "Replace",
                "output": { "formats": ["Pprof"] },
                "heapSnapshot": { "redact": "Strings" },
                "activeDeadline": "15m",
            },
            "status": status,
        }))
        .unwrap()
    }

    fn condition(kind: &str, reason: &str) -> Value {
        json!({ "type": kind, "status": "True", "reason": reason, "message": "said",
                "lastTransitionTime": "1970-01-01T00:00:00Z" })
    }

    #[test]
    fn words_of_a_newer_pitwall_are_shown_as_they_are() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let running = from_the_future(&json!({
            "phase": "Deferred",
            "targets": [{ "pod": "nightly-a", "podUID": "1", "container": "app", "pid": 17, "phase": "Verifying" }],
        }));
        assert!(
            table(std::slice::from_ref(&running), false, now, Paint::Plain)
                .contains("nightly-heap-x7k2p   HeapSnapshot   cronjob/nightly   Deferred")
        );
        let meter = Meter::default();
        let shown = |request: &Request| line(request, &meter, std::time::Duration::ZERO, false).plain();
        assert_eq!(shown(&running), "under way: Verifying");

        let waiting = from_the_future(&json!({
            "targets": [{ "pod": "a", "podUID": "1", "phase": "Pending", "reason": "MoonTooFull", "message": "97 %" }],
        }));
        assert_eq!(shown(&waiting), "waiting: MoonTooFull: 97 %");
        assert_eq!(stage(&waiting).advice(), None);

        let ended = from_the_future(&json!({
            "phase": "Exhausted",
            "conditions": [condition("Complete", "MostlyStored"), condition("Finished", "MostlyStored")],
            "targets": [
                { "pod": "a", "podUID": "1", "phase": "Succeeded",
                  "attach": { "openedBy": "Operator", "closed": true, "took": "1ms" },
                  "artifacts": [{ "name": "a.heapsnapshot", "type": "HeapSnapshot", "key": "k", "bytes": 1,
                      "uncompressedBytes": 2, "sha256": "00", "encoding": "zstd", "mediaType": "x/y" }] },
                { "pod": "b", "podUID": "2", "phase": "Failed", "reason": "MoonTooFull", "message": "97 %" },
            ],
            "findings": [{ "kind": "Leak", "message": "Cart holds 40 MiB", "function": "Cart", "percent": 4 }],
        }));
        assert_eq!(end(&ended), Some(End::Partial));
        assert_eq!(
            describe(&ended, End::Partial, Paint::Plain),
            "nightly-heap-x7k2p recorded in part: MostlyStored: said\na\nCart holds 40 MiB\n\
             failed b: MoonTooFull: 97 %\n"
        );
        let report = serde_json::to_value(report(&ended, &[])).unwrap();
        assert_eq!((&report["type"], &report["phase"]), (&json!("HeapSnapshot"), &json!("Exhausted")));
        assert_eq!(report["failedTargets"][0]["reason"], "MoonTooFull");
        assert_eq!(report["findings"][0]["kind"], "Leak");
        assert_eq!(report["artifacts"][0]["type"], "HeapSnapshot");
    }

    #[test]
    fn words_of_this_version_are_known() {
        for reason in Reason::ALL {
            let word: Word<Reason> = serde_json::from_value(json!(reason)).unwrap();
            assert_eq!((word.known(), word.as_str()), (Some(*reason), reason.as_str()));
        }
        let new: Word<Reason> = serde_json::from_value(json!("MoonTooFull")).unwrap();
        assert_eq!((new.known(), new.as_str()), (None, "MoonTooFull"));
        assert_eq!(serde_json::to_value(new).unwrap(), json!("MoonTooFull"));
    }
}
