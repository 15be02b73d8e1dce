//! The TLS listener that the channel, the webhook and the store share: renewed certificates while it runs,
//! bounded handshakes and connections, no delayed small writes.

use super::Leaf;
use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    net::SocketAddr,
    sync::{Arc, RwLock},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// Connections whose handshake is done and that wait to be served.
const BACKLOG: usize = 64;

/// A certificate that can't be served.
#[derive(Debug, thiserror::Error)]
#[error("the certificate can't be served: {0}")]
pub struct CertificateError(String);

/// The certificate that a listener serves, which can be replaced while it runs.
#[derive(Clone, Debug)]
pub struct ServingCertificate(Arc<RwLock<Arc<CertifiedKey>>>);

impl ServingCertificate {
    /// To begin with this one.
    pub fn new(leaf: &Leaf) -> Result<Self, CertificateError> {
        Ok(Self(Arc::new(RwLock::new(certified(leaf)?))))
    }

    /// New connections get this one from now on.
    pub fn replace(&self, leaf: &Leaf) -> Result<(), CertificateError> {
        let key = certified(leaf)?;
        *self.0.write().expect("no panic happens while the certificate is held") = key;
        Ok(())
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().expect("no panic happens while the certificate is held").clone())
    }
}

fn certified(leaf: &Leaf) -> Result<Arc<CertifiedKey>, CertificateError> {
    let failed = |error: &dyn std::fmt::Display| CertificateError(error.to_string());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(leaf.certificate.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).map_err(|error| failed(&error))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map(Arc::new).map_err(|error| failed(&error))
}

fn config(certificate: ServingCertificate) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for the default versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    // Tickets and sessions cost memory for each of ten thousand sidecars, and buy nothing: connections last.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// A connection whose handshake is done; it holds its place among the listener's connections.
pub type Stream = Held<TlsStream<TcpStream>>;

/// Connections as they come.
pub struct Incoming(mpsc::Receiver<Stream>);

impl Incoming {
    /// The next connection, or `None` at `shutdown`.
    pub async fn next(&mut self, shutdown: &CancellationToken) -> Option<Stream> {
        tokio::select! {
            stream = self.0.recv() => stream,
            () = shutdown.cancelled() => None,
        }
    }
}

/// Listens, and does at most `connections` handshakes and connections at once.
pub async fn listen(
    address: SocketAddr,
    certificate: ServingCertificate,
    connections: usize,
    shutdown: CancellationToken,
) -> std::io::Result<(SocketAddr, Incoming)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(config(certificate));
    let places = Arc::new(Semaphore::new(connections));
    let (sender, receiver) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors, as a rule: a pause lets some go.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let acceptor = acceptor.clone();
            let sender = sender.clone();
            tokio::spawn(async move {
                // Without it every small answer waits for 40 ms.
                let _ = stream.set_nodelay(true);
                if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    let _ = sender.send(Held { stream, _place: place }).await;
                }
            });
        }
    });
    Ok((bound, Incoming(receiver)))
}

/// Serves HTTP/1.1 until `shutdown`.
pub async fn serve_router(mut incoming: Incoming, router: Router, shutdown: CancellationToken) {
    while let Some(stream) = incoming.next(&shutdown).await {
        let service = TowerToHyperService::new(router.clone());
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
            builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => {}
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = timeout(Duration::from_secs(5), connection).await;
                }
            }
        });
    }
}

/// A stream that holds its place among the listener's connections.
pub struct Held<S> {
    stream: S,
    _place: OwnedSemaphorePermit,
}

impl<S: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for Held<S> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: tokio::io::AsyncWrite + Unpin> tokio::io::AsyncWrite for Held<S> {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
