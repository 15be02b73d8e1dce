//! `manifest.json` beside a request's artifacts: what each of them is, for whoever has only the store.

use super::{Context, validate::ValidRequest};
use crate::store::{Key, MAX_SMALL, Media};
use bytes::Bytes;
use jiff::Timestamp;
use pitwall_crds::{ProfileType, TargetPhase, TargetStatus};
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// How often a store that is away is asked again.
const TRIES: u32 = 6;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    request: Named<'a>,
    r#type: ProfileType,
    written: Timestamp,
    targets: &'a [TargetStatus],
}

#[derive(Serialize)]
struct Named<'a> {
    namespace: &'a str,
    name: &'a str,
    uid: &'a str,
}

/// The bytes. Of very many targets, what isn't about their artifacts is left out.
fn write(request: &ValidRequest, mut targets: Vec<TargetStatus>, now: Timestamp) -> Vec<u8> {
    let json = |targets: &[TargetStatus]| {
        let named = Named { namespace: &request.namespace, name: &request.name, uid: &request.uid.0 };
        let manifest = Manifest { request: named, r#type: request.profile_type, written: now, targets };
        serde_json::to_vec(&manifest).expect("it has string keys and no failing serializer")
    };
    for target in &mut targets {
        target.progress = None;
        if target.phase == TargetPhase::Stored {
            target.phase = TargetPhase::Succeeded;
        }
    }
    let bytes = json(&targets);
    if bytes.len() <= MAX_SMALL {
        return bytes;
    }
    for target in &mut targets {
        (target.preflight, target.message) = (None, None);
    }
    json(&targets)
}

fn media(key: &Key) -> Media {
    Media {
        content_type: "application/json".to_owned(),
        content_encoding: None,
        file_name: key.file_name().to_owned(),
    }
}

/// Begins to write it, unless that is under way. Its end wakes the request; that it can't be written is logged, and
/// fails nothing.
pub(super) fn spawn(ctx: &Arc<Context>, request: &ValidRequest, targets: Vec<TargetStatus>) {
    if !ctx.work.begin_manifest(&request.uid) {
        return;
    }
    let (key, uid) = (ctx.folder(request).manifest(), request.uid.clone());
    let bytes = Bytes::from(write(request, targets, super::now()));
    let ctx = ctx.clone();
    ctx.tasks.clone().spawn(async move {
        for tries in 1..=TRIES {
            match ctx.store.put_small(&key, bytes.clone(), &media(&key)).await {
                Err(error) if error.kind.is_transient() && tries < TRIES => {
                    tokio::time::sleep(Duration::from_millis(500) * 2_u32.pow(tries)).await;
                }
                Err(error) => {
                    tracing::warn!(%key, %error, "the list of a request's artifacts isn't stored");
                    break;
                }
                Ok(()) => break,
            }
        }
        ctx.work.end_manifest(&uid);
        ctx.registry.nudge(&uid);
    });
}
