//! An operator that says what the test says.

use super::PATIENCE;
use super::authority::Authority;
use futures_util::{SinkExt, StreamExt};
use pitwall_protocol::{
    Hello, OperatorMessage, SessionReport, SidecarMessage, VERSION, Welcome, decode, encode,
};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

pub(crate) const TOKEN: &str = "the-pods-token";

pub(crate) struct Operator {
    pub(crate) address: SocketAddr,
    listener: Option<TcpListener>,
    authority: Arc<Authority>,
}

impl Operator {
    pub(crate) async fn new(authority: Arc<Authority>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        Self { address, listener: Some(listener), authority }
    }

    /// From now on nobody listens.
    pub(crate) fn goes_away(&mut self) {
        self.listener = None;
    }

    /// From now on its certificate descends from another authority.
    pub(crate) fn changes_to(&mut self, authority: Arc<Authority>) {
        self.authority = authority;
    }

    pub(crate) async fn comes_back(&mut self) {
        self.listener = Some(TcpListener::bind(self.address).await.expect("the port is still free"));
    }

    /// Takes the sidecar's next connection, checks its token, and hears its hello.
    pub(crate) async fn accept(&self) -> (Channel, Hello) {
        let listener = self.listener.as_ref().expect("the operator is there");
        let accepting = async {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                // A worker that was killed may have left a dial behind.
                if let Some(accepted) = self.upgrade(stream).await {
                    return accepted;
                }
            }
        };
        timeout(PATIENCE, accepting).await.expect("the sidecar dials")
    }

    async fn upgrade(&self, stream: TcpStream) -> Option<(Channel, Hello)> {
        stream.set_nodelay(true).ok()?;
        let stream = TlsAcceptor::from(self.authority.server.clone()).accept(stream).await.ok()?;
        #[expect(clippy::result_large_err, reason = "the callback's type")]
        let check = |request: &Request, response: Response| {
            assert_eq!(request.uri().path(), pitwall_protocol::PATH);
            assert_eq!(request.headers()["authorization"], format!("Bearer {TOKEN}"));
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, check).await.ok()?;
        let mut channel = Channel { socket };
        match channel.hear().await {
            SidecarMessage::Hello(hello) => Some((channel, hello)),
            other => panic!("a hello comes first: {other:?}"),
        }
    }

    /// Takes the next connection and welcomes it.
    pub(crate) async fn welcome(&self) -> (Channel, Hello) {
        let (mut channel, hello) = self.accept().await;
        channel.say(&self.welcome_message(1)).await;
        (channel, hello)
    }

    pub(crate) fn welcome_message(&self, epoch: u64) -> OperatorMessage {
        OperatorMessage::Welcome(Welcome {
            version: VERSION,
            epoch,
            ca: None,
            store_ca: Some(self.authority.ca.clone()),
        })
    }
}

/// One connection of a sidecar.
pub(crate) struct Channel {
    pub(crate) socket: WebSocketStream<TlsStream<TcpStream>>,
}

impl Channel {
    pub(crate) async fn say(&mut self, message: &OperatorMessage) {
        self.socket.send(Message::text(encode(message))).await.expect("the sidecar listens");
    }

    pub(crate) async fn hear(&mut self) -> SidecarMessage {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => return decode(&text).expect("a message"),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("the sidecar is to speak: {other:?}"),
                }
            }
        };
        timeout(PATIENCE, next).await.expect("the sidecar speaks in time")
    }

    /// The next report that satisfies this; all before it are dropped.
    pub(crate) async fn report(&mut self, wanted: impl Fn(&SessionReport) -> bool) -> SessionReport {
        loop {
            match self.hear().await {
                SidecarMessage::Report(report) if wanted(&report) => return *report,
                SidecarMessage::Report(report) => {
                    assert!(!report.phase.is_end(), "an end that wasn't expected: {report:?}");
                }
                other => panic!("a report is expected: {other:?}"),
            }
        }
    }

    /// The session's end.
    pub(crate) async fn end(&mut self) -> SessionReport {
        self.report(|report| report.phase.is_end()).await
    }

    /// Waits until the sidecar hangs up, and gives its reason.
    pub(crate) async fn hung_up(&mut self) -> Option<u16> {
        let closing = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                }
            }
        };
        timeout(PATIENCE, closing).await.expect("the sidecar hangs up")
    }
}
