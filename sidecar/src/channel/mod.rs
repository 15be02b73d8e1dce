//! The sidecar's side of the control channel: one WebSocket over TLS to the operator that leads, kept open.

mod announced;
mod backoff;
mod dial;

use crate::clock;
use crate::settings::Settings;
use announced::Announced;
use backoff::{Backoff, Ending};
use dial::{Socket, dial};
use futures_util::{SinkExt, StreamExt};
use pitwall_protocol::{
    CloseCode, DecodeError, Hello, OLDEST_VERSION, OperatorMessage, SessionReport, SidecarMessage, VERSION,
    Welcome, decode, encode,
};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WireCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

/// How long the operator may take to welcome us, and to take a message.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How often we ask whether the operator lives, and how long it may take to answer.
const PING_PAUSE: Duration = Duration::from_secs(30);
const PONG_TIMEOUT: Duration = Duration::from_secs(10);

/// What comes from the channel.
#[derive(Debug)]
pub enum Inbound {
    /// The operator has welcomed us.
    Connected {
        /// What it said.
        welcome: Welcome,
        /// The sessions that our hello named, as they stood then.
        told: Vec<SessionReport>,
    },
    /// It says something.
    Message(OperatorMessage),
}

/// The channel's task.
#[derive(Debug)]
pub struct Channel {
    settings: Settings,
    /// What each hello says of the sessions.
    sessions: watch::Receiver<Vec<SessionReport>>,
    inbound: mpsc::Sender<Inbound>,
    outbound: mpsc::Receiver<SidecarMessage>,
    /// The CA that the operator has announced.
    announced: Announced,
    /// The highest leader that was obeyed.
    epoch: u64,
}

/// Why a conversation ended.
struct Ended {
    how: Ending,
    why: String,
}

impl Ended {
    fn failed(why: impl Into<String>) -> Self {
        Self { how: Ending::Failed, why: why.into() }
    }
}

impl Channel {
    /// A channel that isn't connected yet.
    pub fn new(
        settings: Settings,
        sessions: watch::Receiver<Vec<SessionReport>>,
        inbound: mpsc::Sender<Inbound>,
        outbound: mpsc::Receiver<SidecarMessage>,
    ) -> Self {
        let announced = Announced::load(&settings.journal_dir);
        Self { settings, sessions, inbound, outbound, announced, epoch: 0 }
    }

    /// Keeps the channel open until the worker is gone.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let Ended { how, why } = self.converse().await;
            if self.inbound.is_closed() {
                return;
            }
            let pause = backoff.pause(how, fastrand::f64());
            tracing::info!(operator = %self.settings.operator, %why, ?pause, "the channel is down");
            self.wait(pause).await;
        }
    }

    /// Waits, and throws away what can't be sent: the next hello says where every session stands.
    async fn wait(&mut self, pause: Duration) {
        let until = tokio::time::sleep(pause);
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => return,
                message = self.outbound.recv() => if message.is_none() { return },
            }
        }
    }

    async fn converse(&mut self) -> Ended {
        let mut cas = vec![self.settings.ca.as_str()];
        cas.extend(self.announced.pem());
        let mut socket = match dial(&self.settings.operator, &self.settings.token_file, &cas).await {
            Ok(socket) => socket,
            Err(why) => return Ended::failed(why),
        };
        // What was queued before is in the hello.
        while self.outbound.try_recv().is_ok() {}
        let told = self.sessions.borrow_and_update().clone();
        let hello = SidecarMessage::Hello(Hello {
            version: VERSION,
            sidecar_version: env!("CARGO_PKG_VERSION").to_owned(),
            pod: self.settings.pod.clone(),
            epoch: self.epoch,
            sessions: told.clone(),
        });
        if let Err(ended) = send(&mut socket, &hello).await {
            return ended;
        }
        let welcome = match tokio::time::timeout(WELCOME_TIMEOUT, await_welcome(&mut socket)).await {
            Ok(Ok(welcome)) => welcome,
            Ok(Err(ended)) => return ended,
            Err(_) => return Ended::failed(format!("not welcomed within {WELCOME_TIMEOUT:?}")),
        };
        if !(OLDEST_VERSION..=VERSION).contains(&welcome.version) {
            let why = format!("the operator speaks version {}, this sidecar {VERSION}", welcome.version);
            hang_up(&mut socket, CloseCode::UnsupportedVersion, &why).await;
            return Ended::failed(why);
        }
        if welcome.epoch < self.epoch {
            let why =
                format!("the leader of epoch {} was obeyed already, this is {}", self.epoch, welcome.epoch);
            hang_up(&mut socket, CloseCode::NotLeader, &why).await;
            return Ended { how: Ending::NotLeader, why };
        }
        self.epoch = welcome.epoch;
        self.announced.hear(welcome.ca.as_deref());
        let since = clock::now();
        tracing::info!(operator = %self.settings.operator, epoch = self.epoch, "the channel is up");
        if self.inbound.send(Inbound::Connected { welcome, told }).await.is_err() {
            return Ended::failed("the worker ended");
        }
        let mut ended = self.keep(&mut socket).await;
        if ended.how == Ending::Failed {
            ended.how = Ending::After(clock::now().saturating_duration_since(since));
        }
        ended
    }

    /// Passes messages both ways until something ends it.
    async fn keep(&mut self, socket: &mut Socket) -> Ended {
        let mut ping_at = clock::now() + PING_PAUSE;
        let mut pong_until: Option<Instant> = None;
        loop {
            let wake = pong_until.unwrap_or(ping_at);
            tokio::select! {
                frame = socket.next() => {
                    // Whatever comes, the operator lives.
                    pong_until = None;
                    match receive(socket, frame).await {
                        Ok(Some(message)) => {
                            // A second welcome says that a CA has changed.
                            if let OperatorMessage::Welcome(welcome) = &message {
                                self.announced.hear(welcome.ca.as_deref());
                            }
                            if self.inbound.send(Inbound::Message(message)).await.is_err() {
                                return Ended::failed("the worker ended");
                            }
                        }
                        Ok(None) => {}
                        Err(ended) => return ended,
                    }
                }
                message = self.outbound.recv() => if let Some(message) = message { if let Err(ended) = send(socket, &message).await {
                    return ended;
                } } else {
                    tokio::time::timeout(Duration::from_secs(1), socket.close(None)).await.ok();
                    return Ended::failed("the worker ended");
                },
                () = tokio::time::sleep_until(wake.into()) => {
                    if pong_until.is_some() {
                        return Ended::failed(format!("no answer to a ping within {PONG_TIMEOUT:?}"));
                    }
                    if let Err(ended) = send_frame(socket, Message::Ping(vec![].into())).await {
                        return ended;
                    }
                    pong_until = Some(clock::now() + PONG_TIMEOUT);
                    ping_at = clock::now() + PING_PAUSE;
                }
            }
        }
    }
}

async fn await_welcome(socket: &mut Socket) -> Result<Welcome, Ended> {
    loop {
        let frame = socket.next().await;
        match receive(socket, frame).await? {
            Some(OperatorMessage::Welcome(welcome)) => return Ok(welcome),
            Some(_) => {
                let why = "the first message must be a welcome";
                hang_up(socket, CloseCode::Malformed, why).await;
                return Err(Ended::failed(why));
            }
            None => {}
        }
    }
}

/// What a frame says: a message, nothing that matters, or the end.
async fn receive(
    socket: &mut Socket,
    frame: Option<Result<Message, WsError>>,
) -> Result<Option<OperatorMessage>, Ended> {
    let malformed = match frame {
        None => return Err(Ended::failed("the operator hung up")),
        Some(Ok(Message::Text(text))) => match decode::<OperatorMessage>(&text) {
            Ok(message) => return Ok(Some(message)),
            Err(DecodeError::UnknownMessage(kind)) => {
                tracing::debug!(kind, "a message of a newer operator is skipped");
                return Ok(None);
            }
            Err(error) => error.to_string(),
        },
        Some(Ok(Message::Binary(_))) => "a binary frame".to_owned(),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return Ok(None),
        Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
        Some(Err(WsError::Capacity(error))) => error.to_string(),
        Some(Err(error)) => return Err(Ended::failed(error.to_string())),
    };
    tracing::error!(%malformed, "the operator sent a malformed message: hanging up");
    hang_up(socket, CloseCode::Malformed, &malformed).await;
    Err(Ended::failed(malformed))
}

fn closed(frame: Option<CloseFrame>) -> Ended {
    let Some(CloseFrame { code, reason }) = frame else {
        return Ended::failed("the operator closed the channel");
    };
    let known = CloseCode::from_u16(code.into());
    let how = if known == Some(CloseCode::NotLeader) { Ending::NotLeader } else { Ending::Failed };
    let why = known.map_or_else(|| code.to_string(), |known| format!("{known:?}"));
    Ended { how, why: format!("the operator closed the channel: {why} {reason}") }
}

async fn hang_up(socket: &mut Socket, code: CloseCode, why: &str) {
    // A close frame holds 125 bytes, two of them for the code.
    let reason = Utf8Bytes::from(crate::discover::cut(why.to_owned(), 123));
    let frame = CloseFrame { code: WireCode::from(code as u16), reason };
    tokio::time::timeout(Duration::from_secs(1), socket.close(Some(frame))).await.ok();
}

async fn send(socket: &mut Socket, message: &SidecarMessage) -> Result<(), Ended> {
    send_frame(socket, Message::text(encode(message))).await
}

async fn send_frame(socket: &mut Socket, frame: Message) -> Result<(), Ended> {
    match tokio::time::timeout(SEND_TIMEOUT, socket.send(frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Ended::failed(error.to_string())),
        Err(_) => Err(Ended::failed(format!("the operator took no message for {SEND_TIMEOUT:?}"))),
    }
}
