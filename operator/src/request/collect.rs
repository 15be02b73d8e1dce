//! Completing an upload, checking the stored bytes, and having them analysed: the work behind `work`.

use super::{
    Context,
    validate::ValidRequest,
    work::{AnalysisState, CollectionState, reason_of},
};
use crate::{
    channel::SessionKey,
    store::{Folder, Key, Media, StoreError, UploadId},
};
use pitwall_crds::{Artifact, ProfileType, Reason};
use pitwall_protocol::{MAX_ARTIFACTS, NamedArtifact, OPTIMIZATIONS, Uploaded, is_artifact_name};
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The largest artifact, in bytes as stored.
const MAX_ARTIFACT: u64 = 2 << 30;
/// How often a store that is away is asked again before an upload is given up.
const TRIES: u32 = 6;

/// How a recording is stored: a browser that downloads it gets what `DevTools` opens.
pub(super) fn media(key: &Key) -> Media {
    Media {
        content_type: "application/json".to_owned(),
        content_encoding: Some("gzip".to_owned()),
        file_name: key.file_name().to_owned(),
    }
}

/// Begins to complete and check a session's uploads, unless that is under way.
pub(super) fn spawn(
    ctx: &Arc<Context>,
    request: &ValidRequest,
    session: SessionKey,
    pod_name: &str,
    artifacts: Vec<NamedArtifact>,
) {
    if !ctx.work.begin_collection(&session) {
        return;
    }
    let profile_type = request.profile_type;
    let (folder, pod_name, pid) = (ctx.folder(request), pod_name.to_owned(), session.process.pid);
    let ctx = ctx.clone();
    ctx.tasks.clone().spawn(async move {
        // Only what is analysed is kept here.
        let keep = profile_type == ProfileType::Cpu;
        let mut stored = Vec::new();
        let mut failed = nameless(&artifacts);
        for NamedArtifact { name, uploaded } in &artifacts {
            if failed.is_some() {
                break;
            }
            let key = folder.recording(&pod_name, pid, name, extension(profile_type, name));
            match collect(&ctx, &key, uploaded, keep && name != OPTIMIZATIONS).await {
                Ok(()) => stored.push(artifact(&key, profile_type, name, uploaded)),
                Err(why) => failed = Some(why),
            }
        }
        let outcome = match failed {
            None => CollectionState::Stored(stored),
            Some((reason, message)) => CollectionState::Failed(reason, message),
        };
        ctx.work.end_collection(&session, outcome);
        ctx.registry.nudge(&session.request);
    });
}

/// The extension of one of a session's artifacts.
pub(super) fn extension(profile_type: ProfileType, artifact: &str) -> &'static str {
    if artifact == OPTIMIZATIONS { "json" } else { profile_type.extension() }
}

/// Why these can't be a session's artifacts: a sidecar may say anything.
fn nameless(artifacts: &[NamedArtifact]) -> Option<(Reason, String)> {
    let different: BTreeSet<_> = artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
    let all_named = artifacts.iter().skip(1).all(|artifact| is_artifact_name(&artifact.name));
    let fits = all_named && different.len() == artifacts.len() && artifacts.len() <= MAX_ARTIFACTS;
    (!fits).then(|| {
        let message = "the sidecar reported artifacts whose names can't be".to_owned();
        (Reason::ArtifactMismatch, message)
    })
}

fn artifact(key: &Key, profile_type: ProfileType, name: &str, uploaded: &Uploaded) -> Artifact {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    Artifact {
        name: key.file_name().to_owned(),
        r#type: profile_type,
        thread: (!name.is_empty() && name != OPTIMIZATIONS).then(|| name.to_owned()),
        key: key.as_str().to_owned(),
        bytes: signed(uploaded.bytes),
        uncompressed_bytes: signed(uploaded.uncompressed_bytes),
        sha256: uploaded.sha256.clone(),
        encoding: "gzip".to_owned(),
        media_type: "application/json".to_owned(),
    }
}

async fn collect(ctx: &Context, key: &Key, uploaded: &Uploaded, keep: bool) -> Result<(), (Reason, String)> {
    let refused = |error: StoreError| (reason_of(&error), error.to_string());
    let upload = UploadId::parse(&uploaded.upload_id).map_err(refused)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let outcome = complete_and_check(ctx, key, &upload, uploaded, keep).await;
        match outcome {
            Err(Trouble::Store(error)) if error.kind.is_transient() && tries < TRIES => {
                tracing::warn!(%key, %error, tries, "the store is away; an upload waits to be completed");
                tokio::time::sleep(Duration::from_millis(500) * 2_u32.pow(tries)).await;
            }
            Err(Trouble::Store(error)) => return Err(refused(error)),
            Err(Trouble::Mismatch(message)) => return Err((Reason::ArtifactMismatch, message)),
            Err(Trouble::Scratch(error)) => {
                let message = format!(
                    "the stored bytes could not be checked, the operator's scratch volume says: {error}"
                );
                return Err((Reason::InternalError, message));
            }
            Ok(path) => {
                if let Some(path) = path {
                    ctx.work.keep_file(key.as_str(), path);
                }
                return Ok(());
            }
        }
    }
}

enum Trouble {
    Store(StoreError),
    Mismatch(String),
    Scratch(std::io::Error),
}

async fn complete_and_check(
    ctx: &Context,
    key: &Key,
    upload: &UploadId,
    uploaded: &Uploaded,
    keep: bool,
) -> Result<Option<PathBuf>, Trouble> {
    let stored =
        ctx.store.complete(key, upload, &uploaded.parts, MAX_ARTIFACT).await.map_err(Trouble::Store)?;
    if stored != uploaded.bytes {
        return Err(Trouble::Mismatch(format!(
            "the store holds {stored} bytes at {key}, the sidecar reported {}",
            uploaded.bytes
        )));
    }
    let (path, bytes, sha256) = if keep {
        let (path, bytes, sha256) = fetch(ctx, key, uploaded.bytes).await?;
        (Some(path), bytes, sha256)
    } else {
        let (bytes, sha256) = read(ctx, key, uploaded.bytes, None).await?;
        (None, bytes, sha256)
    };
    if bytes != uploaded.bytes || sha256 != uploaded.sha256 {
        // The file would be wrong in everyone's hands: it doesn't stay.
        if let Some(path) = path {
            let _ = tokio::fs::remove_file(&path).await;
        }
        let reported = &uploaded.sha256;
        return Err(Trouble::Mismatch(format!("{key} has sha256 {sha256}, the sidecar reported {reported}")));
    }
    Ok(path)
}

/// Downloads an artifact into the scratch folder: its path, length and SHA-256.
async fn fetch(ctx: &Context, key: &Key, expected: u64) -> Result<(PathBuf, u64, String), Trouble> {
    let (file, path) = tempfile::Builder::new()
        .prefix("artifact-")
        .tempfile_in(&ctx.scratch)
        .and_then(|file| file.keep().map_err(|error| error.error))
        .map_err(Trouble::Scratch)?;
    let mut file = tokio::fs::File::from_std(file);
    match read(ctx, key, expected, Some(&mut file)).await {
        Ok((bytes, sha256)) => Ok((path, bytes, sha256)),
        Err(trouble) => {
            let _ = tokio::fs::remove_file(&path).await;
            Err(trouble)
        }
    }
}

/// Reads an artifact, into a file if there is one: its length and SHA-256.
async fn read(
    ctx: &Context,
    key: &Key,
    expected: u64,
    mut file: Option<&mut tokio::fs::File>,
) -> Result<(u64, String), Trouble> {
    let mut body = ctx.store.open(key).await.map_err(Trouble::Store)?;
    let mut hash = Sha256::new();
    let mut bytes = 0_u64;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = body.read(&mut buffer).await.map_err(Trouble::Scratch)?;
        bytes += read as u64;
        if read == 0 || bytes > expected {
            break;
        }
        hash.update(&buffer[..read]);
        if let Some(file) = &mut file {
            file.write_all(&buffer[..read]).await.map_err(Trouble::Scratch)?;
        }
    }
    if let Some(file) = file {
        file.flush().await.map_err(Trouble::Scratch)?;
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((bytes, sha256))
}

/// Begins the analysis of a request's artifacts, unless it is under way.
pub(super) fn spawn_analysis(ctx: &Arc<Context>, request: &ValidRequest, artifacts: Vec<Artifact>) {
    if !ctx.work.begin_analysis(&request.uid) {
        return;
    }
    let uid = request.uid.clone();
    let folder = ctx.folder(request);
    let ctx = ctx.clone();
    ctx.tasks.clone().spawn(async move {
        let mut reports = Vec::new();
        let mut troubles = Vec::new();
        for artifact in &artifacts {
            match analyse(&ctx, &folder, artifact).await {
                Ok(report) => reports.push((artifact.name.clone(), report)),
                Err(trouble) => troubles.push(format!("{}: {trouble}", artifact.name)),
            }
        }
        let outcome = if reports.is_empty() {
            AnalysisState::Failed(troubles.join("; "))
        } else {
            AnalysisState::Done(Box::new(crate::analysis::merge(reports)))
        };
        ctx.work.end_analysis(&uid, outcome);
        ctx.registry.nudge(&uid);
    });
}

async fn analyse(
    ctx: &Context,
    folder: &Folder,
    artifact: &Artifact,
) -> Result<pitwall_profile::Report, String> {
    let path = if let Some(path) = ctx.work.take_file(&artifact.key) {
        path
    } else {
        let key = Key::parse(&artifact.key).map_err(|error| error.to_string())?;
        // A tenant may be able to write a status: only the request's own artifacts are read.
        if !folder.holds(&key) {
            return Err(format!("{key} isn't the request's own"));
        }
        let expected = u64::try_from(artifact.bytes).unwrap_or(0);
        match fetch(ctx, &key, expected).await {
            Ok((path, ..)) => path,
            Err(Trouble::Store(error)) => return Err(error.to_string()),
            Err(Trouble::Scratch(error)) => return Err(error.to_string()),
            Err(Trouble::Mismatch(message)) => return Err(message),
        }
    };
    let report = ctx.analyser.analyse(&path).await.map_err(|error| error.to_string());
    let _ = tokio::fs::remove_file(&path).await;
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_without_a_name_of_their_own_are_refused() {
        let uploaded = Uploaded {
            upload_id: "u".into(),
            parts: vec![],
            bytes: 1,
            uncompressed_bytes: 1,
            sha256: "aa".into(),
        };
        let named = |name: &&str| NamedArtifact { name: (*name).to_owned(), uploaded: uploaded.clone() };
        for (names, fits) in [
            (&[""][..], true),
            (&["", "worker-1", "worker-2"], true),
            (&["", "worker-1", "worker-1"], false),
            (&["", ""], false),
            (&["", "../x"], false),
            (&["", "Worker"], false),
            (&["", "a.cpuprofile"], false),
            (&["", "a123456789012345678901234"], false),
        ] {
            let artifacts: Vec<_> = names.iter().map(named).collect();
            assert_eq!(nameless(&artifacts).is_none(), fits, "{names:?}");
        }
        let many: Vec<_> = (0..MAX_ARTIFACTS).map(|at| format!("worker-{at}")).collect();
        let many: Vec<_> = [""].into_iter().chain(many.iter().map(String::as_str)).collect();
        assert!(nameless(&many.iter().map(named).collect::<Vec<_>>()).is_some());
    }
}
