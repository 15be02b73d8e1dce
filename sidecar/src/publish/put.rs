//! One part, by HTTP PUT to a signed URL.

use super::upload::{Put, PutError};
use crate::discover::cut;
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::TokioIo;
use pitwall_protocol::Part;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io::SeekFrom;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::io::ReaderStream;
use url::Url;

const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// A part is given this long, and as long again as a slow link of 256 KiB/s needs.
const PUT_TIMEOUT: Duration = Duration::from_secs(30);
const SLOWEST_BYTES_PER_SECOND: u64 = 256 << 10;
/// How much of a refusal's body is read, and how much of its text is kept, in bytes.
const LONGEST_REFUSAL: usize = 4096;
const LONGEST_TEXT: usize = 300;
/// What is read from the spool and written to the socket at once.
const SLICE: usize = 64 << 10;

/// Sends one part of the file.
pub async fn put(tls: Arc<ClientConfig>, file: &Path, part: Put) -> Result<Part, PutError> {
    let patience = PUT_TIMEOUT + Duration::from_secs(part.length / SLOWEST_BYTES_PER_SECOND);
    tokio::time::timeout(patience, send(tls, file, &part)).await.unwrap_or_else(|_| {
        Err(PutError::Transient(format!(
            "the store took no part of {} bytes within {patience:?}",
            part.length
        )))
    })
}

async fn send(tls: Arc<ClientConfig>, file: &Path, part: &Put) -> Result<Part, PutError> {
    let place = Place::of(&part.url).map_err(PutError::Refused)?;
    let mut source = tokio::fs::File::open(file)
        .await
        .map_err(|error| PutError::Refused(format!("reading {} from the spool: {error}", file.display())))?;
    source
        .seek(SeekFrom::Start(part.offset))
        .await
        .map_err(|error| PutError::Refused(format!("reading {} from the spool: {error}", file.display())))?;
    let slices = ReaderStream::with_capacity(source.take(part.length), SLICE);
    let body = StreamBody::new(slices.map_ok(Frame::data));
    let request = Request::put(place.path_and_query.as_str())
        .header(header::HOST, place.authority.as_str())
        .header(header::CONTENT_LENGTH, part.length)
        .body(body)
        .map_err(|error| PutError::Refused(format!("the signed URL makes no request: {error}")))?;
    let answer = tokio::time::timeout(DIAL_TIMEOUT, place.dial(tls))
        .await
        .unwrap_or_else(|_| {
            Err(format!("connecting to {}: no answer within {DIAL_TIMEOUT:?}", place.authority))
        })
        .map_err(PutError::Transient)?;
    let (status, etag, text) = match answer {
        Stream::Plain(stream) => exchange(stream, request).await,
        Stream::Tls(stream) => exchange(*stream, request).await,
    }
    .map_err(|error| PutError::Transient(format!("sending to {}: {error}", place.authority)))?;
    judge(status, etag, &text, part)
}

/// What the store's answer means.
fn judge(status: StatusCode, etag: Option<String>, text: &str, part: &Put) -> Result<Part, PutError> {
    let said = || {
        cut(format!("HTTP {status}: {}", text.split_whitespace().collect::<Vec<_>>().join(" ")), LONGEST_TEXT)
    };
    match status {
        StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => match etag {
            Some(etag) => Ok(Part { number: part.number, etag, bytes: part.length }),
            None => Err(PutError::Refused("the store took the part but gave no ETag".to_owned())),
        },
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED => {
            Err(PutError::Grant(said()))
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(PutError::Transient(said())),
        // Full, for good as far as one session goes.
        StatusCode::INSUFFICIENT_STORAGE => Err(PutError::Full(said())),
        status if status.is_server_error() => Err(PutError::Transient(said())),
        _ => Err(PutError::Refused(said())),
    }
}

async fn exchange<S, B>(
    stream: S,
    request: Request<B>,
) -> Result<(StatusCode, Option<String>, String), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(SLICE)
        .handshake(TokioIo::new(stream))
        .await?;
    // Boxed: a part's body is held within, and the two are polled together.
    let mut connection = Box::pin(connection);
    let conversation = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let etag =
            response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let text = if status.is_success() { String::new() } else { refusal(response.into_body()).await };
        Ok((status, etag, text))
    };
    let mut conversation = Box::pin(conversation);
    tokio::select! {
        biased;
        answer = &mut conversation => answer,
        ended = &mut connection => {
            ended?;
            conversation.await
        }
    }
}

/// The beginning of a refusal's body.
async fn refusal(mut body: Incoming) -> String {
    let mut text = vec![];
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            text.extend_from_slice(&data[..data.len().min(LONGEST_REFUSAL - text.len())]);
        }
        if text.len() == LONGEST_REFUSAL {
            break;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// Where a signed URL points.
struct Place {
    secure: bool,
    host: String,
    port: u16,
    authority: String,
    path_and_query: String,
}

impl Place {
    /// Takes a URL apart. Only `https`, and `http` on loopback, where no one else can listen in.
    fn of(url: &str) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("the signed URL can't be read: {error}"))?;
        let host = url.host_str().ok_or("the signed URL has no host")?.trim_matches(['[', ']']).to_owned();
        let secure = url.scheme() == "https";
        let loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let private = secure || (url.scheme() == "http" && loopback);
        if !private {
            return Err(format!("the signed URL's scheme is {}, and only https is used", url.scheme()));
        }
        let port = url.port_or_known_default().ok_or("the signed URL has no port")?;
        let host_text = url.host_str().unwrap_or_default();
        let authority = url.port().map_or_else(|| host_text.to_owned(), |port| format!("{host_text}:{port}"));
        let path_and_query =
            url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        Ok(Self { secure, host, port, authority, path_and_query })
    }

    async fn dial(&self, tls: Arc<ClientConfig>) -> Result<Stream, String> {
        let says = |error: std::io::Error| format!("connecting to {}: {error}", self.authority);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(says)?;
        stream.set_nodelay(true).map_err(says)?;
        if !self.secure {
            return Ok(Stream::Plain(stream));
        }
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| format!("{} is no name that a certificate can have", self.host))?;
        let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(says)?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> Put {
        Put { number: 3, url: String::new(), offset: 0, length: 9 }
    }

    #[test]
    fn plain_http_is_only_for_loopback() {
        let rows = [
            (
                "https://s3.example.com/b/k?X-Amz-Signature=1%2F2",
                Ok(("s3.example.com", 443, "/b/k?X-Amz-Signature=1%2F2")),
            ),
            ("https://store.pitwall.svc:9000/b", Ok(("store.pitwall.svc:9000", 9000, "/b"))),
            ("http://127.0.0.1:80/b", Ok(("127.0.0.1", 80, "/b"))),
            ("http://[::1]:8080/b", Ok(("[::1]:8080", 8080, "/b"))),
            ("http://localhost/b", Err(())),
            ("http://s3.example.com/b", Err(())),
            ("ftp://127.0.0.1/b", Err(())),
            ("/b", Err(())),
            ("", Err(())),
        ];
        for (url, expected) in rows {
            match (Place::of(url), expected) {
                (Ok(place), Ok((authority, port, path))) => {
                    assert_eq!(
                        (place.authority.as_str(), place.port, place.path_and_query.as_str()),
                        (authority, port, path)
                    );
                }
                (Err(_), Err(())) => {}
                (place, _) => panic!("{url}: {}", place.is_ok()),
            }
        }
    }

    #[test]
    fn each_answer_of_a_store_has_its_meaning() {
        let etag = || Some("\"e\"".to_owned());
        assert_eq!(
            judge(StatusCode::OK, etag(), "", &part()),
            Ok(Part { number: 3, etag: "\"e\"".into(), bytes: 9 })
        );
        assert!(matches!(judge(StatusCode::OK, None, "", &part()), Err(PutError::Refused(_))));
        for (status, expected) in [
            (403, "grant"),
            (404, "grant"),
            (400, "refused"),
            (413, "refused"),
            (301, "refused"),
            (507, "full"),
            (429, "transient"),
            (500, "transient"),
            (503, "transient"),
        ] {
            let answer = judge(StatusCode::from_u16(status).unwrap(), etag(), "<Code>Why\n</Code>", &part());
            let (kind, text) = match answer.unwrap_err() {
                PutError::Grant(text) => ("grant", text),
                PutError::Refused(text) => ("refused", text),
                PutError::Full(text) => ("full", text),
                PutError::Transient(text) => ("transient", text),
            };
            assert_eq!(kind, expected, "{status}");
            assert!(text.contains("<Code>Why </Code>"), "{text}");
        }
        let Err(PutError::Refused(text)) = judge(StatusCode::BAD_REQUEST, None, &"x".repeat(9000), &part())
        else {
            panic!("refused")
        };
        assert!(text.len() <= LONGEST_TEXT);
    }
}
