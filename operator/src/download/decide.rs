//! What becomes of a download. Pure.

use super::LIFETIME;
use crate::{
    request::validate::validate,
    store::{Key, Prefix},
};
use jiff::Timestamp;
use pitwall_crds::{ArtifactDownload, ProfileRequest, Reason};
use std::time::Duration;

/// What becomes of a download.
#[derive(Debug, PartialEq)]
pub(super) enum Decision {
    /// Answer it with a URL to this key.
    Sign(Key),
    /// Answer that there will be no URL.
    Refuse(Reason, String),
    /// It was answered, and is deleted after this long.
    Wait(Duration),
    /// Its time is over.
    Delete,
}

pub(super) fn decide(
    download: &ArtifactDownload,
    request: Option<&ProfileRequest>,
    prefix: &Prefix,
    now: Timestamp,
) -> Decision {
    let answered = download.status.as_ref().and_then(|status| status.conditions.first());
    if let Some(answer) = answered {
        let age = now.duration_since(answer.last_transition_time.0).unsigned_abs();
        return LIFETIME
            .checked_sub(age)
            .filter(|left| !left.is_zero())
            .map_or(Decision::Delete, Decision::Wait);
    }
    let spec = &download.spec;
    let Some(request) = request else {
        return Decision::Refuse(
            Reason::RequestNotFound,
            format!("there is no ProfileRequest {}", spec.request),
        );
    };
    let targets = request.status.iter().flat_map(|status| &status.targets);
    let Some(artifact) =
        targets.flat_map(|target| &target.artifacts).find(|artifact| artifact.name == spec.artifact)
    else {
        let message = format!("ProfileRequest {} has no artifact {}", spec.request, spec.artifact);
        return Decision::Refuse(Reason::ArtifactNotFound, message);
    };
    if artifact.r#type != spec.r#type {
        let message = format!("{} is of type {}", artifact.name, artifact.r#type.as_str());
        return Decision::Refuse(Reason::TypeMismatch, message);
    }
    // A tenant may be able to write a status: only a key in the request's own folder is signed.
    let own = validate(request).ok().and_then(|valid| {
        let folder = prefix.folder(&valid.namespace, valid.target.folder_name(), &valid.name, &valid.uid.0);
        Key::parse(&artifact.key).ok().filter(|key| folder.holds(key))
    });
    match own {
        Some(key) => Decision::Sign(key),
        None => {
            Decision::Refuse(Reason::ArtifactNotFound, format!("{} isn't the request's own", artifact.key))
        }
    }
}
