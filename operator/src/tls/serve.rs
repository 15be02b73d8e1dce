//! TLS listeners for the webhook, the channel and the built-in store.
//!
//! # Guarantees
//! - The certificate can be swapped while running; new connections get the new one.
//! - Peers can't hold what they don't use: connections are counted from the first byte on, and handshake, request
//!   head and a stalled write each have a time limit.
//! - `TCP_NODELAY` is set (without it a handshake takes 44 ms), and no session tickets are kept (they cost memory for
//!   each of ten thousand idle sidecars).
//! - On shutdown nothing new is accepted; what is under way has ten seconds to end.

use super::{CertificateError, PemPair, authority};
use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::{
    ServerConfig,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the head of a request, and between two requests.
const HEAD: Duration = Duration::from_secs(30);
/// For a peer to take some of what is written to it.
const WRITE: Duration = Duration::from_secs(30);
/// For what is under way when the shutdown begins.
const GRACE: Duration = Duration::from_secs(10);
/// Connections whose handshake is done and that wait to be served.
const BACKLOG: usize = 64;

/// A certificate that can be swapped while it is served. Clones share it.
#[derive(Clone, Debug)]
pub struct ServingCertificate(Arc<RwLock<Arc<CertifiedKey>>>);

impl ServingCertificate {
    /// Serves this pair.
    pub fn new(pem: &PemPair) -> Result<Self, CertificateError> {
        Ok(Self(Arc::new(RwLock::new(Arc::new(authority::certified(pem)?)))))
    }

    /// Serves another pair from the next handshake on. On an error the former one stays.
    pub fn replace(&self, pem: &PemPair) -> Result<(), CertificateError> {
        let certified = Arc::new(authority::certified(pem)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }

    /// The TLS side of a server that speaks HTTP/1.1.
    fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the cipher suites of TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// A connection whose handshake is done.
pub type Stream = Held<TlsStream<TcpStream>>;

/// Connections as they come.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<Stream>);

impl Incoming {
    /// The next connection, or `None` at `shutdown`.
    pub async fn next(&mut self, shutdown: &CancellationToken) -> Option<Stream> {
        shutdown.run_until_cancelled(self.0.recv()).await.flatten()
    }
}

/// Listens until `shutdown` or until the receiving end is dropped. Handshakes run side by side, `connections` of them
/// and of established connections together; more wait in the kernel's queue.
pub async fn listen(
    address: SocketAddr,
    certificate: ServingCertificate,
    connections: usize,
    shutdown: CancellationToken,
) -> io::Result<(SocketAddr, Incoming)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let acceptor = certificate.acceptor();
    let places = Arc::new(Semaphore::new(connections));
    let (sender, receiver) = mpsc::channel(BACKLOG);
    tokio::spawn(shutdown.run_until_cancelled_owned(async move {
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            let (tcp, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: going on at once would only spin.
                    tracing::warn!(%error, "accepting a connection");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                let handshake = async {
                    tcp.set_nodelay(true)?;
                    acceptor.accept(tcp).await
                };
                match timeout(HANDSHAKE, handshake).await {
                    // A receiver that is gone wants no more connections.
                    Ok(Ok(stream)) => drop(sender.send(Held { stream, place, waiting: None }).await),
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
                }
            });
        }
    }));
    Ok((bound, Incoming(receiver)))
}

/// Serves HTTP/1.1 until `shutdown`, then lets what is under way end.
pub async fn serve_router(mut incoming: Incoming, router: Router, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(32 * 1024);
    while let Some(stream) = incoming.next(&shutdown).await {
        let service = TowerToHyperService::new(router.clone());
        let mut connection = Box::pin(http.serve_connection(TokioIo::new(stream), service));
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    timeout(GRACE, connection).await.unwrap_or(Ok(()))
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection broke");
            }
        });
    }
    connections.close();
    connections.wait().await;
}

/// A stream that holds its place among the listener's connections, and that gives up on a peer which takes nothing of
/// what is written for too long.
#[derive(Debug)]
pub struct Held<S> {
    stream: S,
    #[expect(dead_code, reason = "counts as long as it lives")]
    place: OwnedSemaphorePermit,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Held<S> {
    fn bounded<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(WRITE)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.bounded(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.bounded(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.bounded(context, shut)
    }
}

#[cfg(test)]
mod tests;
