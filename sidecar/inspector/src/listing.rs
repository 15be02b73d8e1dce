//! `/json/list`: which targets an inspector's port offers.

use std::net::SocketAddr;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::error::Error;
use crate::handshake::SocketPath;
use crate::http::{Head, LONGEST_HEAD, host};
use crate::text::LossyText;

/// The largest answer that is read. Node's has one entry of about 500 bytes.
const LONGEST_ANSWER: usize = LONGEST_HEAD + (64 << 10);

/// Asks the inspector at `addr` for its targets; Node has exactly one, the main thread.
///
/// Has no time limit of its own. Dropping it closes its connection. A port that was opened a moment ago may
/// still refuse.
pub async fn list(addr: SocketAddr) -> Result<Vec<SocketPath>, Error> {
    let io = |doing| move |source| Error::Io { doing, addr, source };
    let mut stream = TcpStream::connect(addr).await.map_err(io("connecting to"))?;
    let request = format!("GET /json/list HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host(addr));
    stream.write_all(request.as_bytes()).await.map_err(io("writing to"))?;
    let mut answer = Vec::with_capacity(4 << 10);
    loop {
        // Limited to one byte beyond, so that too long an answer shows.
        let room = LONGEST_ANSWER + 1 - answer.len();
        let read = (&mut stream).take(room as u64).read_buf(&mut answer).await.map_err(io("reading from"))?;
        match targets(&answer, read == 0) {
            Ok(Some(targets)) => return Ok(targets),
            Ok(None) if read == 0 => return Err(Error::HttpCutShort { addr }),
            Ok(None) => {}
            Err(seen) => return Err(Error::NotAnInspector { addr, seen }),
        }
    }
}

/// The targets that an answer names. `None`: more bytes are needed. `ended` says that no more will come.
fn targets(answer: &[u8], ended: bool) -> Result<Option<Vec<SocketPath>>, String> {
    let Some(head) = Head::read(answer)? else { return Ok(None) };
    if head.status != 200 {
        return Err(format!("it answers /json/list with HTTP status {}", head.status));
    }
    let body = &answer[head.size..];
    let body = match head.header("content-length").map(str::parse::<usize>) {
        Some(Err(_)) => return Err("its Content-Length is not a number".to_owned()),
        Some(Ok(length)) if body.len() >= length => &body[..length],
        Some(Ok(length)) if length > LONGEST_ANSWER => return Err(too_long()),
        None if ended => body,
        _ if answer.len() > LONGEST_ANSWER => return Err(too_long()),
        _ => return Ok(None),
    };
    let entries: Vec<Entry> =
        serde_json::from_slice(body).map_err(|error| format!("its /json/list is not: {error}"))?;
    let paths = entries.into_iter().filter_map(|entry| SocketPath::of_url(&entry.url?.0)).collect();
    Ok(Some(paths))
}

fn too_long() -> String {
    format!("its /json/list has more than {LONGEST_ANSWER} bytes")
}

#[derive(Deserialize)]
struct Entry {
    /// Absent while another client holds the target, in old versions.
    #[serde(rename = "webSocketDebuggerUrl")]
    url: Option<LossyText>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"[ { "description": "node.js instance", "title": "\ud800app.js", "type": "node",
        "webSocketDebuggerUrl": "ws://127.0.0.1:9229/8f3c" } ]"#;

    #[test]
    fn the_list_is_read_as_soon_as_it_is_complete() {
        let sized = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
        for cut in 0..sized.len() {
            assert_eq!(targets(&sized.as_bytes()[..cut], false), Ok(None), "cut at {cut}");
            assert_eq!(targets(&sized.as_bytes()[..cut], true), Ok(None), "ended at {cut}");
        }
        let expected = Ok(Some(vec![SocketPath::new("/8f3c").unwrap()]));
        assert_eq!(targets(sized.as_bytes(), false), expected);
        let unsized_ = format!("HTTP/1.0 200 OK\r\n\r\n{BODY}");
        assert_eq!(targets(unsized_.as_bytes(), false), Ok(None));
        assert_eq!(targets(unsized_.as_bytes(), true), expected);
    }

    #[test]
    fn garbage_is_refused_with_what_was_seen() {
        let endless = format!("HTTP/1.0 200 OK\r\n\r\n{}", " ".repeat(LONGEST_ANSWER));
        for (answer, seen) in [
            ("HTTP/1.0 404 Not Found\r\n\r\n", "status 404"),
            ("HTTP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n", "Content-Length"),
            ("HTTP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n", "more than"),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", "not"),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "not"),
            (&endless, "more than"),
            ("220 smtp.example.com\r\n", "can't be read"),
        ] {
            let error = targets(answer.as_bytes(), false).unwrap_err();
            assert!(error.contains(seen), "{error} of {answer:.80}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = "[".repeat(60_000);
        let answer = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{deep}", deep.len());
        assert!(targets(answer.as_bytes(), false).is_err());
    }

    #[test]
    fn entries_without_a_usable_address_are_left_out() {
        let body = r#"[{},{"webSocketDebuggerUrl":"ws://x/a b"},{"webSocketDebuggerUrl":null}]"#;
        let answer = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(targets(answer.as_bytes(), false), Ok(Some(vec![])));
    }
}
