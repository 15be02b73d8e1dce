//! Does what was planned. IO, no decisions.

use super::{
    Context, ReconcileError, collect, finalizer, manifest,
    plan::{Action, Plan},
    status::{Applied, NotStarted},
    tombstones::{self, Tombstone},
    validate::ValidRequest,
    work::reason_of,
};
use crate::{
    channel::{SessionKey, registry::PartsWanted},
    request::now,
    store::{Key, PART_SIZE, StoreError, UploadId},
};
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};
use pitwall_crds::{ProfileRequest, Reason};
use pitwall_protocol::{
    ContainerBounds, ContainerRef, Guard, Look, OperatorMessage, Recording, Start, Stop, UploadGrant,
};
use std::{sync::Arc, time::Duration};

/// How many parts are signed at once: most profiles fit one.
const PARTS_AHEAD: u32 = 4;
/// How long signed URLs are good for beyond the request's deadline.
const URL_MARGIN: Duration = Duration::from_secs(300);
/// The shortest time that signed URLs are good for.
const URL_LEAST: Duration = Duration::from_secs(900);

pub(super) async fn apply(
    ctx: &Arc<Context>,
    request: &ValidRequest,
    plan: &Plan,
) -> Result<Applied, ReconcileError> {
    let mut applied = Applied::default();
    for action in &plan.actions {
        match action {
            Action::Look { pod, containers, measure } => {
                let measure_ms = u32::try_from(measure.as_millis()).unwrap_or(u32::MAX);
                let look = Look { request: request.uid.clone(), containers: containers.clone(), measure_ms };
                ctx.registry.send(pod, OperatorMessage::Look(look));
            }
            Action::Hold => hold(ctx, request).await?,
            Action::Start { target, key, container, bounds, recording } => {
                let pod_name = &plan.targets[*target].pod;
                let started = start(ctx, request, pod_name, key, (container, bounds), recording).await;
                if let Err((reason, message, again)) = started {
                    applied.not_started.push(NotStarted { target: *target, reason, message, again });
                }
            }
            Action::Stop { pod, keep, why } => {
                let stop = Stop { request: request.uid.clone(), keep: *keep, why: *why };
                ctx.registry.send(pod, OperatorMessage::Stop(stop));
            }
            Action::Grant { key, pod_name, wanted } => {
                if let Err(error) = extend(ctx, request, key, pod_name, wanted).await {
                    tracing::warn!(request = request.name, %error, "could not sign more parts");
                }
            }
            Action::Collect { key, pod_name, artifacts } => {
                collect::spawn(ctx, request, key.clone(), pod_name, artifacts.clone());
            }
            Action::Acknowledge(key) => {
                let message =
                    OperatorMessage::Acknowledge { request: key.request.clone(), process: key.process };
                ctx.registry.send(&key.pod, message);
            }
            Action::Analyse(artifacts) => collect::spawn_analysis(ctx, request, artifacts.clone()),
            Action::WriteManifest => manifest::spawn(ctx, request, plan.targets.clone()),
            Action::AbortUploads => {
                let folder = ctx.folder(request);
                if let Err(error) = ctx.store.abort_folder(&folder).await {
                    tracing::warn!(%folder, %error, "unfinished uploads stay until the sweep");
                }
            }
            Action::DeleteArtifacts => {
                ctx.store.delete_folder(&ctx.folder(request)).await?;
                let_go(ctx, request).await?;
            }
            Action::Tombstone => {
                tombstones::add(ctx, [Tombstone::of_deleted(ctx.folder(request))])
                    .await
                    .map_err(api("leaving a tombstone"))?;
                let_go(ctx, request).await?;
            }
            Action::DeleteRequest => {
                let preconditions =
                    Preconditions { uid: Some(request.uid.0.clone()), resource_version: None };
                let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
                let deleted = requests(ctx, request).delete(&request.name, &params).await;
                tolerate_absence(deleted.map(drop)).map_err(api("deleting the expired request"))?;
            }
            Action::Forget => ctx.forget(&request.uid),
        }
    }
    Ok(applied)
}

fn api(step: &'static str) -> impl FnOnce(kube::Error) -> ReconcileError {
    move |source| ReconcileError::Api { step, source }
}

fn tolerate_absence(outcome: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match outcome {
        Err(kube::Error::Api(response)) if response.code == 404 || response.code == 409 => Ok(()),
        other => other,
    }
}

fn requests(ctx: &Context, request: &ValidRequest) -> Api<ProfileRequest> {
    Api::namespaced(ctx.client.clone(), &request.namespace)
}

async fn hold(ctx: &Context, request: &ValidRequest) -> Result<(), ReconcileError> {
    // The cache of requests may not show yet what was done a moment ago.
    if ctx.remember(&request.uid, |memory| memory.held) {
        return Ok(());
    }
    let held = finalizer::hold(&requests(ctx, request), &request.name, &request.uid).await;
    held.map_err(api("adding the finalizer"))?;
    ctx.remember(&request.uid, |memory| memory.held = true);
    Ok(())
}

async fn let_go(ctx: &Context, request: &ValidRequest) -> Result<(), ReconcileError> {
    let api_ = requests(ctx, request);
    finalizer::let_go(&api_, &request.name).await.map_err(api("removing the finalizer"))
}

fn key_of(ctx: &Context, request: &ValidRequest, pod_name: &str, key: &SessionKey, artifact: &str) -> Key {
    let extension = collect::extension(request.profile_type, artifact);
    ctx.folder(request).recording(pod_name, key.process.pid, artifact, extension)
}

type StartError = (Reason, String, bool);

async fn start(
    ctx: &Context,
    request: &ValidRequest,
    pod_name: &str,
    key: &SessionKey,
    (container, bounds): (&ContainerRef, &ContainerBounds),
    recording: &Recording,
) -> Result<(), StartError> {
    let refused = |error: StoreError| (reason_of(&error), error.to_string(), error.kind.is_transient());
    let grant = if request.dry_run {
        nothing_to_upload()
    } else {
        let artifact = key_of(ctx, request, pod_name, key, "");
        let upload = ctx.store.begin(&artifact, &collect::media(&artifact)).await.map_err(refused)?;
        sign(ctx, request, &artifact, &upload, 1).await.map_err(refused)?
    };
    let left = request.deadline.duration_since(now()).unsigned_abs();
    let message = OperatorMessage::Start(Box::new(Start {
        request: request.uid.clone(),
        request_name: format!("{}/{}", request.namespace, request.name),
        process: key.process,
        container: container.clone(),
        recording: if request.dry_run {
            Recording::Check { recording: Box::new(recording.clone()) }
        } else {
            recording.clone()
        },
        trace_optimizations: request.trace_optimizations,
        duration_ms: millis(request.duration),
        deadline_ms: millis(left),
        grant,
        bounds: *bounds,
        guard: guard(request, bounds),
        largest_bytes: Some(request.max_bytes),
        overridden: request.overridden.clone(),
    }));
    if ctx.registry.send(&key.pod, message) {
        ctx.metrics.sessions_started.inc();
        Ok(())
    } else {
        let message = format!("the sidecar of pod {pod_name} went away just now");
        Err((Reason::WaitingForSidecar, message, true))
    }
}

/// What ends the recording early.
fn guard(request: &ValidRequest, bounds: &ContainerBounds) -> Guard {
    let percent = u64::try_from(request.guard.memory_percent).unwrap_or(100);
    Guard {
        memory_bytes: bounds.memory_bytes.map(|bytes| bytes / 100 * percent),
        main_thread_percent: request
            .guard
            .main_thread_percent
            .and_then(|percent| u32::try_from(percent).ok()),
    }
}

/// The grant of a dry run.
fn nothing_to_upload() -> UploadGrant {
    UploadGrant {
        upload_id: String::new(),
        part_size: 0,
        first_part: 1,
        urls: Vec::new(),
        expires_in_ms: 0,
        artifact: String::new(),
    }
}

async fn extend(
    ctx: &Context,
    request: &ValidRequest,
    key: &SessionKey,
    pod_name: &str,
    wanted: &PartsWanted,
) -> Result<(), StoreError> {
    let artifact = key_of(ctx, request, pod_name, key, &wanted.artifact);
    let upload = match &wanted.upload {
        Some(upload) => UploadId::parse(upload)?,
        None => ctx.store.begin(&artifact, &collect::media(&artifact)).await?,
    };
    let grant = sign(ctx, request, &artifact, &upload, wanted.first_part).await?;
    let grant = UploadGrant { artifact: wanted.artifact.clone(), ..grant };
    let message = OperatorMessage::Grant { request: key.request.clone(), process: key.process, grant };
    ctx.registry.send(&key.pod, message);
    Ok(())
}

async fn sign(
    ctx: &Context,
    request: &ValidRequest,
    artifact: &Key,
    upload: &UploadId,
    first_part: u32,
) -> Result<UploadGrant, StoreError> {
    let left = request.deadline.duration_since(now()).unsigned_abs();
    let lifetime = (left + URL_MARGIN).max(URL_LEAST);
    let urls = ctx.store.sign_parts(artifact, upload, first_part, PARTS_AHEAD, lifetime, now()).await?;
    Ok(UploadGrant {
        upload_id: upload.as_str().to_owned(),
        part_size: PART_SIZE,
        first_part,
        urls,
        expires_in_ms: millis(lifetime),
        artifact: String::new(),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
