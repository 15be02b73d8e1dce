//! The store's role of the binary.

use super::{
    disk::{Disk, DiskError, Etag},
    sign::{SignatureError, SigningKey},
};
use crate::{
    store::{Folder, Key, Media},
    tls::{self, Secrets, ServingCertificate},
};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use clap::Args;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Limited};
use pitwall_protocol::Part;
use std::{io::Write, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::RwLock, time::timeout};
use tokio_util::{io::ReaderStream, sync::CancellationToken};

/// Connections at once.
const MAX_CONNECTIONS: usize = 1024;
/// The longest body of a control call.
const MAX_CONTROL: usize = 2 << 20;
/// A part whose bytes stop coming for this long is given up.
const STALL: Duration = Duration::from_secs(30);
/// Uploads that nobody touched for this long are forgotten: no request lives longer than 24 h.
const ORPHAN_AGE: Duration = Duration::from_secs(25 * 3600);

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

/// Serves until `shutdown`.
pub async fn run(settings: ServeSettings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let client = kube::Client::try_default().await?;
    let secrets = Secrets::new(client, &settings.namespace);
    let stored = tokio::select! {
        stored = secrets.await_store() => stored,
        () = shutdown.cancelled() => return Ok(()),
    };
    let certificate = ServingCertificate::new(&stored.leaf)?;
    let disk = Disk::open(&settings.data_dir, settings.capacity)?;
    let (address, incoming) =
        tls::listen(settings.address, certificate.clone(), MAX_CONNECTIONS, shutdown.clone()).await?;
    tracing::info!(%address, folder = %settings.data_dir.display(), "the store serves");
    tokio::spawn(async move { secrets.follow_store(certificate).await });
    tokio::spawn(sweep(disk.clone()));
    tls::serve_router(incoming, router(disk, SigningKey::new(&stored.signing_key)), shutdown).await;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the sweeper is IO")]
async fn sweep(disk: Disk) {
    loop {
        match disk.sweep(ORPHAN_AGE, std::time::SystemTime::now()) {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "forgot uploads that nobody finished"),
            Err(error) => tracing::warn!(%error, "could not look for unfinished uploads"),
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}

struct Shared {
    disk: Disk,
    key: SigningKey,
    /// Parts are written side by side; completing and deleting are alone.
    lock: RwLock<()>,
}

pub(super) fn router(disk: Disk, key: SigningKey) -> Router {
    Router::new().route("/healthz", get(|| async { "ok" })).fallback(answer).with_state(Arc::new(Shared {
        disk,
        key,
        lock: RwLock::new(()),
    }))
}

/// What is said instead of what was asked for.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

impl From<DiskError> for Refusal {
    fn from(error: DiskError) -> Self {
        let status = match &error {
            DiskError::NotFound => StatusCode::NOT_FOUND,
            DiskError::Discrepancy(crate::store::parts::Discrepancy::TooLarge { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            DiskError::Discrepancy(_) => StatusCode::CONFLICT,
            DiskError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            DiskError::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                StatusCode::INSUFFICIENT_STORAGE
            }
            DiskError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!(%error, "the volume");
        }
        Self(status, error.to_string())
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        DiskError::Io(error).into()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn bad(why: impl ToString) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, why.to_string())
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let query = Query::check(&shared.key, &parts.method, &parts.uri)?;
    let path = parts.uri.path().trim_start_matches('/');
    let control = async |body: Body| {
        let read = timeout(STALL, Limited::new(body, MAX_CONTROL).collect()).await;
        read.map_err(bad)?.map(http_body_util::Collected::to_bytes).map_err(bad)
    };
    match (parts.method, query.get("op")?) {
        (Method::PUT, "part") => put_part(&shared, &Key::parse(path).map_err(bad)?, &query, body).await,
        (Method::GET, "get") => get_object(&shared, &Key::parse(path).map_err(bad)?),
        (Method::POST, "begin") => {
            let media: Media = serde_json::from_slice(&control(body).await?).map_err(bad)?;
            shared.disk.make_room(1)?;
            Ok(shared.disk.begin(&Key::parse(path).map_err(bad)?, media)?.into_response())
        }
        (Method::POST, "complete") => {
            let claimed: Vec<Part> = serde_json::from_slice(&control(body).await?).map_err(bad)?;
            let key = Key::parse(path).map_err(bad)?;
            let (upload, max) = (query.get("upload")?.to_owned(), query.number("max")?);
            let _alone = shared.lock.write().await;
            let disk = shared.disk.clone();
            let bytes = blocking(move || disk.complete(&key, &upload, &claimed, max)).await?;
            Ok(bytes.to_string().into_response())
        }
        (Method::POST, "delete") => {
            let folder = Folder::parse(path).map_err(bad)?;
            let _alone = shared.lock.write().await;
            let disk = shared.disk.clone();
            blocking(move || disk.delete(&folder)).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        (method, op) => Err(bad(format!("{method} doesn't go with op={op}"))),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DiskError> + Send + 'static,
) -> Result<T, DiskError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| DiskError::Io(std::io::Error::other(error)))?
}

async fn put_part(shared: &Shared, key: &Key, query: &Query, body: Body) -> Result<Response, Refusal> {
    let max = query.number("max")?;
    let number = u32::try_from(query.number("part")?).map_err(bad)?;
    let _together = shared.lock.read().await;
    shared.disk.make_room(max)?;
    let mut file = shared.disk.temporary()?;
    let mut etag = Etag::default();
    let mut bytes = 0_u64;
    let mut stream = body.into_data_stream();
    while let Some(chunk) = timeout(STALL, stream.next()).await.map_err(bad)? {
        let chunk = chunk.map_err(bad)?;
        bytes += chunk.len() as u64;
        if bytes > max {
            return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("a part has at most {max} bytes")));
        }
        etag.update(&chunk);
        file.write_all(&chunk)?;
    }
    let etag = etag.finish();
    let (disk, key, upload, kept) =
        (shared.disk.clone(), key.clone(), query.get("upload")?.to_owned(), etag.clone());
    blocking(move || disk.keep_part(&key, &upload, number, &kept, file)).await?;
    Ok((StatusCode::OK, [(header::ETAG, format!("\"{etag}\""))]).into_response())
}

fn get_object(shared: &Shared, key: &Key) -> Result<Response, Refusal> {
    let described = shared.disk.describe(key)?;
    let (file, bytes) = shared.disk.read(key)?;
    let media = described.media;
    let mut response = Response::builder()
        .header(header::CONTENT_LENGTH, bytes)
        .header(header::CONTENT_TYPE, media.content_type)
        .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", media.file_name))
        // What tenants' apps named must not run in a browser that comes here.
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::CACHE_CONTROL, "no-store");
    if let Some(encoding) = media.content_encoding {
        response = response.header(header::CONTENT_ENCODING, encoding);
    }
    let body = Body::from_stream(ReaderStream::with_capacity(tokio::fs::File::from_std(file), 64 * 1024));
    response.body(body).map_err(bad)
}

/// The pairs of a URL whose signature was checked.
struct Query(Vec<(String, String)>);

impl Query {
    #[expect(clippy::disallowed_methods, reason = "the server is IO; `check` takes the time as an argument")]
    fn check(key: &SigningKey, method: &Method, uri: &Uri) -> Result<Self, Refusal> {
        let query = uri.query().unwrap_or_default();
        let refused = |error: SignatureError| Refusal(StatusCode::FORBIDDEN, error.to_string());
        key.check(method.as_str(), uri.path(), query, jiff::Timestamp::now()).map_err(refused)?;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Ok(Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    fn get(&self, name: &str) -> Result<&str, Refusal> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).ok_or_else(|| bad(format!("the URL has no {name}")))
    }

    fn number(&self, name: &str) -> Result<u64, Refusal> {
        self.get(name)?.parse().map_err(bad)
    }
}
