//! The finalizer: on while something may have to be cleaned up, and off before the operator goes for good.

use super::{
    Context,
    tombstones::{self, Tombstone},
    validate,
};
use futures_util::{StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use pitwall_crds::{
    ProfileRequest,
    names::{DEPLOYMENT, FINALIZER},
};
use pitwall_protocol::RequestUid;
use serde_json::json;
use std::time::Duration;

/// Requests that are let go at once.
const AT_ONCE: usize = 16;
/// What letting all of them go may take: kubelet gives the pod 30 s.
const FAREWELL: Duration = Duration::from_secs(20);

/// Puts the finalizer on a request, beside other ones.
pub(super) async fn hold(
    requests: &Api<ProfileRequest>,
    name: &str,
    uid: &RequestUid,
) -> Result<(), kube::Error> {
    let current = requests.get_metadata(name).await?.metadata.finalizers.unwrap_or_default();
    if current.iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(());
    }
    let patch = if current.is_empty() {
        json!([
            { "op": "test", "path": "/metadata/uid", "value": uid.0 },
            { "op": "add", "path": "/metadata/finalizers", "value": [FINALIZER] },
        ])
    } else {
        json!([
            { "op": "test", "path": "/metadata/uid", "value": uid.0 },
            { "op": "test", "path": "/metadata/finalizers", "value": current },
            { "op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER },
        ])
    };
    patch_metadata(requests, name, patch).await
}

/// Takes the finalizer off; fine if it isn't there, or the request isn't.
pub(super) async fn let_go(requests: &Api<ProfileRequest>, name: &str) -> Result<(), kube::Error> {
    let current = match requests.get_metadata(name).await {
        Ok(current) => current.metadata.finalizers.unwrap_or_default(),
        Err(kube::Error::Api(response)) if response.code == 404 => return Ok(()),
        Err(error) => return Err(error),
    };
    let Some(at) = current.iter().position(|finalizer| finalizer == FINALIZER) else { return Ok(()) };
    let place = format!("/metadata/finalizers/{at}");
    let patch = json!([
        { "op": "test", "path": place, "value": FINALIZER },
        { "op": "remove", "path": place },
    ]);
    match patch_metadata(requests, name, patch).await {
        Err(kube::Error::Api(response)) if response.code == 404 => Ok(()),
        other => other,
    }
}

async fn patch_metadata(
    requests: &Api<ProfileRequest>,
    name: &str,
    patch: serde_json::Value,
) -> Result<(), kube::Error> {
    let patch: json_patch::Patch = serde_json::from_value(patch).expect("the patches above are well formed");
    let params = PatchParams::default();
    requests.patch_metadata(name, &params, &Patch::Json::<()>(patch)).await.map(drop)
}

/// Takes the finalizer off every request. Artifacts stay in the store.
pub async fn let_all_go(client: &Client) -> Result<(), kube::Error> {
    let listed = Api::<ProfileRequest>::all(client.clone()).list_metadata(&ListParams::default()).await;
    let requests = match listed {
        Ok(requests) => requests.items,
        // The CRD is gone already.
        Err(kube::Error::Api(response)) if response.code == 404 => return Ok(()),
        Err(error) => return Err(error),
    };
    stream::iter(requests)
        .for_each_concurrent(AT_ONCE, async |request| {
            let (namespace, name) =
                (request.metadata.namespace.unwrap_or_default(), request.metadata.name.unwrap_or_default());
            if !request.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER) {
                return;
            }
            match let_go(&Api::namespaced(client.clone(), &namespace), &name).await {
                Ok(()) => tracing::debug!(namespace, name, "took the finalizer off"),
                Err(error) => tracing::warn!(namespace, name, %error, "could not take the finalizer off"),
            }
        })
        .await;
    Ok(())
}

/// Before the last replica goes: with the Deployment scaled to zero, nobody is left to take a finalizer off, and
/// it would hold up the deletion of its namespace. What then is deleted without us is found by tombstones.
pub async fn farewell(ctx: &Context) {
    match tokio::time::timeout(FAREWELL, try_farewell(ctx)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "finalizers stay on requests, and nobody is left for them"),
        Err(_) => tracing::error!("finalizers stay on requests: taking them off took over {FAREWELL:?}"),
    }
}

async fn try_farewell(ctx: &Context) -> Result<(), kube::Error> {
    let deployments = Api::<Deployment>::namespaced(ctx.client.clone(), &ctx.namespace);
    let deployment = deployments.get_opt(DEPLOYMENT).await?;
    if deployment.is_some_and(|one| one.spec.and_then(|spec| spec.replicas) != Some(0)) {
        return Ok(());
    }
    let held: Vec<_> = ctx.requests().iter().filter_map(|request| validate::validate(request).ok()).collect();
    let held = held.iter().filter(|request| request.has_finalizer);
    let left: Vec<_> =
        held.map(|request| Tombstone::unless_alive(ctx.folder(request), request.uid.clone())).collect();
    tracing::info!(requests = left.len(), "scaled to zero: taking the finalizers off");
    tombstones::add(ctx, left).await?;
    let_all_go(&ctx.client).await
}
