//! How long it takes from the POST to the profiler, and from the window's end to the answer.
//!
//! One clock: the node is this machine, so the sidecar's log lines and this program share it.

use crate::table::Table;
use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{LogParams, PostParams},
    runtime::wait::await_condition,
};
use pitwall_crds::ProfileRequest;
use pitwall_e2e::{App, Story, kubectl, operator_namespace, run};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

/// A recording, as seen by the one who asked and by the sidecar.
pub(crate) struct Recorded {
    asked: Timestamp,
    answered: Timestamp,
    /// When `Profiler.start` was answered.
    pub(crate) began: Timestamp,
    /// When `Profiler.stop` was sent.
    pub(crate) ended: Timestamp,
    /// When all parts were at the store.
    published: Timestamp,
    attach_us: f64,
    pub(crate) start_us: f64,
    pub(crate) stop_us: f64,
    /// From the order to close the inspector to the port's being gone.
    detach_us: f64,
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn now() -> Timestamp {
    Timestamp::now()
}

fn ms(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1e3
}

impl Recorded {
    fn until_started(&self) -> f64 {
        ms(self.asked, self.began)
    }

    fn until_complete(&self) -> f64 {
        ms(self.ended, self.answered) - self.stop_us / 1e3
    }
}

/// A client of the e2e cluster.
pub(crate) async fn client() -> anyhow::Result<Client> {
    let kubeconfig = kube::config::Kubeconfig::read_from(pitwall_e2e::kubeconfig())?;
    let options = kube::config::KubeConfigOptions::default();
    Ok(Client::try_from(kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?)?)
}

/// Records a Deployment so many times, one after another, with a pause before each.
pub(crate) async fn record(
    story: &Story,
    deployment: &str,
    times: u32,
    spec: &Value,
    pause: std::time::Duration,
) -> anyhow::Result<Vec<Recorded>> {
    let client = client().await?;
    let requests: Api<ProfileRequest> = Api::namespaced(client.clone(), &story.namespace);
    let mut seen = BTreeMap::new();
    for number in 0..times {
        tokio::time::sleep(pause).await;
        let name = format!("{deployment}-{number}");
        let mut spec = spec.clone();
        spec["type"] = json!("CPU");
        spec["target"] = json!({ "workload": { "kind": "Deployment", "name": deployment } });
        let request: ProfileRequest = serde_json::from_value(json!({
            "apiVersion": "pitwall.dev/v1alpha1", "kind": "ProfileRequest",
            "metadata": { "name": name }, "spec": spec,
        }))?;
        let asked = now();
        requests.create(&PostParams::default(), &request).await.context("making a request")?;
        let over = |request: Option<&ProfileRequest>| {
            let conditions =
                request.and_then(|request| request.status.as_ref()).map(|status| &status.conditions);
            conditions
                .is_some_and(|all| all.iter().any(|one| one.type_ == "Finished" && one.status == "True"))
        };
        let request =
            await_condition(requests.clone(), &name, over).await?.context("the request went away")?;
        let answered = now();
        let status = request.status.unwrap_or_default();
        anyhow::ensure!(
            status.targets.iter().all(|target| !target.artifacts.is_empty()),
            "{name}: {status:?}"
        );
        seen.insert(format!("{}/{name}", story.namespace), (asked, answered));
    }
    let pods: Api<Pod> = Api::namespaced(client, &story.namespace);
    let mut steps: BTreeMap<(String, String), Value> = BTreeMap::new();
    for pod in story.pods(&format!("app={deployment}")) {
        let of_sidecar = LogParams { container: Some("pitwall".to_owned()), ..LogParams::default() };
        for line in pods.logs(&pod, &of_sidecar).await?.lines() {
            let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            steps.insert((text("request"), text("message")), line);
        }
    }
    seen.into_iter()
        .map(|(name, (asked, answered))| {
            let step = |message: &str| {
                let line = steps.get(&(name.clone(), message.to_owned()));
                line.with_context(|| format!("the sidecar didn't log \"{message}\" for {name}"))
            };
            let at = |message: &str| -> anyhow::Result<Timestamp> {
                Ok(step(message)?["timestamp"].as_str().unwrap_or_default().parse()?)
            };
            let micros = |message: &str, field: &str| -> anyhow::Result<f64> {
                step(message)?[field].as_f64().with_context(|| format!("no {field} in \"{message}\""))
            };
            Ok(Recorded {
                asked,
                answered,
                began: at("recording")?,
                ended: at("taking the recording over")?,
                published: at("published")?,
                attach_us: micros("recording", "attach_us")?,
                start_us: micros("recording", "start_us")?,
                stop_us: micros("uploading", "stop_us")?,
                detach_us: micros("the inspector is closed", "took_us")?,
            })
        })
        .collect()
}

fn status_writes() -> anyhow::Result<f64> {
    let namespace = operator_namespace();
    let path = format!("/api/v1/namespaces/{namespace}/services/pitwall-metrics:metrics/proxy/metrics");
    let text = run(&mut kubectl(&["get", "--raw", &path]));
    let line = text.lines().find_map(|line| line.strip_prefix("pitwall_status_writes_total "));
    Ok(line.context("the operator has no pitwall_status_writes_total")?.trim().parse()?)
}

/// A small app on a pod that has been recorded before.
pub(crate) async fn warm_pod(table: &mut Table) -> anyhow::Result<()> {
    let story = Story::new("bench-warm");
    App::busy().deploy(&story);
    App::new("warm-up", "busy.js").deploy(&story);
    let (second, pause) = (json!({ "duration": "1s" }), std::time::Duration::from_millis(500));
    record(&story, "warm-up", 1, &second, pause).await?;
    story.kubectl(&["delete", "deployment/warm-up"]);
    let before = status_writes()?;
    let all = record(&story, "busy", 50, &second, pause).await?;
    let writes = status_writes()? - before;
    let started: Vec<_> = all.iter().map(Recorded::until_started).collect();
    let attached: Vec<_> = all.iter().map(|one| one.attach_us / 1e3).collect();
    let detached: Vec<_> = all.iter().map(|one| one.detach_us / 1e3).collect();
    let complete: Vec<_> = all.iter().map(Recorded::until_complete).collect();
    table.percentile("POST to the answer of `Profiler.start`", 50, "100 ms", &started);
    table.percentile("POST to the answer of `Profiler.start`", 99, "300 ms", &started);
    table.percentile("SIGUSR1 to attached", 50, "30 ms", &attached);
    table.percentile("SIGUSR1 to attached", 99, "", &attached);
    table.percentile("the order to close to the port's being gone", 50, "50 ms", &detached);
    table.percentile("the order to close to the port's being gone", 99, "", &detached);
    table.percentile("the window's end to Finished, without `Profiler.stop` itself", 50, "500 ms", &complete);
    table.percentile("the window's end to Finished, without `Profiler.stop` itself", 99, "500 ms", &complete);
    let slowest = all.iter().max_by(|a, b| a.until_complete().total_cmp(&b.until_complete()));
    if let Some(one) = slowest {
        let (upload, operator) = (ms(one.ended, one.published), ms(one.published, one.answered));
        eprintln!("the slowest: {upload:.1} ms to published, {operator:.1} ms to Finished");
    }
    let stops: Vec<_> = all.iter().map(|one| one.stop_us / 1e3).collect();
    table.percentile("`Profiler.stop` itself", 50, "", &stops);
    table.line("status writes a profile", "4", format!("{:.2}", writes / 50.0), "50 recordings");
    crate::footprint::after_use(&story, table)
}

/// An app of 60,000 functions, which `Profiler.start` has to list.
pub(crate) async fn big_app(table: &mut Table) -> anyhow::Result<()> {
    let story = Story::new("bench-big");
    anyhow::ensure!(Path::new("e2e/apps/big.js").exists(), "run this from the repository's root");
    App::new("big", "big.js").deploy(&story);
    let all = record(&story, "big", 10, &json!({ "duration": "1s" }), std::time::Duration::from_millis(500))
        .await?;
    let started: Vec<_> = all.iter().map(Recorded::until_started).collect();
    let itself: Vec<_> = all.iter().map(|one| one.start_us / 1e3).collect();
    table.percentile("a big app: POST to the answer of `Profiler.start`", 50, "", &started);
    table.percentile("a big app: `Profiler.start` itself", 50, "", &itself);
    Ok(())
}
