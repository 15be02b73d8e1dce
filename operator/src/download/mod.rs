//! `ArtifactDownload`: seals a short-lived URL to the asker's key, and deletes the object when it has expired.

mod decide;
mod seal;

use crate::{
    request::now,
    store::{Download, Key, Prefix, Store},
};
use decide::{Decision, decide};
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    runtime::{
        Controller,
        controller::{Action, Config},
        watcher,
    },
};
use pitwall_crds::{
    ArtifactDownload, ArtifactDownloadStatus, ProfileRequest, Reason, ServiceRef, names::FIELD_MANAGER,
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// How long a URL is good for.
const LIFETIME: Duration = Duration::from_secs(60);

/// What the controller needs.
pub struct Downloads {
    /// The API server.
    pub client: Client,
    /// Where artifacts are.
    pub store: Store,
    /// What stands before every key.
    pub prefix: Prefix,
}

/// A download that could not be answered yet.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The API server.
    #[error("{0}")]
    Api(#[from] kube::Error),
}

/// Answers downloads until its future is dropped.
pub async fn run(downloads: Arc<Downloads>) {
    let api = Api::<ArtifactDownload>::all(downloads.client.clone());
    Controller::new(api, watcher::Config::default())
        .with_config(Config::default().concurrency(8))
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(2)), downloads)
        .for_each(|outcome| async move {
            if let Err(error) = outcome {
                tracing::debug!(%error, "a download could not be answered yet");
            }
        })
        .await;
}

async fn reconcile(download: Arc<ArtifactDownload>, ctx: Arc<Downloads>) -> Result<Action, DownloadError> {
    let now = now();
    if download.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let namespace = download.metadata.namespace.as_deref().unwrap_or_default();
    let request = Api::<ProfileRequest>::namespaced(ctx.client.clone(), namespace)
        .get_opt(&download.spec.request)
        .await?;
    match decide(&download, request.as_ref(), &ctx.prefix, now) {
        Decision::Delete => {
            let preconditions = Preconditions { uid: download.metadata.uid.clone(), resource_version: None };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            let name = download.metadata.name.as_deref().unwrap_or_default();
            let api = Api::<ArtifactDownload>::namespaced(ctx.client.clone(), namespace);
            match api.delete(name, &params).await {
                Err(kube::Error::Api(response)) if response.code == 404 || response.code == 409 => {}
                other => drop(other?),
            }
            Ok(Action::await_change())
        }
        Decision::Wait(left) => Ok(Action::requeue(left)),
        Decision::Refuse(reason, message) => {
            write(&ctx, &download, refused(reason, message, &download, now)).await?;
            Ok(Action::requeue(LIFETIME))
        }
        Decision::Sign(key) => {
            let status = match sign(&ctx, &download, &key, now).await {
                Ok(status) => status,
                Err((reason, message)) => refused(reason, message, &download, now),
            };
            write(&ctx, &download, status).await?;
            Ok(Action::requeue(LIFETIME))
        }
    }
}

async fn sign(
    ctx: &Downloads,
    download: &ArtifactDownload,
    key: &Key,
    now: Timestamp,
) -> Result<ArtifactDownloadStatus, (Reason, String)> {
    let signed = ctx.store.sign_get(key, LIFETIME, now).await;
    let Download { url, service, ca } =
        signed.map_err(|error| (crate::request::work::reason_of(&error), error.to_string()))?;
    let uid = download.metadata.uid.as_deref().unwrap_or_default();
    let sealed_url = seal::seal(&download.spec.public_key, uid, &url)
        .map_err(|error| (Reason::InvalidPublicKey, error.to_string()))?;
    let expires = now + SignedDuration::try_from(LIFETIME).unwrap_or_default();
    Ok(ArtifactDownloadStatus {
        conditions: vec![ready(true, Reason::UrlReady, String::new(), download, now)],
        sealed_url: Some(sealed_url),
        expiration_time: Some(Time(expires)),
        service: service.map(|(namespace, name, port)| ServiceRef { namespace, name, port: i32::from(port) }),
        ca,
    })
}

fn refused(
    reason: Reason,
    message: String,
    download: &ArtifactDownload,
    now: Timestamp,
) -> ArtifactDownloadStatus {
    let message =
        if reason.advice().is_empty() { message } else { format!("{message}. {}", reason.advice()) };
    ArtifactDownloadStatus {
        conditions: vec![ready(false, reason, message, download, now)],
        ..ArtifactDownloadStatus::default()
    }
}

fn ready(
    holds: bool,
    reason: Reason,
    message: String,
    download: &ArtifactDownload,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: "Ready".to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.as_str().to_owned(),
        message,
        observed_generation: download.metadata.generation,
        last_transition_time: Time(now),
    }
}

async fn write(
    ctx: &Downloads,
    download: &ArtifactDownload,
    status: ArtifactDownloadStatus,
) -> Result<(), DownloadError> {
    let metadata = &download.metadata;
    let api = Api::<ArtifactDownload>::namespaced(
        ctx.client.clone(),
        metadata.namespace.as_deref().unwrap_or_default(),
    );
    let patch = json!({
        "apiVersion": "pitwall.dev/v1alpha1",
        "kind": "ArtifactDownload",
        "metadata": { "name": metadata.name, "uid": metadata.uid },
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(metadata.name.as_deref().unwrap_or_default(), &params, &Patch::Apply(&patch)).await
    {
        Err(kube::Error::Api(response)) if response.code == 404 || response.code == 409 => Ok(()),
        other => {
            let _: () = drop(other?);
            Ok(())
        }
    }
}
