//! The result as one JSON document, for programs.

use crate::{
    outcome::{advice, explanation, failed_targets},
    read::{Finding, Request, Word},
};
use pitwall_crds::{Phase, ProfileType, Summary};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What `--output json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report<'a> {
    name: &'a str,
    namespace: &'a str,
    r#type: &'a Word<ProfileType>,
    phase: Option<&'a Word<Phase>>,
    /// The reason of the condition that explains the end.
    reason: Option<&'a str>,
    message: Option<&'a str>,
    advice: Option<&'static str>,
    pods: Option<&'a str>,
    summary: Option<&'a Summary>,
    findings: &'a [Finding],
    artifacts: Vec<ArtifactReport<'a>>,
    failed_targets: Vec<FailedTarget<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactReport<'a> {
    name: &'a str,
    r#type: &'a Word<ProfileType>,
    pod: &'a str,
    bytes: i64,
    uncompressed_bytes: i64,
    sha256: &'a str,
    /// Where it lies on this machine; none when it wasn't downloaded.
    path: Option<PathBuf>,
    /// Why it wasn't downloaded.
    error: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FailedTarget<'a> {
    pod: &'a str,
    container: Option<&'a str>,
    pid: Option<i64>,
    reason: Option<&'a str>,
    message: Option<&'a str>,
    advice: Option<&'static str>,
}

/// What became of one artifact's download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Download {
    pub artifact: String,
    pub result: Result<PathBuf, String>,
}

/// Reports on a request and on the downloads of its artifacts.
pub(crate) fn report<'a>(request: &'a Request, downloads: &'a [Download]) -> Report<'a> {
    let status = request.status.as_ref();
    let explanation = status.and_then(explanation);
    let artifacts = status.into_iter().flat_map(|status| &status.targets).flat_map(|target| {
        target.artifacts.iter().map(|artifact| {
            let download = downloads.iter().find(|download| download.artifact == artifact.name);
            let result = download.map(|download| download.result.as_ref());
            ArtifactReport {
                name: &artifact.name,
                r#type: &artifact.r#type,
                pod: &target.pod,
                bytes: artifact.bytes,
                uncompressed_bytes: artifact.uncompressed_bytes,
                sha256: &artifact.sha256,
                path: result.and_then(Result::ok).map(|path| absolute(path)),
                error: result.and_then(Result::err).map(String::as_str),
            }
        })
    });
    Report {
        name: request.metadata.name.as_deref().unwrap_or_default(),
        namespace: request.metadata.namespace.as_deref().unwrap_or_default(),
        r#type: &request.spec.r#type,
        phase: status.and_then(|status| status.phase.as_ref()),
        reason: explanation.map(|condition| condition.reason.as_str()),
        message: explanation.map(|condition| condition.message.as_str()),
        advice: explanation.and_then(|condition| advice(&condition.reason, "")),
        pods: status.and_then(|status| status.pods.as_deref()),
        summary: status.and_then(|status| status.summary.as_ref()),
        findings: status.map_or(&[], |status| &status.findings),
        artifacts: artifacts.collect(),
        failed_targets: status
            .into_iter()
            .flat_map(failed_targets)
            .map(|target| FailedTarget {
                pod: &target.pod,
                container: target.container.as_deref(),
                pid: target.pid,
                reason: target.reason(),
                message: target.message.as_deref(),
                advice: target.reason().and_then(|reason| advice(reason, "")),
            })
            .collect(),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::request;
    use serde_json::json;

    #[test]
    fn the_document_says_where_each_artifact_lies_or_why_not() {
        let artifact = |name: &str| {
            json!({ "name": name, "type": "CPU", "key": "k", "bytes": 1, "uncompressedBytes": 2, "sha256": "00",
                    "encoding": "gzip", "mediaType": "application/json" })
        };
        let condition = |kind: &str| {
            json!({ "type": kind, "status": "True", "reason": "SomeTargetsFailed", "message": "2 of 3",
                    "lastTransitionTime": "1970-01-01T00:00:00Z" })
        };
        let request = request(&json!({
            "phase": "Succeeded",
            "conditions": [condition("Complete"), condition("Finished")],
            "targets": [
                { "pod": "a", "podUID": "1", "phase": "Succeeded", "artifacts": [artifact("x"), artifact("y"), artifact("z")] },
                { "pod": "b", "podUID": "2", "phase": "Failed", "reason": "NotNode", "message": "python" },
            ],
        }));
        let downloads = [
            Download { artifact: "x".to_owned(), result: Ok("/tmp/x.cpuprofile".into()) },
            Download { artifact: "y".to_owned(), result: Err("sha256 differs".to_owned()) },
        ];
        let seen = serde_json::to_value(report(&request, &downloads)).unwrap();
        assert_eq!(seen["phase"], "Succeeded");
        assert_eq!(seen["reason"], "SomeTargetsFailed");
        let paths: Vec<_> =
            seen["artifacts"].as_array().unwrap().iter().map(|it| it["path"].clone()).collect();
        assert_eq!(paths, [json!("/tmp/x.cpuprofile"), json!(null), json!(null)]);
        assert_eq!(seen["artifacts"][1]["error"], "sha256 differs");
        assert_eq!(seen["failedTargets"][0]["reason"], "NotNode");
        assert_eq!(seen["failedTargets"][0]["advice"], pitwall_crds::Reason::NotNode.advice());
    }
}
