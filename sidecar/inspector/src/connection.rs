//! The transport: TCP, one fixed read buffer, and what waits to be written.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use crate::command::{Command, CommandId};
use crate::error::Error;
use crate::exchange::{Advanced, Exchange, Incoming};
use crate::frame;
use crate::handshake::{Handshake, SocketPath};
use crate::limits::Limits;

const READ_BUFFER: usize = 64 << 10;

/// A WebSocket to an app's inspector.
///
/// Reading and writing both happen in [`next`](Self::next), so that one loop can `select!` on it beside timers
/// and other channels. Dropping the connection closes it at once.
#[derive(Debug)]
pub struct Connection {
    addr: SocketAddr,
    stream: TcpStream,
    exchange: Exchange,
    limits: Limits,
    buffer: Box<[u8]>,
    /// Where in `buffer` the bytes lie that weren't consumed yet.
    start: usize,
    end: usize,
    outgoing: Outgoing,
}

#[derive(Debug)]
enum Outgoing {
    /// Bytes that wait to be written, of which so many are.
    Open { bytes: Vec<u8>, written: usize },
    /// A write failed. Why is told by reading: what the inspector said before may still have to be read.
    Failed,
}

impl Connection {
    /// Connects to the inspector at `addr` and upgrades to the WebSocket of the target at `path`.
    ///
    /// Has no time limit of its own: what listens there may be anything. Dropping the future closes the
    /// connection.
    pub async fn connect(addr: SocketAddr, path: &SocketPath, limits: Limits) -> Result<Self, Error> {
        let io = |doing| move |source| Error::Io { doing, addr, source };
        let stream = TcpStream::connect(addr).await.map_err(io("connecting to"))?;
        stream.set_nodelay(true).map_err(io("connecting to"))?;
        let mut connection = Self {
            addr,
            stream,
            exchange: Exchange::new(limits),
            limits,
            buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            outgoing: Outgoing::Open { bytes: Vec::new(), written: 0 },
        };
        let handshake = Handshake::new(fastrand::u128(..));
        let request = handshake.request(addr, path);
        connection.stream.write_all(request.as_bytes()).await.map_err(io("writing to"))?;
        loop {
            if connection.read().await? == 0 {
                return Err(Error::HttpCutShort { addr });
            }
            match handshake.answer(&connection.buffer[..connection.end]) {
                Ok(Some(size)) => {
                    connection.start = size;
                    return Ok(connection);
                }
                Ok(None) => {}
                Err(seen) => return Err(Error::NotAnInspector { addr, seen }),
            }
        }
    }

    /// Sends `command`: as much as the socket takes now, the rest within [`next`](Self::next), which must be
    /// called for the reply anyway. Never waits.
    pub fn send(&mut self, command: &Command<'_>) -> Result<CommandId, Error> {
        let Outgoing::Open { bytes, written } = &mut self.outgoing else { return Err(Error::Ended) };
        let (id, text) = self.exchange.command(command)?;
        bytes.drain(..std::mem::take(written));
        let waiting = bytes.len() + frame::written_size(text.len());
        if waiting > self.limits.outgoing {
            return Err(Error::Backlog { waiting, limit: self.limits.outgoing });
        }
        frame::write_text(&text, fastrand::u32(..).to_be_bytes(), bytes);
        match self.stream.try_write(bytes) {
            Ok(size) => *written = size,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.outgoing = Outgoing::Failed,
        }
        Ok(id)
    }

    /// What comes in next. Meanwhile writes what still waits to be written.
    ///
    /// Chunks of a streamed result come in order, with nothing of another reply between them. After
    /// [`Incoming::Closed`] comes nothing else, at once.
    ///
    /// # Cancel safety
    /// May be dropped at any time, as a losing branch of `select!` is: nothing is lost.
    pub async fn next(&mut self) -> Result<Incoming<&[u8]>, Error> {
        let (offset, incoming) = loop {
            let offset = self.start;
            let Advanced { consumed, incoming } =
                self.exchange.advance(&self.buffer[self.start..self.end])?;
            self.start += consumed;
            if let Some(incoming) = incoming {
                break (offset, incoming);
            }
            if self.read().await? == 0 {
                break (0, Incoming::Closed(self.exchange.dropped()));
            }
        };
        Ok(incoming.map(|range| &self.buffer[offset + range.start..offset + range.end]))
    }

    /// Reads into the buffer, and writes what waits until something was read. 0: the connection has ended.
    async fn read(&mut self) -> Result<usize, Error> {
        // At most a header or an opening is left over, and the longest HTTP head is an eighth of the buffer.
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= std::mem::take(&mut self.start);
        let size = poll_fn(|context| {
            self.poll_write(context);
            self.poll_read(context)
        })
        .await
        .or_else(|source| match source.kind() {
            // How the app's end shows when it dies with bytes unread.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ok(0),
            _ => Err(Error::Io { doing: "reading from", addr: self.addr, source }),
        })?;
        self.end += size;
        // Linux leaves this mode by itself. Without it, a reply that follows an event waits 44 ms for our
        // delayed ACK, since Node's socket has Nagle's algorithm on.
        let _ = self.stream.set_quickack(true);
        Ok(size)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut free = ReadBuf::new(&mut self.buffer[self.end..]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut free))?;
        Poll::Ready(Ok(free.filled().len()))
    }

    fn poll_write(&mut self, context: &mut Context<'_>) {
        let Outgoing::Open { bytes, written } = &mut self.outgoing else { return };
        while *written < bytes.len() {
            match Pin::new(&mut self.stream).poll_write(context, &bytes[*written..]) {
                Poll::Ready(Ok(size)) => *written += size,
                Poll::Ready(Err(_)) => {
                    self.outgoing = Outgoing::Failed;
                    return;
                }
                Poll::Pending => return,
            }
        }
        // Commands are rare: keep no memory for them in between.
        *bytes = Vec::new();
        *written = 0;
    }
}
