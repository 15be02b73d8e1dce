//! The controller's role: what runs in every replica, and what in the leader alone.

use crate::{
    analysis::Analyser,
    channel::{Acceptor, Registry, accept, identity::Keys, pods},
    download::{self, Downloads},
    inject,
    leader::{self, Candidate},
    metrics::Metrics,
    request::{self, Context, finalizer, tombstones},
    settings::Run,
    store::Store,
    tls::{self, Secrets, ServingCertificate},
};
use anyhow::Context as _;
use futures_util::StreamExt;
use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use pitwall_protocol::OperatorMessage;
use std::{sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

/// Sidecars that one replica serves at once; descriptors are what bounds it.
const MAX_SIDECARS: usize = 16_000;
/// Calls of the webhook at once.
const MAX_REVIEWS: usize = 256;
/// How often certificates are looked at.
const RENEWAL: Duration = Duration::from_mins(2);
/// How often gauges are set, and sidecars' orphaned sessions looked for.
const ROUND: Duration = Duration::from_secs(5);

/// A token that SIGTERM or SIGINT cancels.
pub(crate) fn on_signal() -> anyhow::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancelled = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        cancelled.cancel();
    });
    Ok(shutdown)
}

pub(crate) async fn run(settings: Run, shutdown: CancellationToken) -> anyhow::Result<()> {
    let client = Client::try_default().await.context("reaching the API server")?;
    let metrics = Metrics::new()?;
    let probes = TcpListener::bind(settings.metrics_address).await.context("binding the metrics address")?;
    tokio::spawn(axum::serve(probes, metrics.clone().router()).into_future());

    let secrets = Secrets::new(client.clone(), &settings.namespace);
    let stored = secrets.ensure(request::now()).await.context("making the certificates")?;
    let certificate = ServingCertificate::new(&stored.leaf)?;
    let store = Store::connect(&settings.store, &stored.signing_key, &stored.ca).await?;
    let (ca_sender, ca) = watch::channel(stored.ca.clone());
    tokio::spawn(renew(secrets, certificate.clone(), store.clone(), ca_sender));

    let (_, webhook) =
        tls::listen(settings.webhook_address, certificate.clone(), MAX_REVIEWS, shutdown.clone()).await?;
    let injector = inject::router(settings.inject.clone(), ca.clone(), client.clone(), &settings.namespace);
    tokio::spawn(tls::serve_router(webhook, injector, shutdown.clone()));

    let (channel_address, incoming) =
        tls::listen(settings.channel_address, certificate, MAX_SIDECARS, shutdown.clone()).await?;
    let (registry, mut woken) = Registry::new();
    let registry = Arc::new(registry);
    let (pods, pod_events) = pods::watch(client.clone(), registry.clone());
    tokio::spawn(pod_events.for_each(|()| async {}));

    let (term_sender, term) = watch::channel(None);
    let acceptor = Acceptor {
        registry: registry.clone(),
        keys: Keys::new(client.clone()),
        pods: pods.clone(),
        epoch: term.clone(),
        ca: ca.clone(),
        store: store.clone(),
    };
    tokio::spawn(accept::run(Arc::new(acceptor), incoming, shutdown.clone()));
    metrics.set_ready();
    tracing::info!(%channel_address, store = %settings.store, "ready");

    let candidate = Candidate { pod: settings.pod_name.clone(), namespace: settings.namespace.clone() };
    let election = tokio::spawn(leader::run(client.clone(), candidate, term_sender, shutdown.clone()));
    let mut leading = term;
    while leading.wait_for(Option::is_some).await.is_ok() {
        metrics.leading.set(1);
        // Anew for each term: what another replica did meanwhile is not in this one's memory.
        let ctx = Arc::new(Context::new(
            client.clone(),
            registry.clone(),
            pods.clone(),
            store.clone(),
            settings.store.prefix()?,
            Analyser::new(settings.analysers),
            settings.scratch_dir.clone(),
            Recorder::new(client.clone(), reporter(&settings.pod_name)),
            metrics.clone(),
            settings.namespace.clone(),
        ));
        let downloads =
            Downloads { client: client.clone(), store: store.clone(), prefix: settings.store.prefix()? };
        let lost = async {
            let mut leading = leading.clone();
            let _ = leading.wait_for(Option::is_none).await;
        };
        tokio::select! {
            () = request::run(ctx.clone(), &mut woken) => {}
            () = download::run(Arc::new(downloads)) => {}
            () = tombstones::sweep(ctx.clone()) => {}
            () = inject::keep_ca_bundle(client.clone(), ca.clone()) => {}
            () = inject::announce_left_alone(client.clone(), reporter(&settings.pod_name)) => {}
            () = look_after(ctx.clone()) => {}
            () = lost => {}
        }
        metrics.leading.set(0);
        ctx.tasks.close();
        if shutdown.is_cancelled() {
            let _ = tokio::time::timeout(Duration::from_secs(5), ctx.tasks.wait()).await;
            finalizer::farewell(&ctx).await;
            break;
        }
    }
    let _ = election.await;
    Ok(())
}

fn reporter(pod: &str) -> Reporter {
    Reporter { controller: "pitwall.dev/operator".to_owned(), instance: Some(pod.to_owned()) }
}

async fn renew(secrets: Secrets, certificate: ServingCertificate, store: Store, ca: watch::Sender<String>) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        match secrets.ensure(request::now()).await {
            Ok(stored) => {
                if let Err(error) = certificate.replace(&stored.leaf) {
                    tracing::error!(%error, "the renewed certificate can't be served");
                }
                if let Err(error) = store.renew(&stored.signing_key, &stored.ca) {
                    tracing::error!(%error, "the store's client can't take the renewed CA");
                }
                ca.send_if_modified(|current| std::mem::replace(current, stored.ca.clone()) != stored.ca);
            }
            Err(error) => tracing::warn!(%error, "could not look after the certificates"),
        }
    }
}

/// Sets the gauges, and ends the sessions of requests that were deleted while no operator ran.
async fn look_after(ctx: Arc<Context>) {
    loop {
        tokio::time::sleep(ROUND).await;
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        ctx.metrics.sidecars.set(signed(ctx.registry.connections()));
        ctx.metrics.sessions.set(signed(ctx.registry.active_sessions()));
        if !ctx.knows_requests() {
            continue;
        }
        for uid in ctx.registry.requests() {
            if ctx.find(&uid).is_some() {
                continue;
            }
            for (key, report) in ctx.registry.sessions(&uid) {
                let message = if report.phase.is_end() {
                    OperatorMessage::Acknowledge { request: uid.clone(), process: key.process }
                } else {
                    OperatorMessage::Stop(pitwall_protocol::Stop {
                        request: uid.clone(),
                        keep: false,
                        why: None,
                    })
                };
                ctx.registry.send(&key.pod, message);
            }
        }
    }
}
