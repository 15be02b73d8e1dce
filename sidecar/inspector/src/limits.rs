/// How much one connection may cost, whatever the peer sends. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest message that is kept whole: every reply and event but a streamed result.
    pub message: usize,
    /// The largest message whose result is streamed, and the largest event that is skipped unread.
    pub stream: u64,
    /// How much may wait to be written before [`send`](crate::Connection::send) refuses.
    pub outgoing: usize,
}

impl Default for Limits {
    /// 1 MiB kept, 1 GiB streamed (30 s of a big app are 8 MB), 256 KiB outgoing.
    fn default() -> Self {
        Self { message: 1 << 20, stream: 1 << 30, outgoing: 256 << 10 }
    }
}
