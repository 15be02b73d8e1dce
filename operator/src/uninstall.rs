//! Before the chart goes: nothing would take the finalizers off any more.

use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use pitwall_crds::{ProfileRequest, names::FINALIZER};
use serde_json::json;

/// Takes Pitwall's finalizer off every request. Artifacts stay in the store.
pub(crate) async fn prepare() -> anyhow::Result<()> {
    let client = Client::try_default().await?;
    let requests =
        match Api::<ProfileRequest>::all(client.clone()).list_metadata(&ListParams::default()).await {
            Ok(requests) => requests.items,
            // The CRD is gone already.
            Err(kube::Error::Api(response)) if response.code == 404 => return Ok(()),
            Err(error) => return Err(error.into()),
        };
    for request in requests {
        let mut finalizers = request.metadata.finalizers.unwrap_or_default();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            continue;
        }
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        let (namespace, name) =
            (request.metadata.namespace.unwrap_or_default(), request.metadata.name.unwrap_or_default());
        let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": request.metadata.resource_version } });
        let api = Api::<ProfileRequest>::namespaced(client.clone(), &namespace);
        match api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => tracing::info!(namespace, name, "took the finalizer off"),
            Err(error) => tracing::warn!(namespace, name, %error, "could not take the finalizer off"),
        }
    }
    Ok(())
}
