//! One artifact, from its name in status to a checked file.

use super::{
    fetch::{self, FetchError},
    key::DownloadKey,
    receive::{Form, ReceiveError, Receiver, Taken},
    source::{Source, source},
};
use crate::{
    cluster::{Cluster, DOWNLOADS},
    exit::{Exit, Failure},
    interrupt::Interrupts,
    outcome::advice,
    read::{Artifact, Download},
    refusal::{causes, is_permanent, refusal},
    request::generated_prefix,
    view::{
        printable::{printable, size},
        screen::Screen,
        stage::{Line, because},
    },
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource as _;
use pitwall_crds::ArtifactDownload;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::timeout;

/// Where and how files are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Into<'a> {
    pub folder: &'a Path,
    pub form: Form,
    pub taken: Taken,
}

/// For the operator to answer an `ArtifactDownload`.
const ANSWER: Duration = Duration::from_secs(30);

/// Broken connections are tried again from the beginning, with a new URL.
const ATTEMPTS: u32 = 3;

/// Before the second attempt; before the third twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// Why one attempt failed, and whether another may not.
struct Missed {
    failure: Failure,
    again: bool,
}

impl From<Failure> for Missed {
    fn from(failure: Failure) -> Self {
        Self { failure, again: false }
    }
}

/// What downloads the artifacts of one request.
pub(crate) struct Downloader<'a> {
    pub cluster: &'a Cluster,
    /// The request's name.
    pub request: &'a str,
    pub into: Into<'a>,
    pub screen: &'a mut Screen,
    pub interrupts: &'a mut Interrupts,
}

impl Downloader<'_> {
    /// Downloads the artifact and returns where its file lies. Ctrl-C ends it, with nothing left behind.
    pub(crate) async fn download(&mut self, artifact: &Artifact) -> Result<PathBuf, Failure> {
        let mut attempt = 1;
        loop {
            let missed = match self.once(artifact).await {
                Ok(path) => return Ok(path),
                Err(missed) => missed,
            };
            if !missed.again || attempt == ATTEMPTS {
                return Err(missed.failure);
            }
            self.screen.note(&format!("{}; trying again", missed.failure));
            tokio::select! {
                () = tokio::time::sleep(PAUSE * attempt) => {}
                () = self.interrupts.next() => return Err(given_up()),
            }
            attempt += 1;
        }
    }

    async fn once(&mut self, artifact: &Artifact) -> Result<PathBuf, Missed> {
        let Self { cluster, request, into, screen, interrupts } = self;
        let key = DownloadKey::generate();
        let made = cluster.create_download(&wanted(request, artifact, &key)).await?;
        let name = made.metadata.name.unwrap_or_default();
        let fetched = async {
            let (from, ca) = locate(cluster, &name, &key).await?;
            fetch_into(cluster, &from, ca.as_deref(), artifact, *into, screen).await
        };
        let result = tokio::select! {
            result = fetched => result,
            () = interrupts.next() => Err(given_up().into()),
        };
        cluster.delete_download(&name).await;
        result
    }
}

fn given_up() -> Failure {
    Failure::new(Exit::Interrupted, "the download was given up")
}

/// The `ArtifactDownload` to make. Its type is the artifact's own word, which this program need not know.
fn wanted(request: &str, artifact: &Artifact, key: &DownloadKey) -> Value {
    json!({
        "apiVersion": ArtifactDownload::api_version(&()),
        "kind": ArtifactDownload::kind(&()),
        "metadata": { "generateName": generated_prefix(request, "-") },
        "spec": {
            "request": request,
            "artifact": artifact.name,
            "type": artifact.r#type,
            "publicKey": key.public_base64(),
        },
    })
}

/// Waits for the URL, and opens it.
async fn locate(
    cluster: &Cluster,
    name: &str,
    key: &DownloadKey,
) -> Result<(Source, Option<String>), Missed> {
    let Ok(answered) = timeout(ANSWER, answered(cluster, name)).await else {
        let seconds = ANSWER.as_secs();
        let message = format!(
            "nobody answered artifactdownload {name} within {seconds} s: is Pitwall's operator running?"
        );
        return Err(Failure::download(message).into());
    };
    Ok(open(&answered?, key)?)
}

/// Asks until the operator has answered. By `get`, since whoever may fetch one artifact need not be able to
/// list or watch what others fetch.
async fn answered(cluster: &Cluster, name: &str) -> Result<Download, Missed> {
    let mut pause = Duration::from_millis(50);
    loop {
        match cluster.downloads().get(name).await {
            Ok(download) if ready(&download).is_some() => return Ok(download),
            Err(error) if is_permanent(&error) => {
                return Err(refusal(&error, cluster.attempt("get", DOWNLOADS, Some(name))).into());
            }
            // No answer yet, or an error that may pass; the caller bounds the time.
            Ok(_) | Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// What the operator answered, or nothing yet.
fn ready(download: &Download) -> Option<&Condition> {
    let conditions = &download.status.as_ref()?.conditions;
    conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status != "Unknown")
}

/// Opens an answered download.
fn open(download: &Download, key: &DownloadKey) -> Result<(Source, Option<String>), Failure> {
    let answer = ready(download).filter(|condition| condition.status != "True");
    if let Some(no) = answer {
        let why = because(Some(&no.reason), Some(&no.message));
        let todo = advice(&no.reason, &no.message).map(|advice| format!(". {advice}")).unwrap_or_default();
        return Err(Failure::download(format!("Pitwall gives no URL: {why}{todo}")));
    }
    let name = download.metadata.name.as_deref().unwrap_or_default();
    let unusable = |error: &dyn std::error::Error| {
        Failure::download(format!("the answer to artifactdownload {name} can't be used: {error}"))
    };
    let status = download.status.as_ref();
    let sealed = status.and_then(|status| status.sealed_url.as_ref());
    let sealed = sealed
        .ok_or_else(|| Failure::download(format!("artifactdownload {name} is ready and holds no URL")))?;
    let uid = download.metadata.uid.as_deref().unwrap_or_default();
    let url = key.open(sealed, uid).map_err(|error| unusable(&error))?;
    let source = source(&url, status.and_then(|status| status.service.as_ref()));
    Ok((source.map_err(|error| unusable(&error))?, status.and_then(|status| status.ca.clone())))
}

async fn fetch_into(
    cluster: &Cluster,
    from: &Source,
    ca: Option<&str>,
    artifact: &Artifact,
    into: Into<'_>,
    screen: &mut Screen,
) -> Result<PathBuf, Missed> {
    let spoiled =
        |error: ReceiveError| Missed::from(Failure::download(format!("{}: {error}", artifact.name)));
    let mut receiver = Receiver::begin(into.folder, artifact, into.form, into.taken).map_err(spoiled)?;
    let mut body = fetch::open(&cluster.client, from, ca, &cluster.proxies).await.map_err(not_fetched)?;
    screen.show(&progress(artifact, receiver.progress()));
    while let Some(bytes) = fetch::next(&mut body, from).await.map_err(not_fetched)? {
        receiver.take(&bytes).map_err(spoiled)?;
        screen.show(&progress(artifact, receiver.progress()));
    }
    let path = receiver.finish();
    screen.clear();
    path.map_err(spoiled)
}

fn not_fetched(error: FetchError) -> Missed {
    let again = error.is_transient();
    let failure = match error {
        error if error.is_forbidden_proxy() => Failure::cluster(format!(
            "you may not reach the built-in store through the API server: ask for the verb \"get\" on \
             \"services/proxy\" of its Service, which Pitwall's chart grants to the groups in its values. {error}"
        )),
        FetchError::Connect { from, cause } => {
            Failure::download(format!("can't reach {from}: {}", causes(cause.as_ref())))
        }
        FetchError::Broken { from, cause } => {
            Failure::download(format!("the connection to {from} broke: {}", causes(cause.as_ref())))
        }
        error @ (FetchError::Status { .. } | FetchError::Ca) => Failure::download(error.to_string()),
    };
    Missed { failure, again }
}

fn progress(artifact: &Artifact, (got, total): (u64, u64)) -> Line {
    let text = format!("{} {} of {}", artifact.name, size(got), size(total));
    Line { stage: "downloading", bar: Some((got, total)), text: printable(&text).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{artifact::key::tests::seal, exit::Exit};

    fn answered(status: &Value) -> Download {
        serde_json::from_value(json!({
            "apiVersion": "pitwall.dev/v1alpha1", "kind": "ArtifactDownload",
            "metadata": { "name": "d", "uid": "uid-1" },
            "spec": { "request": "r", "artifact": "a", "type": "CPU", "publicKey": "x".repeat(44) },
            "status": status,
        }))
        .unwrap()
    }

    fn condition(status: &str, reason: &str) -> Value {
        json!([{ "type": "Ready", "status": status, "reason": reason, "message": "said",
                 "lastTransitionTime": "1970-01-01T00:00:00Z" }])
    }

    #[test]
    fn an_answer_leads_to_a_source_or_says_why_not() {
        let key = DownloadKey::generate();
        let sealed = |url: &str, uid: &str| json!(seal(&key.public_base64(), url, uid));
        let service = json!({ "namespace": "pitwall", "name": "store", "port": 8443 });
        let yes = condition("True", "UrlReady");
        let table = [
            (
                json!({ "conditions": yes, "sealedUrl": sealed("/v1/x?s=1", "uid-1"), "service": service }),
                Ok("the API server's /api/v1/namespaces/pitwall/services/https:store:8443/proxy/v1/x"),
            ),
            (
                json!({ "conditions": yes, "sealedUrl": sealed("https://s3/x?s=1", "uid-1") }),
                Ok("https://s3:443/x"),
            ),
            (json!({ "conditions": yes, "sealedUrl": sealed("http://s3/x", "uid-1") }), Err("https only")),
            (json!({ "conditions": yes, "sealedUrl": sealed("https://s3/x", "uid-2") }), Err("doesn't open")),
            (json!({ "conditions": yes }), Err("no URL")),
            (
                json!({ "conditions": condition("False", "ArtifactNotFound") }),
                Err("ArtifactNotFound: said. Take a name"),
            ),
        ];
        for (status, expected) in table {
            let download = answered(&status);
            assert!(ready(&download).is_some());
            match (open(&download, &key), expected) {
                (Ok((source, None)), Ok(expected)) => assert_eq!(source.to_string(), expected),
                (Err(failure), Err(said)) => {
                    assert_eq!(failure.exit, Exit::Download);
                    assert!(failure.message.contains(said), "{failure}");
                }
                (seen, _) => panic!("{status}: {:?}", seen.map(|(source, _)| source)),
            }
        }
    }

    #[test]
    fn what_is_made_is_an_artifact_download_of_the_artifacts_own_type() {
        let artifact = |kind: &str| {
            serde_json::from_value(json!({ "name": "a", "type": kind, "bytes": 1, "uncompressedBytes": 1,
                                           "sha256": "", "encoding": "" }))
            .unwrap()
        };
        let key = DownloadKey::generate();
        let made: ArtifactDownload = serde_json::from_value(wanted("r", &artifact("CPU"), &key)).unwrap();
        assert_eq!((made.spec.request.as_str(), made.spec.artifact.as_str()), ("r", "a"));
        assert_eq!(made.metadata.generate_name.as_deref(), Some("r-"));
        assert_eq!(wanted("r", &artifact("HeapSnapshot"), &key)["spec"]["type"], "HeapSnapshot");
    }

    #[test]
    fn a_download_without_a_verdict_is_waited_for() {
        for status in [json!({}), json!({ "conditions": condition("Unknown", "InProgress") })] {
            assert!(ready(&answered(&status)).is_none(), "{status}");
        }
    }
}
