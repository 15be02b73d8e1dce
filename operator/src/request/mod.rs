//! A `ProfileRequest`'s life, as five steps: observe, validate, plan, apply, status.
//!
//! [`plan`], [`targets`], [`status`] and [`validate`] are pure, so every race that matters is a table test.
//! [`observe`], [`apply`] and [`collect`] do the IO and decide nothing.

mod apply;
mod bounds;
mod collect;
pub mod events;
pub mod finalizer;
mod manifest;
pub mod observe;
pub mod plan;
mod rollout;
pub mod status;
pub mod targets;
pub mod tombstones;
pub mod validate;
pub mod work;

use crate::{
    analysis::Analyser,
    channel::{Registry, pods::Pods, registry::Wake},
    metrics::Metrics,
    store::{Folder, Prefix, Store},
};
use futures_util::{FutureExt, Stream, StreamExt};
use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::{
        Controller,
        controller::{Action, Config},
        events::Recorder,
        reflector::{ObjectRef, Store as Cache},
        watcher,
    },
};
use pitwall_crds::{ProfileRequest, ProfileRequestStatus, names::FIELD_MANAGER};
use pitwall_protocol::RequestUid;
use serde_json::json;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// Reconciles that run at once.
const CONCURRENCY: u16 = 16;
/// The longest pause after failures of one request's reconcile.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// What reconciling needs.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The sidecars.
    pub registry: Arc<Registry>,
    /// The injected pods.
    pub pods: Pods,
    /// Where artifacts go.
    pub store: Store,
    /// What stands before every key.
    pub prefix: Prefix,
    /// Analysis in a child process.
    pub analyser: Analyser,
    /// Background work.
    pub work: Work,
    /// A folder for artifacts that are checked and analysed.
    pub scratch: PathBuf,
    /// Events.
    pub recorder: Recorder,
    /// Figures.
    pub metrics: Metrics,
    /// Pitwall's own namespace.
    pub namespace: String,
    /// Background tasks.
    pub tasks: TaskTracker,
    requests: OnceLock<Cache<ProfileRequest>>,
    memory: Mutex<HashMap<RequestUid, Memory>>,
}

pub use work::Work;

/// What is remembered between two reconciles of a request.
#[derive(Default)]
struct Memory {
    failures: u32,
    writes: status::Writes,
    held: bool,
}

impl Context {
    /// A context whose cache of requests fills when [`run`] begins.
    #[expect(clippy::too_many_arguments, reason = "named at its only call, and each a distinct type")]
    pub fn new(
        client: Client,
        registry: Arc<Registry>,
        pods: Pods,
        store: Store,
        prefix: Prefix,
        analyser: Analyser,
        scratch: PathBuf,
        recorder: Recorder,
        metrics: Metrics,
        namespace: String,
    ) -> Self {
        Self {
            client,
            registry,
            pods,
            store,
            prefix,
            analyser,
            work: Work::default(),
            scratch,
            recorder,
            metrics,
            namespace,
            tasks: TaskTracker::new(),
            requests: OnceLock::new(),
            memory: Mutex::default(),
        }
    }

    /// Every request, as far as they are known.
    pub fn requests(&self) -> Vec<Arc<ProfileRequest>> {
        self.requests.get().map(Cache::state).unwrap_or_default()
    }

    /// The request with this uid, if it exists.
    pub fn find(&self, uid: &RequestUid) -> Option<ObjectRef<ProfileRequest>> {
        let requests = self.requests();
        let found =
            requests.iter().find(|request| request.metadata.uid.as_deref() == Some(uid.0.as_str()))?;
        Some(ObjectRef::from_obj(&**found))
    }

    /// Whether the cache of requests has been filled, so that an unknown uid means a deleted request.
    pub fn knows_requests(&self) -> bool {
        self.requests.get().is_some_and(|cache| cache.wait_until_ready().now_or_never().is_some())
    }

    /// The folder of a request's artifacts.
    pub fn folder(&self, request: &validate::ValidRequest) -> Folder {
        self.prefix.folder(&request.namespace, request.target.folder_name(), &request.name, &request.uid.0)
    }

    fn remember<T>(&self, uid: &RequestUid, change: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memory = self.memory.lock().expect("no panic happens while the memory is held");
        change(memory.entry(uid.clone()).or_default())
    }

    fn forget(&self, uid: &RequestUid) {
        self.memory.lock().expect("no panic happens while the memory is held").remove(uid);
        self.work.forget(uid);
        self.registry.forget(uid);
    }
}

/// A reconcile that could not be finished; it is tried again, later each time.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server refused or was away.
    #[error("{step}: {source}")]
    Api {
        /// The step that asked.
        step: &'static str,
        /// What it said.
        source: kube::Error,
    },
    /// The store refused or was away, while a deletion waits for it.
    #[error("deleting the artifacts: {0}")]
    Store(#[from] crate::store::StoreError),
}

/// Reconciles until its future is dropped.
pub async fn run(ctx: Arc<Context>, woken: &mut mpsc::UnboundedReceiver<Wake>) {
    let api = Api::<ProfileRequest>::all(ctx.client.clone());
    let controller = Controller::new(api, watcher::Config::default().page_size(500));
    let cache = controller.store();
    ctx.requests.set(cache.clone()).ok();
    // The registry outlives a term, the controller doesn't: what wakes it goes through a queue of its own.
    let (forward, forwarded) = mpsc::unbounded_channel();
    let wakes = wakes(forwarded, ctx.clone());
    let reconciling = controller
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(wakes)
        .run(reconcile, on_error, ctx)
        .for_each(|outcome| async move {
            if let Err(error) = outcome {
                tracing::debug!(%error, "a reconcile did not end well");
            }
        });
    let forwarding = async {
        while let Some(wake) = woken.recv().await {
            if forward.send(wake).is_err() {
                break;
            }
        }
    };
    tokio::select! { () = reconciling => {}, () = forwarding => {} }
}

/// The requests that the registry's changes are about.
fn wakes(
    mut woken: mpsc::UnboundedReceiver<Wake>,
    ctx: Arc<Context>,
) -> impl Stream<Item = ObjectRef<ProfileRequest>> + Send {
    futures_util::stream::poll_fn(move |cx| woken.poll_recv(cx)).flat_map(move |wake| {
        let refs: Vec<_> = match wake {
            Wake::Request(uid) => ctx.find(&uid).into_iter().collect(),
            Wake::Waiting => {
                let requests = ctx.requests();
                let waiting = requests.iter().filter(|request| {
                    let phase = request.status.as_ref().and_then(|status| status.phase);
                    matches!(phase, None | Some(pitwall_crds::Phase::Pending | pitwall_crds::Phase::Running))
                });
                waiting.map(|request| ObjectRef::from_obj(&**request)).collect()
            }
        };
        futures_util::stream::iter(refs)
    })
}

async fn reconcile(request: Arc<ProfileRequest>, ctx: Arc<Context>) -> Result<Action, ReconcileError> {
    let now = now();
    let valid = match validate::validate(&request) {
        Ok(valid) => valid,
        Err(invalid) => {
            let status = status::refused(&request, &invalid.to_string(), now);
            write(&ctx, &request, &status).await?;
            return Ok(Action::await_change());
        }
    };
    let observed = observe::observe(&ctx, &valid, now)
        .await
        .map_err(|source| ReconcileError::Api { step: "looking at the target's pods", source })?;
    let plan = plan::plan(&valid, &observed, now);
    let again = plan.again;
    let applied = apply::apply(&ctx, &valid, &plan).await?;
    let next = status::status(&valid, &observed, plan, &applied, now);

    let analyses = status::awaits_analysis(&next);
    let writes = ctx.remember(&valid.uid, |memory| {
        memory.writes.analysing = analyses.then(|| memory.writes.analysing.unwrap_or(now));
        memory.writes
    });
    let mut again = again;
    if valid.deleted.is_none() && status::is_worth_writing(&valid.previous, &next, writes, now) {
        write(&ctx, &request, &next).await?;
        ctx.remember(&valid.uid, |memory| memory.writes.last = Some(now));
        events::announce(&ctx, &request, &valid.previous, &next).await;
    } else if analyses {
        again = Some(again.unwrap_or(MAX_BACKOFF).min(status::ANALYSIS_QUIET.unsigned_abs()));
    }
    ctx.remember(&valid.uid, |memory| memory.failures = 0);
    Ok(again.map_or_else(Action::await_change, Action::requeue))
}

async fn write(
    ctx: &Context,
    request: &ProfileRequest,
    status: &ProfileRequestStatus,
) -> Result<(), ReconcileError> {
    let metadata = &request.metadata;
    let api = Api::<ProfileRequest>::namespaced(
        ctx.client.clone(),
        metadata.namespace.as_deref().unwrap_or_default(),
    );
    let patch = json!({
        "apiVersion": "pitwall.dev/v1alpha1",
        "kind": "ProfileRequest",
        // The uid, so that a status never lands on a later request of the same name.
        "metadata": { "name": metadata.name, "uid": metadata.uid },
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let name = metadata.name.as_deref().unwrap_or_default();
    ctx.metrics.status_writes.inc();
    match api.patch_status(name, &params, &Patch::Apply(&patch)).await {
        Ok(_) => Ok(()),
        // Deleted meanwhile, or made anew: nothing to say any more.
        Err(kube::Error::Api(response)) if response.code == 404 || response.code == 409 => Ok(()),
        Err(source) => Err(ReconcileError::Api { step: "writing the status", source }),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
fn on_error(request: Arc<ProfileRequest>, error: &ReconcileError, ctx: Arc<Context>) -> Action {
    let uid = RequestUid(request.metadata.uid.clone().unwrap_or_default());
    let failures = ctx.remember(&uid, |memory| {
        memory.failures = memory.failures.saturating_add(1);
        memory.failures
    });
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
    tracing::warn!(namespace, name, failures, %error, "could not reconcile; it is tried again");
    let backoff = Duration::from_millis(250).saturating_mul(1 << failures.min(10)).min(MAX_BACKOFF);
    Action::requeue(backoff.mul_f64(0.5 + fastrand::f64() / 2.0))
}

#[expect(clippy::disallowed_methods, reason = "the reconcile loop is IO; each step gets this as an argument")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
