//! A TLS connection to the store's host, through the environment's proxy if there is one.

use crate::{
    proxy::{Proxies, Proxy},
    refusal::causes,
};
use http::Uri;
use hyper_util::{
    client::legacy::connect::proxy::{SocksV5, Tunnel},
    rt::TokioIo,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use std::sync::Arc;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::{ServiceExt as _, service_fn};
use url::Host;

pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Trusts the public CAs, and these, in PEM. Nothing if they are no certificates.
pub(super) fn trusting(ca: Option<&str>) -> Option<Arc<ClientConfig>> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for certificate in CertificateDer::pem_slice_iter(ca.unwrap_or_default().as_bytes()) {
        roots.add(certificate.ok()?).ok()?;
    }
    Some(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// Connects to the host itself, or has a proxy connect.
pub(super) async fn dial(
    host: &Host<String>,
    port: u16,
    trust: Arc<ClientConfig>,
    proxies: &Proxies,
) -> Result<TlsStream<Box<dyn Stream>>, Cause> {
    let to: Uri = format!("https://{host}:{port}").parse()?;
    let stream = match proxies.on_the_way_to(&to) {
        None => tcp(&to, port).await?,
        Some(proxy) => through(&proxy, to)
            .await
            .map_err(|cause| format!("through the proxy {proxy}: {}", causes(cause.as_ref())))?,
    };
    tls(host.to_string(), stream, trust).await
}

async fn tcp(to: &Uri, port: u16) -> Result<Box<dyn Stream>, Cause> {
    let host = to.host().ok_or("it has no host")?.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, to.port_u16().unwrap_or(port))).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

async fn tls(
    host: String,
    stream: Box<dyn Stream>,
    trust: Arc<ClientConfig>,
) -> Result<TlsStream<Box<dyn Stream>>, Cause> {
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
    Ok(TlsConnector::from(trust).connect(name, stream).await?)
}

/// Has the proxy connect.
async fn through(proxy: &Proxy, to: Uri) -> Result<Box<dyn Stream>, Cause> {
    let place = proxy.place.clone();
    let scheme = place.scheme_str().unwrap_or_default().to_owned();
    let reach = service_fn(reach);
    let stream = match scheme.as_str() {
        "http" | "https" => {
            let mut tunnel = Tunnel::new(place, reach);
            if let Some(auth) = &proxy.basic_auth {
                tunnel = tunnel.with_auth(auth.clone());
            }
            tunnel.oneshot(to).await?
        }
        "socks5" => {
            let mut socks = SocksV5::new(place, reach);
            if let Some((user, password)) = proxy.raw_auth.clone() {
                socks = socks.with_auth(user, password);
            }
            socks.oneshot(to).await?
        }
        other => {
            return Err(format!("{other} is no kind of proxy that can be used: http, https or socks5").into());
        }
    };
    Ok(stream.into_inner())
}

/// Connects to the proxy.
async fn reach(place: Uri) -> Result<TokioIo<Box<dyn Stream>>, Cause> {
    let stream = match place.scheme_str() {
        Some("https") => {
            let trust = trusting(None).expect("without further CAs there is nothing to misread");
            let host = place.host().unwrap_or_default().to_owned();
            Box::new(tls(host, tcp(&place, 443).await?, trust).await?)
        }
        Some("socks5") => tcp(&place, 1080).await?,
        _ => tcp(&place, 80).await?,
    };
    Ok(TokioIo::new(stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    /// A peer that awaits the first of each pair and answers with the second; at the end it closes.
    async fn proxy(script: Vec<(&'static [u8], &'static [u8])>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            for (awaited, answer) in script {
                let mut seen = vec![0; awaited.len()];
                peer.read_exact(&mut seen).await.unwrap();
                assert_eq!(String::from_utf8_lossy(&seen), String::from_utf8_lossy(awaited));
                peer.write_all(answer).await.unwrap();
            }
        });
        port
    }

    /// Has the environment's proxy connect to s3.test:8333, says hello, and hears what comes back.
    async fn hello(url: String) -> Result<String, Cause> {
        let to = Uri::from_static("https://s3.test:8333");
        let proxy = Proxies::new(&url, "").on_the_way_to(&to).unwrap();
        let mut stream = through(&proxy, to).await?;
        stream.write_all(b"hello").await?;
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await?;
        Ok(heard)
    }

    #[tokio::test]
    async fn a_proxy_connects_to_the_host_and_resolves_its_name() {
        let port = proxy(vec![
            (
                b"CONNECT s3.test:8333 HTTP/1.1\r\nHost: s3.test:8333\r\n\
                  Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n",
                b"HTTP/1.1 200 OK\r\n\r\n",
            ),
            (b"hello", b"welcome"),
        ])
        .await;
        assert_eq!(hello(format!("http://me:secret@127.0.0.1:{port}")).await.unwrap(), "welcome");
        let port = proxy(vec![
            (b"\x05\x01\x00", b"\x05\x00"),
            (b"\x05\x01\x00\x03\x07s3.test\x20\x8d", b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"),
            (b"hello", b"welcome"),
        ])
        .await;
        assert_eq!(hello(format!("socks5h://127.0.0.1:{port}")).await.unwrap(), "welcome");
    }

    #[tokio::test]
    async fn a_refusal_names_the_proxy_and_no_password() {
        let port = proxy(vec![(b"CONNECT", b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")]).await;
        let proxies = Proxies::new(&format!("http://me:secret@127.0.0.1:{port}"), "");
        let host = Host::Domain("s3.test".to_owned());
        let error = dial(&host, 8333, trusting(None).unwrap(), &proxies).await.err().unwrap().to_string();
        assert_eq!(
            error,
            format!("through the proxy http://127.0.0.1:{port}/: tunnel error: proxy authorization required")
        );
    }
}
