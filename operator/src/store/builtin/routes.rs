//! The built-in store's HTTP side: who may do what, then [`super::disk`] does it.

use super::{
    super::{Folder, Key, MAX_SMALL, Media, keys::hex},
    Begun, Completed, Counted, Problem, Reason,
    disk::{Disk, DiskError, Object, PartWriter, UploadName},
    sign::{self, Query, SigningKey},
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use pitwall_protocol::Part;
use sha2::{Digest as _, Sha256};
use std::{
    fmt,
    io::SeekFrom,
    ops::RangeInclusive,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

/// The longest body of a control request. Ten thousand parts take 1.2 MB.
const MAX_CONTROL: usize = 2 * 1024 * 1024;
/// How much of a body is gathered before it is written.
const CHUNK: usize = 256 * 1024;

/// What every request needs.
#[derive(Clone)]
pub(super) struct Routes {
    pub(super) disk: Arc<Disk>,
    pub(super) key: SharedKey,
    pub(super) clock: Clock,
    pub(super) patience: Patience,
}

/// What time it is; an argument, so that tests can let URLs expire.
pub(super) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How slow a sender may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Between two pieces of a body.
    pub(super) idle: Duration,
    /// For a whole body.
    pub(super) whole: Duration,
}

/// The signing key, which changes when its Secret is made anew.
#[derive(Clone, Debug)]
pub(super) struct SharedKey(Arc<RwLock<SigningKey>>);

impl SharedKey {
    pub(super) fn new(key: SigningKey) -> Self {
        Self(Arc::new(RwLock::new(key)))
    }

    pub(super) fn swap(&self, key: SigningKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = key;
    }

    fn get(&self) -> SigningKey {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A refusal, on its way to the client.
#[derive(Debug)]
struct Refused(Reason, String);

impl Refused {
    fn bad(message: impl fmt::Display) -> Self {
        Self(Reason::BadRequest, message.to_string())
    }
}

impl From<DiskError> for Refused {
    fn from(error: DiskError) -> Self {
        Self(error.reason(), error.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(reason, message) = self;
        let status = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::warn!(?reason, message, "the store could not");
        }
        (status, axum::Json(Problem { reason, message })).into_response()
    }
}

type Answer = Result<Response, Refused>;

/// The store's router.
pub(super) fn router(routes: Routes) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/objects/{*key}", any(objects))
        .route("/folders/{*folder}", any(folders))
        .route("/sweep", any(sweep))
        .fallback(|| async { Refused(Reason::NotFound, "no such address".to_owned()) })
        .with_state(routes)
}

async fn objects(State(routes): State<Routes>, request: Request) -> Answer {
    let query = routes.authorise(&request)?;
    let key = request.uri().path().strip_prefix("/objects/").unwrap_or_default();
    let key = Key::parse(key).map_err(Refused::bad)?;
    match (request.method(), query.get("op")) {
        (&Method::GET | &Method::HEAD, None) => routes.read(key, request.headers()).await,
        (&Method::PUT, Some("part")) => routes.part(key, &query, request).await,
        (&Method::PUT, Some("put")) => routes.put(key, &query, request).await,
        (&Method::POST, Some("begin")) => routes.begin(key, &query).await,
        (&Method::POST, Some("complete")) => routes.complete(key, &query, request).await,
        (&Method::DELETE, Some("abort")) => {
            let upload = upload(&query)?;
            routes.on_disk(move |disk| disk.abort(&upload)).await?;
            Ok(counted(1))
        }
        _ => Err(Refused::bad("no such operation on an object")),
    }
}

async fn folders(State(routes): State<Routes>, request: Request) -> Answer {
    let query = routes.authorise(&request)?;
    let folder = request.uri().path().strip_prefix("/folders/").unwrap_or_default();
    let folder = Folder::parse(folder).map_err(Refused::bad)?;
    match (request.method(), query.get("op")) {
        (&Method::GET, None) => {
            let listing = routes.on_disk(move |disk| disk.list(&folder)).await?;
            Ok(axum::Json(listing).into_response())
        }
        (&Method::DELETE, None) => {
            Ok(counted(routes.on_disk(move |disk| disk.delete_folder(&folder)).await?))
        }
        (&Method::DELETE, Some("abort")) => {
            Ok(counted(routes.on_disk(move |disk| disk.abort_folder(&folder)).await?))
        }
        _ => Err(Refused::bad("no such operation on a folder")),
    }
}

async fn sweep(State(routes): State<Routes>, request: Request) -> Answer {
    let query = routes.authorise(&request)?;
    if request.method() != Method::POST {
        return Err(Refused::bad("sweeping is a POST"));
    }
    let older = Duration::from_secs(number(&query, "older")?);
    let now = (routes.clock)();
    Ok(counted(routes.on_disk(move |disk| disk.sweep(older, now)).await?))
}

impl Routes {
    fn authorise(&self, request: &Request) -> Result<Query, Refused> {
        let uri = request.uri();
        sign::verify(&self.key.get(), request.method().as_str(), uri.path(), uri.query(), (self.clock)())
            .map_err(|refusal| Refused(Reason::Refused, refusal.to_string()))
    }

    /// Runs what blocks off the runtime's threads. It runs to its end even if the client goes.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, Refused> {
        let disk = Arc::clone(&self.disk);
        match tokio::task::spawn_blocking(move || work(&disk)).await {
            Ok(done) => Ok(done?),
            Err(error) => Err(Refused(Reason::Volume, error.to_string())),
        }
    }

    async fn begin(&self, key: Key, query: &Query) -> Answer {
        let media = described(query)?;
        let mut random = [0; 16];
        rustls::crypto::ring::default_provider()
            .secure_random
            .fill(&mut random)
            .map_err(|_| Refused(Reason::Volume, "the machine has no random bytes".to_owned()))?;
        let name = UploadName::new(random);
        let upload = name.as_str().to_owned();
        let now = (self.clock)();
        self.on_disk(move |disk| disk.begin(&key, media, &name, now)).await?;
        Ok(axum::Json(Begun { upload }).into_response())
    }

    async fn part(&self, key: Key, query: &Query, request: Request) -> Answer {
        let upload = upload(query)?;
        let max = number(query, "max")?;
        let part = u32::try_from(number(query, "number")?).map_err(Refused::bad)?;
        refuse_longer(request.headers(), max)?;
        let name = upload.clone();
        let mut writer = self.on_disk(move |disk| disk.start_part(&key, &name, max)).await?;
        let receive = async {
            let mut body = request.into_body().into_data_stream();
            let mut gathered = Vec::new();
            while let Some(bytes) = self.next(&mut body).await? {
                gathered.extend_from_slice(&bytes);
                if gathered.len() >= CHUNK {
                    writer = self.write(writer, std::mem::take(&mut gathered)).await?;
                }
            }
            self.write(writer, gathered).await
        };
        let writer = tokio::time::timeout(self.patience.whole, receive).await.map_err(|_| too_slow())??;
        let etag = self.on_disk(move |disk| disk.finish_part(&upload, part, writer)).await?;
        Ok((StatusCode::OK, [(header::ETAG, format!("\"{etag}\""))]).into_response())
    }

    async fn write(&self, mut writer: PartWriter, bytes: Vec<u8>) -> Result<PartWriter, Refused> {
        self.on_disk(move |_| writer.write(&bytes).map(|()| writer)).await
    }

    async fn next(&self, body: &mut axum::body::BodyDataStream) -> Result<Option<Bytes>, Refused> {
        match tokio::time::timeout(self.patience.idle, body.next()).await {
            Err(_) => Err(too_slow()),
            Ok(None) => Ok(None),
            Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
            Ok(Some(Err(error))) => Err(Refused::bad(format!("the body ended early: {error}"))),
        }
    }

    /// A whole small body, which must be the one that was signed for.
    async fn body(&self, query: &Query, request: Request, max: usize) -> Result<Vec<u8>, Refused> {
        refuse_longer(request.headers(), max as u64)?;
        let receive = async {
            let mut body = request.into_body().into_data_stream();
            let mut gathered = Vec::new();
            while let Some(bytes) = self.next(&mut body).await? {
                if gathered.len() + bytes.len() > max {
                    return Err(too_long(max as u64));
                }
                gathered.extend_from_slice(&bytes);
            }
            Ok(gathered)
        };
        let body = tokio::time::timeout(self.patience.whole, receive).await.map_err(|_| too_slow())??;
        if query.get("sha256") == Some(hex(&Sha256::digest(&body)).as_str()) {
            Ok(body)
        } else {
            Err(Refused(Reason::Refused, "the body isn't the one that the URL was signed for".to_owned()))
        }
    }

    async fn complete(&self, key: Key, query: &Query, request: Request) -> Answer {
        let upload = upload(query)?;
        let max = number(query, "max")?;
        let body = self.body(query, request, MAX_CONTROL).await?;
        let parts: Vec<Part> = serde_json::from_slice(&body).map_err(Refused::bad)?;
        let bytes = self.on_disk(move |disk| disk.complete(&key, &upload, &parts, max)).await?;
        Ok(axum::Json(Completed { bytes }).into_response())
    }

    async fn put(&self, key: Key, query: &Query, request: Request) -> Answer {
        let media = described(query)?;
        let body = self.body(query, request, MAX_SMALL).await?;
        self.on_disk(move |disk| disk.put(&key, &body, media)).await?;
        Ok(StatusCode::OK.into_response())
    }

    async fn read(&self, key: Key, headers: &HeaderMap) -> Answer {
        let Object { file, bytes, media } = self.on_disk(move |disk| disk.read(&key)).await?;
        let wanted = match headers.get(header::RANGE).and_then(|range| range.to_str().ok()) {
            Some(range) => range_of(range, bytes)
                .map_err(|Unsatisfiable| Refused(Reason::Range, format!("the object has {bytes} bytes")))?,
            None => None,
        };
        let (first, length) = match &wanted {
            Some(range) => (*range.start(), range.end() - range.start() + 1),
            None => (0, bytes),
        };
        let mut file = tokio::fs::File::from_std(file);
        if first > 0 {
            file.seek(SeekFrom::Start(first))
                .await
                .map_err(|error| Refused(Reason::Volume, error.to_string()))?;
        }
        let body = Body::from_stream(ReaderStream::with_capacity(file.take(length), 64 * 1024));
        let mut response = Response::new(body);
        if let Some(range) = wanted {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {}-{}/{bytes}", range.start(), range.end());
            put_header(response.headers_mut(), header::CONTENT_RANGE, &range);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length.into());
        put_header(headers, header::CONTENT_TYPE, &media.content_type);
        if let Some(encoding) = &media.content_encoding {
            put_header(headers, header::CONTENT_ENCODING, encoding);
        }
        put_header(headers, header::CONTENT_DISPOSITION, &media.disposition());
        put_header(headers, header::ACCEPT_RANGES, "bytes");
        put_header(headers, header::CACHE_CONTROL, "private, no-store");
        // What comes from pods mustn't run as a page of the API server, through which it may be fetched.
        put_header(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        put_header(headers, header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'");
        Ok(response)
    }
}

/// A range that lies behind the object's end.
#[derive(Debug, PartialEq, Eq)]
struct Unsatisfiable;

/// The bytes that one `Range` names. As HTTP wants it, what isn't understood is ignored: then all are sent.
fn range_of(range: &str, bytes: u64) -> Result<Option<RangeInclusive<u64>>, Unsatisfiable> {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Ok(None);
    };
    let end = bytes.checked_sub(1).ok_or(Unsatisfiable)?;
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), _) if last.is_empty() && first <= end => Ok(Some(first..=end)),
        (Ok(first), Ok(last)) if first <= last && first <= end => Ok(Some(first..=last.min(end))),
        (Ok(first), Ok(last)) if first > last => Ok(None),
        (Ok(_), Ok(_)) => Err(Unsatisfiable),
        (Ok(_), _) if last.is_empty() => Err(Unsatisfiable),
        (Err(_), Ok(0)) if first.is_empty() => Err(Unsatisfiable),
        (Err(_), Ok(count)) if first.is_empty() => Ok(Some(bytes.saturating_sub(count)..=end)),
        _ => Ok(None),
    }
}

fn counted(count: u32) -> Response {
    axum::Json(Counted { count }).into_response()
}

fn put_header(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn upload(query: &Query) -> Result<UploadName, Refused> {
    query.get("upload").and_then(UploadName::parse).ok_or_else(|| Refused::bad("the URL names no upload"))
}

fn number(query: &Query, name: &str) -> Result<u64, Refused> {
    let number = query.get(name).and_then(|text| text.parse().ok());
    number.ok_or_else(|| Refused::bad(format!("the URL has no number {name:?}")))
}

fn described(query: &Query) -> Result<Media, Refused> {
    serde_json::from_str(query.get("media").unwrap_or_default()).map_err(Refused::bad)
}

fn too_slow() -> Refused {
    Refused(Reason::TooSlow, "the body came too slowly".to_owned())
}

fn too_long(max: u64) -> Refused {
    Refused(Reason::TooLarge, format!("the body has more than the {max} bytes that its URL allows"))
}

/// Says so before the body is on its way, where the client tells its length.
fn refuse_longer(headers: &HeaderMap, max: u64) -> Result<(), Refused> {
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > max) { Err(too_long(max)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_within_the_object_or_refused_or_ignored() {
        for (range, bytes, expected) in [
            ("bytes=0-4", 10, Ok(Some(0..=4))),
            ("bytes=5-", 10, Ok(Some(5..=9))),
            ("bytes=5-99", 10, Ok(Some(5..=9))),
            ("bytes=-3", 10, Ok(Some(7..=9))),
            ("bytes=-30", 10, Ok(Some(0..=9))),
            ("bytes=10-", 10, Err(Unsatisfiable)),
            ("bytes=10-12", 10, Err(Unsatisfiable)),
            ("bytes=-0", 10, Err(Unsatisfiable)),
            ("bytes=0-", 0, Err(Unsatisfiable)),
            ("bytes=4-2", 10, Ok(None)),
            ("bytes=a-b", 10, Ok(None)),
            ("bytes=1-2,4-5", 10, Ok(None)),
            ("bytes=-", 10, Ok(None)),
            ("lines=1-2", 10, Ok(None)),
            ("bytes=99999999999999999999-", 10, Ok(None)),
        ] {
            assert_eq!(range_of(range, bytes), expected, "{range} of {bytes}");
        }
    }
}
