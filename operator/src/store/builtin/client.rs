//! The operator's side of the built-in store: signs URLs, and calls the control side.

use super::{
    super::{
        Body, Download, Folder, Key, Listing, Media, PART_SIZE, SettingsError, StoreError, StoreErrorKind,
        UploadId, keys::hex,
    },
    Begun, Completed, Counted, Problem, SigningKey, sign,
};
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use pitwall_protocol::Part;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tokio_util::io::StreamReader;

/// How long the operator's own URLs are good for. They are used at once.
const CONTROL_TTL: Duration = Duration::from_mins(5);
/// TCP and TLS together.
const CONNECT: Duration = Duration::from_secs(5);
/// Until the answer begins. Joining the parts of a large object takes its time.
const ANSWER: Duration = Duration::from_mins(2);
/// Between two pieces of an answer.
const STALL: Duration = Duration::from_secs(30);
const TRIES: u32 = 3;
/// The longest answer that isn't an object.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// A URL that isn't the built-in store's.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} is no address of the built-in store: {problem}")]
pub struct AddressError {
    url: String,
    problem: &'static str,
}

/// The store role, as the operator reaches it.
pub(in crate::store) struct BuiltinStore {
    address: Address,
    trust: RwLock<Trust>,
}

/// What both sides share. Changes while running.
#[derive(Clone)]
struct Trust {
    key: SigningKey,
    /// The operator's CA bundle, PEM.
    ca: String,
    connector: TlsConnector,
}

impl Trust {
    fn new(key: SigningKey, ca: &str) -> Result<Self, SettingsError> {
        Ok(Self { key, ca: ca.to_owned(), connector: connector(ca).map_err(SettingsError::Ca)? })
    }
}

#[derive(Debug)]
struct Address {
    /// `https://host:port`
    base: String,
    /// `host:port`
    authority: String,
    server: ServerName<'static>,
    /// Namespace and name, when the host is a Service's.
    service: Option<(String, String)>,
    port: u16,
    place: String,
}

impl Address {
    fn parse(text: &str) -> Result<Self, AddressError> {
        let fail = |problem| AddressError { url: text.to_owned(), problem };
        let url = url::Url::parse(text).map_err(|_| fail("it is no URL"))?;
        if url.scheme() != "https" {
            return Err(fail("it doesn't begin with https://"));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() {
            return Err(fail("it has more than a host and a port"));
        }
        let host = url.host_str().ok_or_else(|| fail("it has no host"))?;
        let port = url.port_or_known_default().unwrap_or(443);
        let server = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| fail("its host is neither a name nor an IP address"))?;
        let labels: Vec<_> = host.split('.').collect();
        let service = match labels[..] {
            [name, namespace, "svc", ..] => Some((namespace.to_owned(), name.to_owned())),
            _ => None,
        };
        Ok(Self {
            base: format!("https://{host}:{port}"),
            authority: format!("{host}:{port}"),
            server,
            service,
            port,
            place: format!("the built-in store ({host}:{port})"),
        })
    }
}

impl std::fmt::Debug for BuiltinStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuiltinStore").field("address", &self.address.base).finish_non_exhaustive()
    }
}

/// One call to the control side.
struct Call<'a> {
    tried: String,
    method: Method,
    path: String,
    query: &'a [(&'a str, &'a str)],
    body: Bytes,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("connecting: {0}")]
    Connect(io::Error),
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl BuiltinStore {
    /// The store at `https://NAME.NAMESPACE.svc:PORT`. Nothing is sent yet.
    pub(in crate::store) fn connect(url: &str, key: SigningKey, ca: &str) -> Result<Self, SettingsError> {
        Ok(Self { address: Address::parse(url)?, trust: RwLock::new(Trust::new(key, ca)?) })
    }

    pub(in crate::store) fn renew(&self, key: SigningKey, ca: &str) -> Result<(), SettingsError> {
        let renewed = Trust::new(key, ca)?;
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    fn trust(&self) -> Trust {
        self.trust.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[expect(clippy::unnecessary_wraps, reason = "the stores share this signature")]
    pub(in crate::store) fn ca(&self) -> Option<String> {
        Some(self.trust().ca)
    }

    pub(in crate::store) fn sign_parts(
        &self,
        key: &Key,
        upload: &UploadId,
        numbers: std::ops::RangeInclusive<u32>,
        ttl: Duration,
        now: Timestamp,
    ) -> Vec<String> {
        let (max, path, trust) = (PART_SIZE.to_string(), object_path(key), self.trust());
        let sign = |number: u32| {
            let query =
                [("op", "part"), ("upload", upload.as_str()), ("number", &number.to_string()), ("max", &max)];
            format!("{}{}", self.address.base, sign::sign(&trust.key, "PUT", &path, &query, ttl, now))
        };
        numbers.map(sign).collect()
    }

    pub(in crate::store) fn sign_get(&self, key: &Key, ttl: Duration, now: Timestamp) -> Download {
        let trust = self.trust();
        let path = sign::sign(&trust.key, "GET", &object_path(key), &[], ttl, now);
        match &self.address.service {
            Some((namespace, name)) => {
                let service = (namespace.clone(), name.clone(), self.address.port);
                Download { url: path, service: Some(service), ca: None }
            }
            None => {
                Download { url: format!("{}{path}", self.address.base), service: None, ca: Some(trust.ca) }
            }
        }
    }

    pub(in crate::store) async fn begin(&self, key: &Key, media: &Media) -> Result<UploadId, StoreError> {
        let begun: Begun = self
            .ask(Call {
                tried: format!("beginning the upload of {key}"),
                method: Method::POST,
                path: object_path(key),
                query: &[("op", "begin"), ("media", &json(media))],
                body: Bytes::new(),
            })
            .await?;
        UploadId::parse(&begun.upload)
    }

    pub(in crate::store) async fn complete(
        &self,
        key: &Key,
        upload: &UploadId,
        parts: &[Part],
        max_bytes: u64,
    ) -> Result<u64, StoreError> {
        let body = json(&parts);
        let (max, sha256) = (max_bytes.to_string(), hex(&Sha256::digest(&body)));
        let completed: Completed = self
            .ask(Call {
                tried: format!("completing the upload of {key}"),
                method: Method::POST,
                path: object_path(key),
                query: &[("op", "complete"), ("upload", upload.as_str()), ("max", &max), ("sha256", &sha256)],
                body: body.into(),
            })
            .await?;
        Ok(completed.bytes)
    }

    pub(in crate::store) async fn abort(&self, key: &Key, upload: &UploadId) -> Result<(), StoreError> {
        let _: Counted = self
            .ask(Call {
                tried: format!("aborting the upload of {key}"),
                method: Method::DELETE,
                path: object_path(key),
                query: &[("op", "abort"), ("upload", upload.as_str())],
                body: Bytes::new(),
            })
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn abort_folder(&self, folder: &Folder) -> Result<u32, StoreError> {
        self.count(
            format!("aborting the uploads of {folder}"),
            Method::DELETE,
            folder_path(folder),
            &[("op", "abort")],
        )
        .await
    }

    pub(in crate::store) async fn delete_folder(&self, folder: &Folder) -> Result<(), StoreError> {
        self.count(format!("deleting {folder}"), Method::DELETE, folder_path(folder), &[]).await.map(drop)
    }

    pub(in crate::store) async fn sweep(&self, older_than: Duration) -> Result<u32, StoreError> {
        let older = older_than.as_secs().to_string();
        let tried = "aborting old uploads".to_owned();
        self.count(tried, Method::POST, "/sweep".to_owned(), &[("older", &older)]).await
    }

    pub(in crate::store) async fn list(&self, folder: &Folder) -> Result<Listing, StoreError> {
        self.ask(Call {
            tried: format!("listing {folder}"),
            method: Method::GET,
            path: folder_path(folder),
            query: &[],
            body: Bytes::new(),
        })
        .await
    }

    pub(in crate::store) async fn put_small(
        &self,
        key: &Key,
        bytes: Bytes,
        media: &Media,
    ) -> Result<(), StoreError> {
        let sha256 = hex(&Sha256::digest(&bytes));
        self.answered(&Call {
            tried: format!("writing {key}"),
            method: Method::PUT,
            path: object_path(key),
            query: &[("op", "put"), ("media", &json(media)), ("sha256", &sha256)],
            body: bytes,
        })
        .await?;
        Ok(())
    }

    pub(in crate::store) async fn open(&self, key: &Key) -> Result<Body, StoreError> {
        let call = Call {
            tried: format!("reading {key}"),
            method: Method::GET,
            path: object_path(key),
            query: &[],
            body: Bytes::new(),
        };
        let response = self.answered(&call).await?;
        let chunks = futures_util::stream::unfold(Some(response.into_body()), |body| async {
            let mut body = body?;
            loop {
                let failed = match timeout(STALL, body.frame()).await {
                    Ok(None) => return None,
                    Ok(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => return Some((Ok(data), Some(body))),
                        Err(_trailers) => continue,
                    },
                    Ok(Some(Err(error))) => io::Error::other(error),
                    Err(_) => io::Error::new(io::ErrorKind::TimedOut, "the store stalled"),
                };
                return Some((Err(failed), None));
            }
        });
        Ok(Box::pin(StreamReader::new(Box::pin(chunks))))
    }

    async fn count(
        &self,
        tried: String,
        method: Method,
        path: String,
        query: &[(&str, &str)],
    ) -> Result<u32, StoreError> {
        let counted: Counted = self.ask(Call { tried, method, path, query, body: Bytes::new() }).await?;
        Ok(counted.count)
    }

    async fn ask<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, StoreError> {
        let response = self.answered(&call).await?;
        let body =
            read(response).await.map_err(|seen| self.error(StoreErrorKind::Unreachable, &call, seen))?;
        serde_json::from_slice(&body).map_err(|error| {
            self.error(StoreErrorKind::Other, &call, format!("an answer that isn't its: {error}"))
        })
    }

    /// The answer, if it says that all went well; tried again where that can help.
    async fn answered(&self, call: &Call<'_>) -> Result<Response<Incoming>, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.answered_once(call).await {
                Err(error) if error.kind.is_transient() && tries < TRIES => {
                    // 100 to 200, then 400 to 800 ms: a restarted store isn't met by everybody at once.
                    let wait = 100 * 4_u64.pow(tries - 1);
                    tokio::time::sleep(Duration::from_millis(wait + fastrand::u64(..wait))).await;
                }
                answered => return answered,
            }
        }
    }

    async fn answered_once(&self, call: &Call<'_>) -> Result<Response<Incoming>, StoreError> {
        let unreachable = |seen: NoAnswer| self.error(StoreErrorKind::Unreachable, call, seen.to_string());
        #[expect(clippy::disallowed_methods, reason = "the signature of a call that is made now")]
        let now = Timestamp::now();
        let trust = self.trust();
        let path = sign::sign(&trust.key, call.method.as_str(), &call.path, call.query, CONTROL_TTL, now);
        let response = self.send(call, &path, &trust.connector).await.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body =
            read(response).await.map_err(|seen| self.error(StoreErrorKind::Unreachable, call, seen))?;
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(Problem { reason, message }) => {
                self.error(reason.kind(), call, format!("status {}: {message}", status.as_u16()))
            }
            Err(_) => self.error(
                StoreErrorKind::Other,
                call,
                format!("status {} without a reason", status.as_u16()),
            ),
        })
    }

    /// A connection for each call: there are few, and none is ever stale.
    async fn send(
        &self,
        call: &Call<'_>,
        path: &str,
        connector: &TlsConnector,
    ) -> Result<Response<Incoming>, NoAnswer> {
        let connect = async {
            let tcp = TcpStream::connect(&self.address.authority).await?;
            tcp.set_nodelay(true)?;
            connector.connect(self.address.server.clone(), tcp).await
        };
        let stream = timeout(CONNECT, connect)
            .await
            .map_err(|_| NoAnswer::Timeout(CONNECT))?
            .map_err(NoAnswer::Connect)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer's body, or when that is dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the built-in store broke");
            }
        });
        let request = Request::builder()
            .method(call.method.clone())
            .uri(path)
            .header(header::HOST, &self.address.authority)
            .header(header::CONNECTION, "close")
            .body(Full::new(call.body.clone()))
            .expect("paths and headers are made of plain characters");
        timeout(ANSWER, sender.send_request(request))
            .await
            .map_err(|_| NoAnswer::Timeout(ANSWER))?
            .map_err(NoAnswer::from)
    }

    fn error(&self, kind: StoreErrorKind, call: &Call<'_>, seen: impl Into<String>) -> StoreError {
        StoreError::new(kind, &self.address.place, &call.tried, seen)
    }
}

/// Trusts the operator's CA and nobody else.
fn connector(bundle: &str) -> Result<TlsConnector, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn read(response: Response<Incoming>) -> Result<Bytes, String> {
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect();
    match timeout(STALL, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(format!("the answer broke off: {error}")),
        Err(_) => Err("the answer stalled".to_owned()),
    }
}

fn object_path(key: &Key) -> String {
    format!("/objects/{key}")
}

fn folder_path(folder: &Folder) -> String {
    format!("/folders/{folder}")
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("these have string keys and no failing serializer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_url_says_which_service_it_is() {
        let address = Address::parse("https://pitwall-store.pitwall.svc:8443").unwrap();
        assert_eq!(address.service, Some(("pitwall".to_owned(), "pitwall-store".to_owned())));
        assert_eq!(address.base, "https://pitwall-store.pitwall.svc:8443");
        assert_eq!(Address::parse("https://127.0.0.1:8443/").unwrap().service, None);
        assert_eq!(Address::parse("https://[::1]:8443/").unwrap().authority, "[::1]:8443");
    }

    #[test]
    fn other_urls_are_refused() {
        for url in
            ["", "pitwall-store", "http://a.b.svc", "https://a/b", "https://a?b", "https://u@a", "https://"]
        {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }
}
