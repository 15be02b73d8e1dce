//! One dial: TCP, TLS, and the WebSocket with the token.

use crate::trust;
use http::header::{AUTHORIZATION, HeaderValue};
use pitwall_protocol::MAX_MESSAGE;
use rustls_pki_types::ServerName;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use url::Url;

/// The open channel.
pub(super) type Socket = WebSocketStream<TlsStream<TcpStream>>;

const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// A token has one or two kilobytes.
const LONGEST_TOKEN: u64 = 16 << 10;

/// Buffers that suit ten thousand connections which mostly say nothing.
fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

/// Dials the operator. `cas` are PEM texts.
pub(super) async fn dial(operator: &Url, token_file: &Path, cas: &[&str]) -> Result<Socket, String> {
    tokio::time::timeout(DIAL_TIMEOUT, dial_patiently(operator, token_file, cas))
        .await
        .unwrap_or_else(|_| Err(format!("no connection within {DIAL_TIMEOUT:?}")))
}

async fn dial_patiently(operator: &Url, token_file: &Path, cas: &[&str]) -> Result<Socket, String> {
    // Read at each dial: kubelet renews it.
    let token = read_token(token_file)?;
    let tls = trust::private(cas)?;
    let host = operator.host_str().ok_or("the operator's URL has no host")?.trim_matches(['[', ']']);
    let port = operator.port_or_known_default().ok_or("the operator's URL has no port")?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no server name"))?;
    let mut request = operator.as_str().into_client_request().map_err(|error| error.to_string())?;
    request.headers_mut().insert(AUTHORIZATION, token);

    let stream = TcpStream::connect((host, port)).await.map_err(|error| format!("connecting: {error}"))?;
    stream.set_nodelay(true).map_err(|error| format!("connecting: {error}"))?;
    let stream =
        TlsConnector::from(tls).connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
    let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config()))
        .await
        .map_err(|error| format!("WebSocket: {error}"))?;
    Ok(socket)
}

fn read_token(path: &Path) -> Result<HeaderValue, String> {
    use std::io::Read;
    let mut token = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST_TOKEN).read_to_string(&mut token))
        .map_err(|error| format!("reading the token {}: {error}", path.display()))?;
    let mut header = HeaderValue::try_from(format!("Bearer {}", token.trim()))
        .map_err(|_| format!("the token in {} isn't one", path.display()))?;
    header.set_sensitive(true);
    Ok(header)
}
