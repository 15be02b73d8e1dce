//! Peers that aren't Node: servers of one connection that say what a test makes them say.

use std::net::SocketAddr;

use base64::Engine as _;
use pitwall_inspector::{Connection, Limits, SocketPath};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Serves one connection by `serve`.
pub(crate) async fn serve<Serving: Future<Output = ()> + Send>(
    serve: impl FnOnce(TcpStream) -> Serving + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        serve(stream).await;
    });
    addr
}

/// Reads a request's head, and gives it.
pub(crate) async fn request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.expect("a request");
        head.push(byte);
    }
    String::from_utf8(head).expect("text")
}

/// Upgrades a connection to a WebSocket as Node does.
pub(crate) async fn upgrade(stream: &mut TcpStream) {
    let request = request(stream).await;
    let key = request
        .split("Sec-WebSocket-Key: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next())
        .expect("a key");
    let accept = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = base64::engine::general_purpose::STANDARD.encode(accept);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.expect("a client");
}

/// Connects to a peer.
pub(crate) async fn connect(
    addr: SocketAddr,
    limits: Limits,
) -> Result<Connection, pitwall_inspector::Error> {
    Connection::connect(addr, &SocketPath::new("/id").expect("a path"), limits).await
}
