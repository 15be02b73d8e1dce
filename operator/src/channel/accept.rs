//! The WebSocket side: one task a connection.

use super::{
    identity::{IdentityError, Keys},
    pods::{self, Pods},
    registry::{Registration, Registry},
};
use crate::{store::Store, tls::Incoming};
use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use pitwall_protocol::{
    CloseCode, DecodeError, Hello, MAX_MESSAGE, OLDEST_VERSION, OperatorMessage, PATH, SidecarMessage,
    VERSION, Welcome, decode, encode,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::{CloseFrame, WebSocketConfig},
    },
};
use tokio_util::sync::CancellationToken;

/// How long the handshake and the hello may take.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// A connection that says nothing for this long is dead: sidecars ping every 30 s.
const SILENCE: Duration = Duration::from_secs(90);
/// How long one message may take to be written to a peer that doesn't read.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// Messages a second, averaged over [`BURST`], that a sidecar may send before it is hung up on.
const MESSAGES_PER_SECOND: f64 = 20.0;
/// Messages that may come at once.
const BURST: f64 = 100.0;

/// What every connection needs.
pub struct Acceptor {
    /// Who is connected.
    pub registry: Arc<Registry>,
    /// The cluster's token keys.
    pub keys: Keys,
    /// The injected pods.
    pub pods: Pods,
    /// The leader's term, or `None` while another replica leads.
    pub epoch: watch::Receiver<Option<u64>>,
    /// The CA bundle for the sidecars' next dial.
    pub ca: watch::Receiver<String>,
    /// Where artifacts go; its private CA is told to each sidecar.
    pub store: Store,
}

/// Serves connections until `shutdown`.
pub async fn run(acceptor: Arc<Acceptor>, mut incoming: Incoming, shutdown: CancellationToken) {
    while let Some(stream) = incoming.next(&shutdown).await {
        let acceptor = acceptor.clone();
        let shutdown = shutdown.clone();
        tokio::spawn(async move { acceptor.serve(stream, shutdown).await });
    }
}

struct Refusal(CloseCode, String);

impl Acceptor {
    async fn serve<S>(&self, stream: S, shutdown: CancellationToken)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        // 4 KiB instead of 128 a connection: messages are small and sidecars many.
        let config = WebSocketConfig::default()
            .read_buffer_size(4096)
            .write_buffer_size(0)
            .max_write_buffer_size(4 * MAX_MESSAGE)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let mut token = None;
        let handshake = accept_hdr_async_with_config(stream, read_head(&mut token), Some(config));
        let Ok(Ok(mut socket)) = timeout(HELLO_PATIENCE, handshake).await else { return };
        let mut ca = self.ca.clone();
        let registration = match timeout(HELLO_PATIENCE, self.greet(&mut socket, token, &mut ca)).await {
            Ok(Ok(registration)) => registration,
            Ok(Err(refusal)) => return close(&mut socket, refusal).await,
            Err(_) => return,
        };
        let mut registration = registration;
        let refusal = self.converse(&mut socket, &mut registration, ca, shutdown).await;
        self.registry.disconnect(&registration);
        if let Some(refusal) = refusal {
            close(&mut socket, refusal).await;
        }
    }

    /// Hello, who are you, welcome.
    async fn greet<S>(
        &self,
        socket: &mut WebSocketStream<S>,
        token: Option<String>,
        ca: &mut watch::Receiver<String>,
    ) -> Result<Registration, Refusal>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let Some(epoch) = *self.epoch.borrow() else {
            return Err(Refusal(CloseCode::NotLeader, "this replica doesn't lead".into()));
        };
        let unauthenticated = |why: String| Refusal(CloseCode::Unauthenticated, why);
        let token = token.ok_or_else(|| unauthenticated(IdentityError::Missing.to_string()))?;
        let pod =
            self.keys.verify(&token, now()).await.map_err(|error| unauthenticated(error.to_string()))?;
        // A pod can dial before the watch has brought it here: it is asked for once more, a little later.
        if !pods::is_alive(&self.pods, &pod.namespace, &pod.name, &pod.uid) {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if !pods::is_alive(&self.pods, &pod.namespace, &pod.name, &pod.uid) {
                let why =
                    format!("no injected pod {}/{} with uid {} is alive", pod.namespace, pod.name, pod.uid);
                return Err(unauthenticated(why));
            }
        }
        let hello = read_hello(socket).await?;
        if hello.version < OLDEST_VERSION {
            let why = format!(
                "the sidecar speaks version {}, the operator {OLDEST_VERSION} to {VERSION}: restart the workload",
                hello.version
            );
            self.registry.refuse(&pod, &why);
            return Err(Refusal(CloseCode::UnsupportedVersion, why));
        }
        if hello.epoch > epoch {
            let why = format!("a leader of term {} was seen, this one is of {epoch}", hello.epoch);
            return Err(Refusal(CloseCode::NotLeader, why));
        }
        if hello.pod != pod {
            return Err(unauthenticated("the hello names another pod than the token".into()));
        }
        let version = hello.version.min(VERSION);
        send(socket, &self.welcome(version, epoch, ca))
            .await
            .map_err(|()| Refusal(CloseCode::Malformed, "the welcome could not be sent".into()))?;
        tracing::debug!(pod = pod.name, namespace = pod.namespace, "a sidecar connected");
        Ok(self.registry.connect(pod, hello))
    }

    fn welcome(&self, version: u16, epoch: u64, ca: &mut watch::Receiver<String>) -> OperatorMessage {
        let ca = Some(ca.borrow_and_update().clone());
        OperatorMessage::Welcome(Welcome { version, epoch, ca, store_ca: self.store.ca() })
    }

    async fn converse<S>(
        &self,
        socket: &mut WebSocketStream<S>,
        registration: &mut Registration,
        mut ca: watch::Receiver<String>,
        shutdown: CancellationToken,
    ) -> Option<Refusal>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let mut term = self.epoch.clone();
        let greeted_in = *term.borrow_and_update();
        let mut allowance = BURST;
        let mut last_heard = Instant::now();
        loop {
            tokio::select! {
                message = registration.outbox.recv() => match message {
                    Some(message) => send(socket, &message).await.ok()?,
                    None if pods_gone(&self.pods, registration) => {
                        return Some(Refusal(CloseCode::PodGone, "the pod was deleted".into()));
                    }
                    None => return Some(Refusal(CloseCode::Replaced, "a newer connection took over".into())),
                },
                frame = timeout(SILENCE, socket.next()) => {
                    let text = match frame {
                        Ok(Some(Ok(Message::Text(text)))) => text,
                        Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
                        Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => return None,
                        Ok(Some(Ok(_))) => return Some(Refusal(CloseCode::Malformed, "only text frames are read".into())),
                    };
                    let elapsed = last_heard.elapsed().as_secs_f64();
                    last_heard = Instant::now();
                    allowance = (allowance + elapsed * MESSAGES_PER_SECOND).min(BURST) - 1.0;
                    if allowance < 0.0 {
                        return Some(Refusal(CloseCode::Malformed, "too many messages".into()));
                    }
                    match decode::<SidecarMessage>(text.as_str()) {
                        Ok(message) => self.registry.receive(&registration.pod, message, now()),
                        Err(DecodeError::UnknownMessage(kind)) => tracing::debug!(kind, "skipped an unknown message"),
                        Err(error) => return Some(Refusal(CloseCode::Malformed, error.to_string())),
                    }
                }
                // Before the operator's next certificate descends from it.
                Ok(()) = ca.changed() => {
                    let welcome = self.welcome(VERSION, greeted_in.unwrap_or_default(), &mut ca);
                    send(socket, &welcome).await.ok()?;
                }
                () = async { let _ = term.wait_for(|term| *term != greeted_in).await; } => {
                    return Some(Refusal(CloseCode::NotLeader, "this replica no longer leads".into()));
                }
                () = shutdown.cancelled() => {
                    return Some(Refusal(CloseCode::NotLeader, "the operator is ending".into()));
                }
            }
        }
    }
}

fn pods_gone(pods: &Pods, registration: &Registration) -> bool {
    !pods.state().iter().any(|pod| pod.metadata.uid.as_deref() == Some(registration.pod.0.as_str()))
}

/// Takes the token out of the request's head, and refuses other paths.
fn read_head(
    token: &mut Option<String>,
) -> impl FnOnce(&Request, Response) -> Result<Response, ErrorResponse> {
    #[expect(clippy::result_large_err, reason = "the type that tungstenite asks for")]
    |request: &Request, response| {
        if request.uri().path() != PATH {
            let body = Some(format!("sidecars dial {PATH}"));
            let mut refusal = ErrorResponse::new(body);
            *refusal.status_mut() = http::StatusCode::NOT_FOUND;
            return Err(refusal);
        }
        let header = request.headers().get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        *token = header.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
        Ok(response)
    }
}

async fn read_hello<S>(socket: &mut WebSocketStream<S>) -> Result<Hello, Refusal>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let malformed = |why: String| Refusal(CloseCode::Malformed, why);
    match socket.next().await {
        Some(Ok(Message::Text(text))) => match decode::<SidecarMessage>(text.as_str()) {
            Ok(SidecarMessage::Hello(hello)) => Ok(hello),
            Ok(_) => Err(malformed("the first message must be a hello".into())),
            Err(error) => Err(malformed(error.to_string())),
        },
        _ => Err(malformed("no hello came".into())),
    }
}

async fn send<S>(socket: &mut WebSocketStream<S>, message: &OperatorMessage) -> Result<(), ()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let sent = timeout(WRITE_PATIENCE, socket.send(Message::text(encode(message)))).await;
    if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(()) }
}

async fn close<S>(socket: &mut WebSocketStream<S>, Refusal(code, why): Refusal)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    tracing::debug!(?code, why, "closed a sidecar's connection");
    // A close frame's reason has at most 123 bytes.
    let reason: String = why.chars().filter(char::is_ascii).take(120).collect();
    let frame = CloseFrame { code: (code as u16).into(), reason: reason.into() };
    let _ = timeout(WRITE_PATIENCE, socket.close(Some(frame))).await;
}

#[expect(clippy::disallowed_methods, reason = "the accept loop is IO")]
fn now() -> Timestamp {
    Timestamp::now()
}
