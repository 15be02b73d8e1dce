//! The store role: `pitwall-operator store`.

use super::{
    disk::Disk,
    routes::{self, Clock, Patience, Routes, SharedKey},
};
use crate::tls::{self, CertificateError, Incoming, Secrets, ServingCertificate, StoreSecrets};
use clap::Args;
use jiff::Timestamp;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

/// Connections at once.
const MAX_CONNECTIONS: usize = 512;
/// Uploads that nobody completed in this time are thrown away, whatever the operator does: no request lives longer
/// than 24 hours.
const STALE: Duration = Duration::from_hours(25);
const SWEEP: Duration = Duration::from_hours(1);
/// What the volume keeps free, so that removing and bookkeeping always work.
const FLOOR: u64 = 16 << 20;
const PATIENCE: Patience = Patience { idle: Duration::from_secs(30), whole: Duration::from_mins(10) };

/// Settings of the store's role.
#[derive(Clone, Debug, Args)]
pub struct ServeSettings {
    /// Pitwall's own namespace.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,
    /// The volume.
    #[arg(long)]
    pub data_dir: PathBuf,
    /// Where to listen.
    #[arg(long, default_value = "0.0.0.0:8443")]
    pub address: SocketAddr,
    /// Bytes to use of the volume at most; 0 for all of it.
    #[arg(long, default_value_t = 0)]
    pub capacity: u64,
}

/// Why the store role can't run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The volume.
    #[error("opening the data folder {path}: {source}; check that the volume is mounted there and writable")]
    Data {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The port.
    #[error("listening on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The cluster.
    #[error("reaching the API server: {0}")]
    Cluster(#[from] kube::Error),
}

/// Runs the store until `shutdown`.
pub async fn run(settings: ServeSettings, shutdown: CancellationToken) -> Result<(), ServeError> {
    let disk = open(&settings.data_dir, settings.capacity).await?;
    let secrets = Secrets::new(kube::Client::try_default().await?, &settings.namespace);
    let Some(present) = shutdown.run_until_cancelled(secrets.await_store()).await else { return Ok(()) };
    let certificate = ServingCertificate::new(&present.leaf)?;
    let (_, incoming) = tls::listen(settings.address, certificate.clone(), MAX_CONNECTIONS, shutdown.clone())
        .await
        .map_err(|source| ServeError::Listen { address: settings.address, source })?;
    tracing::info!(address = %settings.address, data = %settings.data_dir.display(), used = disk.used(), "ready");
    let (sender, renewed) = watch::channel(present);
    tokio::spawn(
        shutdown.clone().run_until_cancelled_owned(async move { secrets.follow_store(sender).await }),
    );
    serve(incoming, certificate, disk, renewed, Arc::new(clock), PATIENCE, shutdown).await;
    Ok(())
}

/// Serves connections, however they come about, by any clock.
pub(super) async fn serve(
    incoming: Incoming,
    certificate: ServingCertificate,
    disk: Disk,
    mut renewed: watch::Receiver<StoreSecrets>,
    clock: Clock,
    patience: Patience,
    shutdown: CancellationToken,
) {
    let disk = Arc::new(disk);
    let key = SharedKey::new(renewed.borrow_and_update().signing_key.clone());
    let routes = Routes { disk: Arc::clone(&disk), key: key.clone(), clock: Arc::clone(&clock), patience };
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(async move {
        while renewed.changed().await.is_ok() {
            let secrets = renewed.borrow_and_update().clone();
            key.swap(secrets.signing_key);
            match certificate.replace(&secrets.leaf) {
                Ok(()) => tracing::info!("took the renewed certificate and key"),
                Err(error) => tracing::error!(%error, "the renewed certificate can't be served"),
            }
        }
    }));
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(sweep(disk, clock)));
    tls::serve_router(incoming, routes::router(routes), shutdown).await;
}

async fn open(data: &Path, capacity: u64) -> Result<Disk, ServeError> {
    let path = data.to_owned();
    let capacity = (capacity > 0).then_some(capacity);
    let opened = tokio::task::spawn_blocking(move || Disk::open(&path, capacity, FLOOR)).await;
    opened
        .unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)))
        .map_err(|source| ServeError::Data { path: data.to_owned(), source })
}

/// At start and then every hour.
async fn sweep(disk: Arc<Disk>, clock: Clock) {
    loop {
        let (disk, now) = (Arc::clone(&disk), clock());
        match tokio::task::spawn_blocking(move || disk.sweep(STALE, now)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => tracing::info!(count, "threw stale uploads away"),
            Ok(Err(error)) => tracing::warn!(%error, "throwing stale uploads away; trying again in an hour"),
            Err(error) => tracing::error!(%error, "throwing stale uploads away"),
        }
        sleep(SWEEP).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the store role's clock, for expiry and for sweeping")]
fn clock() -> Timestamp {
    Timestamp::now()
}
