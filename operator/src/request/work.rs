//! Work that takes longer than a reconcile may: completing and checking uploads, and analysing them.
//!
//! Each runs as one task; its state is read by `observe`, and its end wakes the request's reconcile. Lost
//! with the operator, it is begun again by the next one: every step is idempotent.

use crate::{
    analysis::Analysis,
    channel::SessionKey,
    store::{StoreError, StoreErrorKind},
};
use jiff::Timestamp;
use pitwall_crds::{Artifact, Reason};
use pitwall_protocol::RequestUid;
use std::{collections::HashMap, path::PathBuf, sync::Mutex};

/// An upload that is being completed, downloaded and checked.
#[derive(Clone, Debug)]
pub enum CollectionState {
    /// Under way.
    Running,
    /// Stored, and its bytes are the ones that the sidecar reported.
    Stored(Vec<Artifact>),
    /// It failed for good.
    Failed(Reason, String),
}

/// The analysis of a request's artifacts.
#[derive(Clone, Debug)]
pub enum AnalysisState {
    /// Under way.
    Running,
    /// Its result.
    Done(Box<Analysis>),
    /// It failed, or was ended by its limits.
    Failed(String),
}

#[derive(Default)]
struct State {
    collections: HashMap<SessionKey, CollectionState>,
    analyses: HashMap<RequestUid, AnalysisState>,
    /// Whether they are written.
    manifests: HashMap<RequestUid, bool>,
    files: HashMap<String, PathBuf>,
    missed: HashMap<SessionKey, Timestamp>,
}

/// The state of all background work.
#[derive(Default)]
pub struct Work(Mutex<State>);

impl Work {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no panic happens while the state is held")
    }

    /// The request's collections.
    pub fn collections(&self, request: &RequestUid) -> HashMap<SessionKey, CollectionState> {
        let state = self.state();
        let of_request = state.collections.iter().filter(|(key, _)| key.request == *request);
        of_request.map(|(key, collection)| (key.clone(), collection.clone())).collect()
    }

    /// The request's analysis.
    pub fn analysis(&self, request: &RequestUid) -> Option<AnalysisState> {
        self.state().analyses.get(request).cloned()
    }

    /// Claims a collection. False when it runs or has run.
    pub fn begin_collection(&self, key: &SessionKey) -> bool {
        let mut state = self.state();
        if state.collections.contains_key(key) {
            return false;
        }
        state.collections.insert(key.clone(), CollectionState::Running);
        true
    }

    /// The end of a collection.
    pub fn end_collection(&self, key: &SessionKey, outcome: CollectionState) {
        self.state().collections.insert(key.clone(), outcome);
    }

    /// Claims the analysis. False when it runs or has run.
    pub fn begin_analysis(&self, request: &RequestUid) -> bool {
        let mut state = self.state();
        if state.analyses.contains_key(request) {
            return false;
        }
        state.analyses.insert(request.clone(), AnalysisState::Running);
        true
    }

    /// The end of an analysis.
    pub fn end_analysis(&self, request: &RequestUid, outcome: AnalysisState) {
        self.state().analyses.insert(request.clone(), outcome);
    }

    /// Whether the request's manifest is written or given up; `None` before that was begun.
    pub fn manifest(&self, request: &RequestUid) -> Option<bool> {
        self.state().manifests.get(request).copied()
    }

    /// Claims the manifest. False when it is being written, or was.
    pub fn begin_manifest(&self, request: &RequestUid) -> bool {
        let mut state = self.state();
        let first = !state.manifests.contains_key(request);
        state.manifests.entry(request.clone()).or_insert(false);
        first
    }

    /// The manifest is written, or given up.
    pub fn end_manifest(&self, request: &RequestUid) {
        self.state().manifests.insert(request.clone(), true);
    }

    /// Remembers the local copy of an artifact that a collection made, for the analysis.
    pub fn keep_file(&self, artifact_key: &str, path: PathBuf) {
        self.state().files.insert(artifact_key.to_owned(), path);
    }

    /// The local copy of an artifact. Whoever takes it deletes it.
    pub fn take_file(&self, artifact_key: &str) -> Option<PathBuf> {
        self.state().files.remove(artifact_key)
    }

    /// Since when a session that should be there is missed; `None` when it is there.
    pub fn missed_since(&self, key: &SessionKey, is_there: bool, now: Timestamp) -> Option<Timestamp> {
        let mut state = self.state();
        if is_there {
            state.missed.remove(key);
            return None;
        }
        Some(*state.missed.entry(key.clone()).or_insert(now))
    }

    /// Drops what is kept for a request that has ended.
    pub fn forget(&self, request: &RequestUid) {
        let mut state = self.state();
        state.collections.retain(|key, _| key.request != *request);
        state.missed.retain(|key, _| key.request != *request);
        state.analyses.remove(request);
        state.manifests.remove(request);
    }
}

/// The reason that a store's refusal has in status.
pub fn reason_of(error: &StoreError) -> Reason {
    match error.kind {
        StoreErrorKind::Refused | StoreErrorKind::NoSuchBucket => Reason::StoreRefused,
        StoreErrorKind::Full => Reason::StoreFull,
        StoreErrorKind::Unreachable => Reason::StoreUnreachable,
        StoreErrorKind::Mismatch | StoreErrorKind::TooLarge => Reason::ArtifactMismatch,
        StoreErrorKind::NotFound | StoreErrorKind::Other => Reason::UploadFailed,
    }
}
