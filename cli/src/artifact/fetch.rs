//! The request that fetches an artifact: through the API server, or straight to the store's host.

use super::{
    dial::{Cause, dial, trusting},
    source::Source,
};
use crate::proxy::Proxies;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, combinators::UnsyncBoxBody};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::time::timeout;
use url::Host;

/// A body with every transport's errors.
pub(super) type Body = UnsyncBoxBody<Bytes, Cause>;

/// For a connection, and for its next bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of an error's body is worth showing.
const EXCERPT: usize = 300;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("can't reach {from}: {cause}")]
    Connect { from: Source, cause: Cause },
    #[error("{from} answered {status}: {said}")]
    Status { from: Source, status: StatusCode, said: String },
    #[error("the connection to {from} broke: {cause}")]
    Broken { from: Source, cause: Cause },
    #[error("the store's CA in the ArtifactDownload's status is no certificate in PEM")]
    Ca,
}

impl FetchError {
    /// Whether another attempt may end otherwise.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Connect { cause, .. } => !is_tls_refusal(cause),
            Self::Broken { .. } => true,
            // 503 is also what the API server says of a Service without an endpoint just now.
            Self::Status { status, .. } => status.is_server_error(),
            Self::Ca => false,
        }
    }

    /// Whether the API server refused to pass the request on.
    pub(super) fn is_forbidden_proxy(&self) -> bool {
        match self {
            Self::Status { from: Source::ApiServer { .. }, status, said } => {
                *status == StatusCode::FORBIDDEN && said.contains("services/proxy")
            }
            _ => false,
        }
    }
}

/// Whether TLS itself failed, such as for a certificate that isn't trusted.
fn is_tls_refusal(cause: &Cause) -> bool {
    let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
}

/// Opens the body of the artifact. No redirect is followed: the URL was signed for this one place.
pub(super) async fn open(
    client: &kube::Client,
    source: &Source,
    ca: Option<&str>,
    proxies: &Proxies,
) -> Result<Body, FetchError> {
    let attempt = async {
        match source {
            Source::ApiServer { path_and_query } => proxied(client, path_and_query).await,
            Source::Https { host, port, path_and_query } => {
                let trust = trusting(ca).ok_or(Failed::Ca)?;
                direct(host, *port, path_and_query, trust, proxies).await.map_err(Failed::Connect)
            }
        }
    };
    let response = match within(attempt).await {
        Ok(response) => response,
        Err(Failed::Ca) => return Err(FetchError::Ca),
        Err(Failed::Connect(cause)) => return Err(FetchError::Connect { from: source.clone(), cause }),
    };
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response.into_body());
    }
    let said = excerpt(response.into_body()).await;
    Err(FetchError::Status { from: source.clone(), status, said })
}

/// The next bytes, or none at the end.
pub(super) async fn next(body: &mut Body, source: &Source) -> Result<Option<Bytes>, FetchError> {
    let broken = |cause| FetchError::Broken { from: source.clone(), cause };
    loop {
        let frame = timeout(PATIENCE, body.frame())
            .await
            .map_err(|_| broken(format!("nothing came for {} s", PATIENCE.as_secs()).into()))?;
        match frame {
            None => return Ok(None),
            Some(Err(cause)) => return Err(broken(cause)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

enum Failed {
    Ca,
    Connect(Cause),
}

async fn within<T>(attempt: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    timeout(PATIENCE, attempt)
        .await
        .unwrap_or_else(|_| Err(Failed::Connect(format!("no answer within {} s", PATIENCE.as_secs()).into())))
}

/// Asks for the encoding that artifacts are stored in: without it the API server's proxy would decompress
/// them on the way, and their checksums are of the stored bytes.
fn get(path_and_query: &str) -> http::request::Builder {
    Request::get(path_and_query)
        .header(header::ACCEPT_ENCODING, "gzip")
        .header(header::USER_AGENT, concat!("kubectl-pitwall/", env!("CARGO_PKG_VERSION")))
}

async fn proxied(client: &kube::Client, path_and_query: &str) -> Result<Response<Body>, Failed> {
    let request =
        get(path_and_query).body(kube::client::Body::empty()).map_err(|e| Failed::Connect(e.into()))?;
    let response = client.send(request).await.map_err(|error| Failed::Connect(error.into()))?;
    Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
}

async fn direct(
    host: &Host<String>,
    port: u16,
    path_and_query: &str,
    trust: Arc<ClientConfig>,
    proxies: &Proxies,
) -> Result<Response<Body>, Cause> {
    let stream = dial(host, port, trust, proxies).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the body, whose errors say what this one's would.
    tokio::spawn(connection);
    let authority = if port == 443 { host.to_string() } else { format!("{host}:{port}") };
    let request = get(path_and_query).header(header::HOST, authority).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
}

/// The beginning of an error's body: the message of a Kubernetes Status, or the text.
async fn excerpt(mut body: Body) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < 16 * 1024 {
        match timeout(PATIENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            _ => break,
        }
    }
    let message = serde_json::from_slice::<kube::core::Status>(&bytes).ok().map(|status| status.message);
    let text = message.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
    text.trim().chars().take(EXCERPT).collect()
}
