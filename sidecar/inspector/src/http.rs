//! As much HTTP as the inspector speaks: the head of one answer, within bounds.

use std::net::SocketAddr;

/// The largest head of an answer that is read. Node's have about 150 bytes.
pub(crate) const LONGEST_HEAD: usize = 8 << 10;
const MOST_HEADERS: usize = 32;

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Bytes up to the body.
    pub(crate) size: usize,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Reads the head that `input` begins with. `None`: more bytes are needed. An error says what was seen.
    pub(crate) fn read(input: &[u8]) -> Result<Option<Self>, String> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&input[..input.len().min(LONGEST_HEAD)]) {
            Err(error) => Err(format!("its HTTP answer can't be read: {error}")),
            Ok(httparse::Status::Partial) if input.len() >= LONGEST_HEAD => {
                Err(format!("its HTTP answer has a head of more than {LONGEST_HEAD} bytes"))
            }
            Ok(httparse::Status::Partial) => Ok(None),
            Ok(httparse::Status::Complete(size)) => Ok(Some(Self {
                status: response.code.expect("a complete head has a status"),
                size,
                headers: response
                    .headers
                    .iter()
                    .map(|header| {
                        (
                            header.name.to_ascii_lowercase(),
                            String::from_utf8_lossy(header.value).trim().to_owned(),
                        )
                    })
                    .collect(),
            })),
        }
    }

    /// The first header of this name (in lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// The value of `Host`: Node refuses names, against DNS rebinding.
pub(crate) fn host(addr: SocketAddr) -> String {
    addr.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_awaited_until_complete() {
        let answer = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]";
        let size = answer.len() - 2;
        for cut in 0..size {
            assert_eq!(Head::read(&answer[..cut]), Ok(None), "cut at {cut}");
        }
        let head = Head::read(answer).unwrap().unwrap();
        assert_eq!((head.status, head.size), (200, size));
        assert_eq!(head.header("content-length"), Some("2"));
        assert_eq!(head.header("upgrade"), None);
    }

    #[test]
    fn garbage_and_endless_heads_are_refused() {
        assert!(Head::read(b"SSH-2.0-OpenSSH_9.6\r\n").is_err());
        assert!(Head::read(b"\x00\x01\x02\x03").is_err());
        let endless = [&b"HTTP/1.1 200 OK\r\nX: "[..], &[b'a'; LONGEST_HEAD]].concat();
        assert!(Head::read(&endless).unwrap_err().contains("more than 8192 bytes"));
        let many = ["HTTP/1.1 200 OK\r\n".to_owned(), "X: y\r\n".repeat(MOST_HEADERS + 1), "\r\n".to_owned()]
            .concat();
        assert!(Head::read(many.as_bytes()).is_err());
    }
}
