//! Deletions that the store, or the operator, was away for: folders in a `ConfigMap`, for the sweeper.

use super::Context;
use crate::store::Folder;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use pitwall_crds::names::TOMBSTONES;
use pitwall_protocol::RequestUid;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A `ConfigMap` holds at most 1 MiB; a folder has at most about 800 bytes.
const MAX_TOMBSTONES: usize = 1000;
/// When the sweeper looks for the first time: what was deleted while no operator ran waits.
const FIRST: Duration = Duration::from_secs(5);
/// How often the sweeper looks.
const EVERY: Duration = Duration::from_secs(60);
/// Unfinished uploads older than this belong to nobody: no request lives longer than 24 h.
const ORPHAN_AGE: Duration = Duration::from_secs(25 * 3600);

fn api(ctx: &Context) -> Api<ConfigMap> {
    Api::namespaced(ctx.client.clone(), &ctx.namespace)
}

/// A folder that is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    folder: Folder,
    /// Set if the request lived when this was written: the folder goes only if it is gone by now.
    unless: Option<RequestUid>,
}

impl Tombstone {
    /// The request is deleted.
    pub fn of_deleted(folder: Folder) -> Self {
        Self { folder, unless: None }
    }

    /// The request is alive, and may be deleted while nobody sees it.
    pub fn unless_alive(folder: Folder, uid: RequestUid) -> Self {
        Self { folder, unless: Some(uid) }
    }

    /// An entry's key, which a `ConfigMap` takes, and its value: the folder, with the uid before it where there
    /// is one. Neither has spaces.
    fn entry(&self) -> (String, String) {
        let folder = self.folder.as_str();
        let hash = Sha256::digest(folder.as_bytes());
        let key = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let value =
            self.unless.as_ref().map_or_else(|| folder.to_owned(), |uid| format!("{} {folder}", uid.0));
        (key, value)
    }

    fn parse(value: &str) -> Option<Self> {
        let (uid, folder) = value.split_once(' ').map_or((None, value), |(uid, folder)| (Some(uid), folder));
        let unless = uid.map(|uid| RequestUid(uid.to_owned()));
        Some(Self { folder: Folder::parse(folder).ok()?, unless })
    }
}

/// Writes down which folders are to be deleted.
pub(super) async fn add(
    ctx: &Context,
    tombstones: impl IntoIterator<Item = Tombstone>,
) -> Result<(), kube::Error> {
    let mut entries: BTreeMap<_, _> = tombstones.into_iter().map(|tombstone| tombstone.entry()).collect();
    if entries.is_empty() {
        return Ok(());
    }
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
    while entries.len() > MAX_TOMBSTONES.saturating_sub(held) {
        let Some((_, value)) = entries.pop_last() else { return Ok(()) };
        tracing::error!(
            value,
            "too many tombstones: the folder stays in the store and must be deleted by hand"
        );
    }
    let patch = json!({ "data": entries });
    api(ctx).patch(TOMBSTONES, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
}

/// Deletes what tombstones name, and aborts uploads that nobody owns, for as long as it is polled.
pub async fn sweep(ctx: Arc<Context>) {
    let mut rounds = 0_u32;
    loop {
        tokio::time::sleep(if rounds == 0 { FIRST } else { EVERY }).await;
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
    // Until then a request may be alive though nobody knows it.
    if !ctx.knows_requests() {
        return Ok(());
    }
    let Some(map) = api(ctx).get_opt(TOMBSTONES).await? else { return Ok(()) };
    let mut gone: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (key, text) in map.data.unwrap_or_default() {
        let Some(Tombstone { folder, unless }) = Tombstone::parse(&text) else {
            gone.insert(key, None);
            continue;
        };
        if unless.is_some_and(|uid| ctx.find(&uid).is_some()) {
            gone.insert(key, None);
            continue;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_survives_its_entry() {
        let folder = Folder::parse("pitwall/shop/checkout/slow-1234").unwrap();
        for tombstone in [
            Tombstone::of_deleted(folder.clone()),
            Tombstone::unless_alive(folder, RequestUid("d3b0-1234".to_owned())),
        ] {
            let (key, value) = tombstone.entry();
            assert_eq!(Tombstone::parse(&value), Some(tombstone));
            assert_eq!(key.len(), 32);
        }
        assert_eq!(Tombstone::parse("uid ../../etc"), None);
    }
}
