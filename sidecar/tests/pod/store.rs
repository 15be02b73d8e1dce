//! A store that takes parts over HTTPS, or answers what the test says.

use super::authority::Authority;
use pitwall_protocol::UploadGrant;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

/// The parts of each upload, by number.
type Uploads = BTreeMap<String, BTreeMap<u32, Vec<u8>>>;

#[derive(Default)]
struct State {
    uploads: Mutex<Uploads>,
    /// Answers for the next requests, in order: status line and body.
    scripted: Mutex<VecDeque<(String, String)>>,
    /// While set, requests get no answer.
    held: Mutex<bool>,
    release: Notify,
    asked: Notify,
}

pub(crate) struct Store {
    address: SocketAddr,
    state: Arc<State>,
}

impl Store {
    pub(crate) async fn new(authority: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State::default());
        let acceptor = TlsAcceptor::from(authority.server.clone());
        let serving = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, serving.clone()));
            }
        });
        Self { address, state }
    }

    /// URLs for parts of an upload.
    pub(crate) fn grant(&self, upload: &str, part_size: u64, first_part: u32, urls: u32) -> UploadGrant {
        UploadGrant {
            upload_id: upload.to_owned(),
            part_size,
            first_part,
            urls: (first_part..first_part + urls)
                .map(|part| format!("https://{}/bucket/{upload}?part={part}&sig=a%2Fb", self.address))
                .collect(),
            expires_in_ms: 600_000,
            artifact: String::new(),
        }
    }

    /// The next request is answered so.
    pub(crate) fn answer(&self, status: &str, body: &str) {
        self.state.scripted.lock().expect("whole").push_back((status.to_owned(), body.to_owned()));
    }

    /// Requests get no answer from now on.
    pub(crate) fn hold(&self) {
        *self.state.held.lock().expect("whole") = true;
    }

    pub(crate) fn release(&self) {
        *self.state.held.lock().expect("whole") = false;
        self.state.release.notify_waiters();
    }

    /// Waits until a part has come.
    pub(crate) async fn asked(&self) {
        tokio::time::timeout(super::PATIENCE, self.state.asked.notified()).await.expect("a part comes");
    }

    pub(crate) fn uploads(&self) -> Vec<String> {
        self.state.uploads.lock().expect("whole").keys().cloned().collect()
    }

    /// What the parts of an upload make together.
    pub(crate) fn object(&self, upload: &str) -> Vec<u8> {
        let uploads = self.state.uploads.lock().expect("whole");
        let parts = uploads.get(upload).unwrap_or_else(|| panic!("no part of {upload} came"));
        let numbers: Vec<u32> = parts.keys().copied().collect();
        let expected: Vec<u32> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, expected, "no part is missing");
        parts.values().flatten().copied().collect()
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, state: Arc<State>) {
    stream.set_nodelay(true).ok();
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut bytes = vec![];
    let head_end = loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).expect("a head");
    let header = |name: &str| {
        head.lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(|text| text.trim().to_owned()))
    };
    assert_eq!(header("transfer-encoding:"), None, "stores want a length");
    let length: usize = header("content-length:").expect("a length").parse().expect("a number");
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let body = bytes.split_off(head_end);
    assert_eq!(body.len(), length, "no more than was announced");
    let target = head.split(' ').nth(1).expect("a target");
    assert!(head.starts_with("PUT /bucket/") && target.ends_with("&sig=a%2Fb"), "{head}");
    let (upload, part) = target["/bucket/".len()..].split_once("?part=").expect("an upload and a part");
    let part: u32 = part.split('&').next().expect("a part").parse().expect("a number");

    state.asked.notify_one();
    while *state.held.lock().expect("whole") {
        state.release.notified().await;
    }
    let scripted = state.scripted.lock().expect("whole").pop_front();
    let answer = if let Some((status, text)) = scripted {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
    } else {
        let etag = format!("\"{upload}-{part}-{length}\"");
        state.uploads.lock().expect("whole").entry(upload.to_owned()).or_default().insert(part, body);
        format!("HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    stream.write_all(answer.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}
