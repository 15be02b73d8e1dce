//! Deletions that the store was away for: folders in a `ConfigMap`, for the sweeper.

use super::Context;
use crate::store::Folder;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use pitwall_crds::names::TOMBSTONES;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A `ConfigMap` holds at most 1 MiB; a folder has at most about 800 bytes.
const MAX_TOMBSTONES: usize = 1000;
/// How often the sweeper looks.
const EVERY: Duration = Duration::from_secs(60);
/// Unfinished uploads older than this belong to nobody: no request lives longer than 24 h.
const ORPHAN_AGE: Duration = Duration::from_secs(25 * 3600);

fn api(ctx: &Context) -> Api<ConfigMap> {
    Api::namespaced(ctx.client.clone(), &ctx.namespace)
}

/// Writes down that a folder is to be deleted.
pub(super) async fn add(ctx: &Context, folder: &Folder) -> Result<(), kube::Error> {
    let current = api(ctx).get_opt(TOMBSTONES).await?;
    if current.is_none() {
        let empty = ConfigMap {
            metadata: ObjectMeta { name: Some(TOMBSTONES.to_owned()), ..ObjectMeta::default() },
            ..ConfigMap::default()
        };
        match api(ctx).create(&PostParams::default(), &empty).await {
            Err(kube::Error::Api(response)) if response.code == 409 => {}
            other => drop(other?),
        }
    }
    let held = current.and_then(|map| map.data).map_or(0, |data| data.len());
    if held >= MAX_TOMBSTONES {
        tracing::error!(%folder, "too many tombstones: the folder stays in the store and must be deleted by hand");
        return Ok(());
    }
    let patch = json!({ "data": { entry(folder): folder.as_str() } });
    api(ctx).patch(TOMBSTONES, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
}

/// A key that a `ConfigMap` takes.
fn entry(folder: &Folder) -> String {
    Sha256::digest(folder.as_str().as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Deletes what tombstones name, and aborts uploads that nobody owns, for as long as it is polled.
pub async fn sweep(ctx: Arc<Context>) {
    let mut rounds = 0_u32;
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = delete_named(&ctx).await {
            tracing::warn!(%error, "could not read the tombstones");
        }
        if rounds.is_multiple_of(60)
            && let Err(error) = ctx.store.sweep(&ctx.prefix, ORPHAN_AGE, super::now()).await
        {
            tracing::warn!(%error, "could not sweep unfinished uploads");
        }
        rounds = rounds.wrapping_add(1);
    }
}

async fn delete_named(ctx: &Context) -> Result<(), kube::Error> {
    let Some(map) = api(ctx).get_opt(TOMBSTONES).await? else { return Ok(()) };
    let mut gone: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (key, text) in map.data.unwrap_or_default() {
        let Ok(folder) = Folder::parse(&text) else {
            gone.insert(key, None);
            continue;
        };
        match ctx.store.delete_folder(&folder).await {
            Ok(()) => drop(gone.insert(key, None)),
            Err(error) => {
                tracing::warn!(%folder, %error, "a deleted request's artifacts are still in the store");
                break;
            }
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    let patch = json!({ "data": gone });
    api(ctx).patch(TOMBSTONES, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
}
