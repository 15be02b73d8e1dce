//! The listener against a real rustls client.

use super::*;
use crate::tls::{
    authority::{Authority, CaStep},
    https::{connect, send},
};
use axum::routing::get;
use http::StatusCode;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[expect(clippy::disallowed_methods, reason = "rustls' clients check certificates by the clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

fn authority() -> Authority {
    Authority::step(None, CaStep::Create, now()).unwrap().unwrap()
}

fn leaf(authority: &Authority) -> PemPair {
    authority.current.issue(&["127.0.0.1".to_owned()], now()).unwrap()
}

async fn listening(
    connections: usize,
) -> (String, Authority, ServingCertificate, Incoming, CancellationToken) {
    let authority = authority();
    let certificate = ServingCertificate::new(&leaf(&authority)).unwrap();
    let shutdown = CancellationToken::new();
    let (address, incoming) =
        listen("127.0.0.1:0".parse().unwrap(), certificate.clone(), connections, shutdown.clone())
            .await
            .unwrap();
    (address.to_string(), authority, certificate, incoming, shutdown)
}

#[tokio::test]
async fn a_replaced_certificate_is_served_to_new_connections_and_spares_the_old() {
    let (address, first, certificate, incoming, shutdown) = listening(8).await;
    let router = Router::new().route("/", get(|| async { "hello" }));
    let server = tokio::spawn(serve_router(incoming, router, shutdown.clone()));
    let mut open = connect(&address, &first.bundle()).await.unwrap();

    let second = authority();
    certificate.replace(&leaf(&second)).unwrap();
    let url = format!("https://{address}/");
    assert_eq!(send("GET", &url, &second.bundle(), &[], "").await.body(), "hello");
    assert!(connect(&address, &first.bundle()).await.unwrap_err().to_string().contains("UnknownIssuer"));
    open.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    open.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");

    // What can't be served doesn't replace what is.
    let mixed = PemPair { chain: leaf(&first).chain, key: leaf(&second).key };
    assert!(certificate.replace(&mixed).is_err());
    assert_eq!(send("GET", &url, &second.bundle(), &[], "").await.status(), StatusCode::OK);
    shutdown.cancel();
    server.await.unwrap();
}

#[tokio::test]
async fn connections_over_the_limit_wait_until_one_ends() {
    let (address, authority, _, mut incoming, shutdown) = listening(1).await;
    let ca = authority.bundle();
    let _first = connect(&address, &ca).await.unwrap();
    let held = incoming.next(&shutdown).await.unwrap();
    let second = tokio::spawn(async move { connect(&address, &ca).await });
    // The kernel takes the connection, but nobody answers its hello.
    assert!(timeout(Duration::from_millis(200), incoming.next(&shutdown)).await.is_err());
    assert!(!second.is_finished());
    drop(held);
    assert!(incoming.next(&shutdown).await.is_some());
    second.await.unwrap().unwrap();
    shutdown.cancel();
    assert!(incoming.next(&shutdown).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_gives_its_place_back() {
    let (address, _, _, _incoming, shutdown) = listening(1).await;
    let mut silent = TcpStream::connect(&address).await.unwrap();
    let mut nothing = [0];
    // The clock jumps ahead while everybody waits.
    assert_eq!(silent.read(&mut nothing).await.unwrap(), 0);
    shutdown.cancel();
}

#[tokio::test]
async fn what_is_under_way_at_the_shutdown_is_finished() {
    let (address, authority, _, incoming, shutdown) = listening(8).await;
    let (begun, finish) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let handler = {
        let (begun, finish) = (Arc::clone(&begun), Arc::clone(&finish));
        get(move || async move {
            begun.notify_one();
            finish.notified().await;
            "done"
        })
    };
    let server = tokio::spawn(serve_router(incoming, Router::new().route("/", handler), shutdown.clone()));
    let (url, ca) = (format!("https://{address}/"), authority.bundle());
    let idle = connect(&address, &ca).await.unwrap();
    let request = tokio::spawn(async move { send("GET", &url, &ca, &[], "").await });
    begun.notified().await;
    shutdown.cancel();
    finish.notify_one();
    assert_eq!(request.await.unwrap().body(), "done");
    // The idle connection holds nothing up.
    server.await.unwrap();
    assert!(TcpStream::connect(&address).await.is_err());
    drop(idle);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_given_up() {
    let (mut near, far) = tokio::io::duplex(16);
    let places = Arc::new(Semaphore::new(1));
    let place = places.clone().acquire_owned().await.unwrap();
    let mut held = Held { stream: far, place, waiting: None };
    let error = held.write_all(&[0; 100]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    // One that takes something in time is not.
    let mut taken = [0; 16];
    near.read_exact(&mut taken).await.unwrap();
    held.write_all(&[0; 16]).await.unwrap();
    drop(held);
    assert_eq!(places.available_permits(), 1);
}
