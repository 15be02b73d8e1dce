//! The HTTP upgrade that makes a TCP connection to the inspector a WebSocket.

use std::fmt;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use crate::http::{Head, host};

const LONGEST_PATH: usize = 128;

/// Where on an inspector's port the WebSocket is: `/` and the target's id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SocketPath(String);

impl SocketPath {
    /// Takes `/id`, or nothing where `path` couldn't stand in a request as it is.
    pub fn new(path: &str) -> Option<Self> {
        let fits = path.starts_with('/')
            && path.len() <= LONGEST_PATH
            && path.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(path.to_owned()))
    }

    /// Takes the path of a `webSocketDebuggerUrl`. Its host and port are the app's word and not believed.
    pub fn of_url(url: &str) -> Option<Self> {
        let (_, rest) = url.split_once("://")?;
        Self::new(&rest[rest.find('/')?..])
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// One upgrade: its request, and the proof that the answer is to this request.
#[derive(Debug)]
pub struct Handshake {
    key: String,
}

impl Handshake {
    /// `nonce` is a random number.
    pub fn new(nonce: u128) -> Self {
        Self { key: STANDARD.encode(nonce.to_be_bytes()) }
    }

    /// The request. It offers no extensions: Node knows none.
    pub fn request(&self, addr: SocketAddr, path: &SocketPath) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n",
            host = host(addr),
            key = self.key,
        )
    }

    /// Reads the answer that `input` begins with: the number of bytes before the first frame. `None`: more bytes
    /// are needed. An error says what was seen instead.
    pub fn answer(&self, input: &[u8]) -> Result<Option<usize>, String> {
        let Some(head) = Head::read(input)? else { return Ok(None) };
        if head.status != 101 {
            return Err(format!("it answers the WebSocket upgrade with HTTP status {}", head.status));
        }
        if !head.header("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
            return Err("its upgrade is not to a WebSocket".to_owned());
        }
        if head.header("sec-websocket-accept") != Some(&self.accept()) {
            return Err("its Sec-WebSocket-Accept is not the answer to this request".to_owned());
        }
        if head.header("sec-websocket-extensions").is_some() {
            return Err("it uses a WebSocket extension that was not offered".to_owned());
        }
        Ok(Some(head.size))
    }

    fn accept(&self) -> String {
        let mut hash = Sha1::new();
        hash.update(&self.key);
        hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        STANDARD.encode(hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, 1.3.
    fn example() -> Handshake {
        Handshake { key: "dGhlIHNhbXBsZSBub25jZQ==".into() }
    }

    fn answer(status: &str, headers: &[&str]) -> String {
        [&[&format!("HTTP/1.1 {status}")[..]], headers, &["", ""]].concat().join("\r\n")
    }

    const UPGRADE: &str = "Upgrade: websocket";
    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    #[test]
    fn the_standards_example_is_accepted() {
        let text = answer("101 Switching Protocols", &[UPGRADE, "Connection: Upgrade", ACCEPT]);
        for cut in 0..text.len() {
            assert_eq!(example().answer(&text.as_bytes()[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(example().answer(format!("{text}frame").as_bytes()), Ok(Some(text.len())));
    }

    #[test]
    fn an_answer_that_is_not_to_this_request_is_refused() {
        for (text, seen) in [
            (answer("400 Bad Request", &[]), "status 400"),
            (answer("200 OK", &[UPGRADE, ACCEPT]), "status 200"),
            (answer("101 x", &[ACCEPT]), "not to a WebSocket"),
            (answer("101 x", &["Upgrade: h2c", ACCEPT]), "not to a WebSocket"),
            (answer("101 x", &[UPGRADE]), "Sec-WebSocket-Accept"),
            (answer("101 x", &[UPGRADE, "Sec-WebSocket-Accept: AAAA"]), "Sec-WebSocket-Accept"),
            (
                answer("101 x", &[UPGRADE, ACCEPT, "Sec-WebSocket-Extensions: permessage-deflate"]),
                "extension",
            ),
        ] {
            let error = example().answer(text.as_bytes()).unwrap_err();
            assert!(error.contains(seen), "{error} of {text}");
        }
    }

    #[test]
    fn the_host_is_an_address() {
        for (addr, host) in
            [("127.0.0.1:9229", "Host: 127.0.0.1:9229\r\n"), ("[::1]:9230", "Host: [::1]:9230\r\n")]
        {
            let request = example().request(addr.parse().unwrap(), &SocketPath::new("/id").unwrap());
            assert!(request.starts_with("GET /id HTTP/1.1\r\n"), "{request}");
            assert!(request.contains(host), "{request}");
        }
    }

    #[test]
    fn a_path_that_could_break_the_request_is_refused() {
        for (url, expected) in [
            ("ws://127.0.0.1:9229/8f3c", Some("/8f3c")),
            ("ws://[::1]:9229/a?b", Some("/a?b")),
            ("ws://127.0.0.1:9229", None),
            ("/8f3c", None),
            ("ws://x/a b", None),
            ("ws://x/a\r\nHost: y", None),
            ("ws://x/é", None),
            ("", None),
        ] {
            assert_eq!(SocketPath::of_url(url).map(|path| path.to_string()).as_deref(), expected, "{url:?}");
        }
        assert_eq!(SocketPath::new(&"/".repeat(LONGEST_PATH + 1)), None);
    }
}
