//! The operator's side of the built-in store.

use super::sign::SigningKey;
use crate::store::{
    Body, Download, Folder, Key, Media, PART_SIZE, Prefix, StoreError, StoreErrorKind, UploadId,
};
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use pitwall_protocol::Part;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tokio_util::io::StreamReader;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take: completing concatenates parts.
const ANSWER: Duration = Duration::from_secs(60);
/// The longest answer that is read whole.
const MAX_ANSWER: usize = 64 * 1024;
/// How long a URL for the operator's own use is good for.
const OWN_LIFETIME: SignedDuration = SignedDuration::from_secs(120);

pub(in crate::store) struct BuiltinStore {
    host: String,
    port: u16,
    tls: TlsConnector,
    key: SigningKey,
    ca: String,
    place: String,
}

impl BuiltinStore {
    pub(in crate::store) fn connect(address: &str, signing_key: &[u8], ca: &str) -> anyhow::Result<Self> {
        let url = url::Url::parse(address)?;
        anyhow::ensure!(
            url.scheme() == "https",
            "--builtin-url must begin with https://, and is {address:?}"
        );
        let host = url.host_str().ok_or_else(|| anyhow::anyhow!("--builtin-url names no host"))?.to_owned();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            port: url.port_or_known_default().unwrap_or(443),
            place: format!("the built-in store at {host}"),
            host,
            tls: TlsConnector::from(Arc::new(config)),
            key: SigningKey::new(signing_key),
            ca: ca.to_owned(),
        })
    }

    #[expect(clippy::unnecessary_wraps, reason = "the stores share this signature")]
    pub(in crate::store) fn ca(&self) -> Option<&str> {
        Some(&self.ca)
    }

    pub(in crate::store) async fn begin(&self, key: &Key, media: &Media) -> Result<UploadId, StoreError> {
        let body = serde_json::to_vec(media).expect("media has only strings");
        let tried = format!("beginning the upload of {key}");
        let answer = self.ask(&tried, Method::POST, &path(key), &[("op", "begin".into())], body).await?;
        UploadId::parse(&String::from_utf8_lossy(&answer))
    }

    #[expect(clippy::unused_async, reason = "the stores share this signature")]
    pub(in crate::store) async fn sign_parts(
        &self,
        key: &Key,
        upload: &UploadId,
        first: u32,
        count: u32,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let expires = later(now, lifetime);
        let sign = |number: u32| {
            let pairs = [
                ("op", "part".to_owned()),
                ("upload", upload.as_str().to_owned()),
                ("part", number.to_string()),
                ("max", PART_SIZE.to_string()),
            ];
            let signed = self.key.sign("PUT", &path(key), &pairs, expires);
            format!("https://{}:{}{signed}", self.host, self.port)
        };
        Ok((first..first.saturating_add(count)).map(sign).collect())
    }

    pub(in crate::store) async fn complete(
        &self,
        key: &Key,
        upload: &UploadId,
        parts: &[Part],
        max: u64,
    ) -> Result<u64, StoreError> {
        let pairs =
            [("op", "complete".into()), ("upload", upload.as_str().to_owned()), ("max", max.to_string())];
        let body = serde_json::to_vec(parts).expect("parts have only strings and numbers");
        let tried = format!("completing the upload of {key}");
        let answer = self.ask(&tried, Method::POST, &path(key), &pairs, body).await?;
        String::from_utf8_lossy(&answer)
            .parse()
            .map_err(|_| self.error(StoreErrorKind::Other, &tried, "the answer is no number of bytes"))
    }

    pub(in crate::store) async fn delete_folder(&self, folder: &Folder) -> Result<(), StoreError> {
        let path = format!("/{folder}");
        self.ask(&format!("deleting {folder}"), Method::POST, &path, &[("op", "delete".into())], vec![])
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn open(&self, key: &Key) -> Result<Body, StoreError> {
        let tried = format!("fetching {key}");
        let body = self.send(&tried, Method::GET, &path(key), &[("op", "get".into())], vec![]).await?;
        let stream = body.into_data_stream().map_err(std::io::Error::other);
        Ok(Box::pin(StreamReader::new(stream)))
    }

    #[expect(clippy::unused_async, reason = "the stores share this signature")]
    pub(in crate::store) async fn sign_get(
        &self,
        key: &Key,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Download, StoreError> {
        let url = self.key.sign("GET", &path(key), &[("op", "get".into())], later(now, lifetime));
        // `pitwall-store.pitwall-system.svc`: the Service and its namespace.
        let mut labels = self.host.split('.');
        let service = labels.next().zip(labels.next());
        let service = service.map(|(name, namespace)| (namespace.to_owned(), name.to_owned(), self.port));
        Ok(Download { url, service, ca: None })
    }

    #[expect(clippy::unused_async, reason = "the stores share this signature")]
    pub(in crate::store) async fn sweep(
        &self,
        _: &Prefix,
        _: Duration,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        // The store's own role does it: it is the only one that writes to its volume.
        Ok(())
    }

    async fn ask(
        &self,
        tried: &str,
        method: Method,
        path: &str,
        pairs: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<Bytes, StoreError> {
        let body = self.send(tried, method, path, pairs, body).await?;
        let read = timeout(ANSWER, Limited::new(body, MAX_ANSWER).collect()).await;
        match read {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) => Err(self.error(StoreErrorKind::Unreachable, tried, error.to_string())),
            Err(_) => Err(self.error(StoreErrorKind::Unreachable, tried, "the answer did not end in time")),
        }
    }

    async fn send(
        &self,
        tried: &str,
        method: Method,
        path: &str,
        pairs: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<Incoming, StoreError> {
        let away = |seen: String| self.error(StoreErrorKind::Unreachable, tried, seen);
        let expires = later(crate::request::now(), OWN_LIFETIME.unsigned_abs());
        let uri = self.key.sign(method.as_str(), path, pairs, expires);
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, &self.host)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.error(StoreErrorKind::Other, tried, error.to_string()))?;
        let connected = timeout(CONNECT, async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(self.host.clone()).map_err(std::io::Error::other)?;
            self.tls.connect(name, stream).await
        });
        let stream = connected.await.map_err(|_| away(format!("no connection within {CONNECT:?}")))?;
        let stream = stream.map_err(|error| away(error.to_string()))?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| away(error.to_string()))?;
        tokio::spawn(connection);
        let answer = timeout(ANSWER, sender.send_request(request)).await;
        let answer = answer.map_err(|_| away(format!("no answer within {ANSWER:?}")))?;
        let answer = answer.map_err(|error| away(error.to_string()))?;
        let kind = match answer.status() {
            status if status.is_success() => return Ok(answer.into_body()),
            StatusCode::FORBIDDEN => StoreErrorKind::Refused,
            StatusCode::NOT_FOUND => StoreErrorKind::NotFound,
            StatusCode::CONFLICT => StoreErrorKind::Mismatch,
            StatusCode::PAYLOAD_TOO_LARGE => StoreErrorKind::TooLarge,
            StatusCode::INSUFFICIENT_STORAGE => StoreErrorKind::Full,
            status if status.is_server_error() => StoreErrorKind::Unreachable,
            _ => StoreErrorKind::Other,
        };
        let status = answer.status();
        let text = timeout(CONNECT, Limited::new(answer.into_body(), 1024).collect()).await;
        let text =
            text.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Err(self.error(kind, tried, format!("{status}: {}", String::from_utf8_lossy(&text))))
    }

    fn error(&self, kind: StoreErrorKind, tried: &str, seen: impl Into<String>) -> StoreError {
        StoreError::new(kind, &self.place, tried, seen)
    }
}

fn path(key: &Key) -> String {
    format!("/{key}")
}

fn later(now: Timestamp, lifetime: Duration) -> Timestamp {
    SignedDuration::try_from(lifetime).ok().and_then(|by| now.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}
