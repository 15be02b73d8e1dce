//! Chunks of a recording: each comes over into a file of the spool, and a thread joins them into one artifact.

use super::collect::CollectError;
use super::spool::{Compression, Room, Spool, SpoolError, Spooled, Writer};
use pitwall_profile::cpu::JoinError;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::sync::{Mutex, PoisonError, mpsc};
use tokio::sync::oneshot;

/// The largest chunk that is taken.
pub(super) const LARGEST_CHUNK: u64 = 64 << 20;

/// A chunk is in memory while it is added, one in all recordings.
static ADDING: Mutex<()> = Mutex::new(());

/// What chunks are joined by.
pub(super) trait Join {
    /// What it says at the end.
    type Joined: Send + 'static;

    /// Adds a chunk, as a whole or not at all.
    fn add(&mut self, chunk: &File) -> Result<(), String>;

    /// Writes the artifact.
    fn finish(self, into: &mut Writer) -> Result<Self::Joined, CollectError>;
}

/// A chunk that comes over.
#[derive(Debug)]
pub(super) struct Arriving {
    file: File,
    room: Room,
    bytes: u64,
    /// Whether all of it so far is in the file.
    whole: bool,
}

impl Arriving {
    /// `None`: there is no place for it.
    pub(super) fn begin(spool: &Spool, name: &str) -> Option<Self> {
        match spool.scratch(name) {
            Ok((file, room)) => Some(Self { file, room, bytes: 0, whole: true }),
            Err(error) => {
                tracing::warn!(%error, "a chunk has no place");
                None
            }
        }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if !self.whole {
            return;
        }
        let mut put = || -> Result<(), SpoolError> {
            self.room.take(bytes.len() as u64)?;
            self.file.write_all(bytes).map_err(|source| self.room.io(source))
        };
        let refused = if self.bytes > LARGEST_CHUNK {
            Some(format!("it has more than {} MiB", LARGEST_CHUNK >> 20))
        } else {
            put().err().map(|error| error.to_string())
        };
        if let Some(why) = refused {
            tracing::warn!(why, "a chunk is left out");
            self.whole = false;
            self.file.set_len(0).ok();
            self.room.give_back();
        }
    }
}

/// What was joined.
pub(super) struct Finished<Joined> {
    pub(super) spooled: Spooled,
    pub(super) joined: Joined,
    /// The chunks that couldn't be added.
    pub(super) left_out: u32,
}

enum Work<Joined> {
    Add(Arriving),
    Finish { into: String, reply: oneshot::Sender<Result<Finished<Joined>, CollectError>> },
}

/// The thread that joins. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Joining<Joined> {
    works: mpsc::Sender<Work<Joined>>,
}

impl<Joined: Send + 'static> Joining<Joined> {
    pub(super) fn begin<J: Join<Joined = Joined>>(
        spool: &Spool,
        joiner: impl FnOnce() -> Result<J, SpoolError> + Send + 'static,
    ) -> Self {
        let (works, coming) = mpsc::channel();
        let spool = spool.clone();
        tokio::task::spawn_blocking(move || join(&spool, joiner(), &coming));
        Self { works }
    }

    /// Says whether there was one, and all of it.
    pub(super) fn add(&self, chunk: Option<Arriving>) -> bool {
        match chunk {
            Some(chunk) if chunk.whole => self.works.send(Work::Add(chunk)).is_ok(),
            _ => false,
        }
    }

    /// Writes the artifact `into` a file of the spool.
    pub(super) async fn finish(self, into: String) -> Result<Finished<Joined>, CollectError> {
        let (reply, finished) = oneshot::channel();
        // Where the thread has ended, the answer says so.
        self.works.send(Work::Finish { into, reply }).ok();
        finished.await.unwrap_or_else(|_| Err(CollectError::Lost("the joining thread ended".to_owned())))
    }
}

/// Why the artifact isn't written.
pub(super) fn unwritten(source: io::Error) -> CollectError {
    match source.downcast() {
        Ok(error) => CollectError::Spool(error),
        Err(source) => CollectError::Join(JoinError::Write(source)),
    }
}

/// Joins chunks until the recording is finished or given up.
fn join<J: Join>(spool: &Spool, mut all: Result<J, SpoolError>, works: &mpsc::Receiver<Work<J::Joined>>) {
    let mut left_out = 0;
    for work in works {
        match (work, &mut all) {
            (Work::Add(mut chunk), Ok(all)) => {
                let _one = ADDING.lock().unwrap_or_else(PoisonError::into_inner);
                let rewound = chunk.file.rewind().map_err(|source| chunk.room.io(source).to_string());
                if let Err(why) = rewound.and_then(|()| all.add(&chunk.file)) {
                    tracing::warn!(why, "a chunk is left out");
                    left_out += 1;
                }
            }
            (Work::Add(_), Err(_)) => {}
            (Work::Finish { into, reply }, _) => {
                let finished = all.map_err(CollectError::Spool).and_then(|all| {
                    let mut writer = spool.create(&into, Compression::default())?;
                    let joined = all.finish(&mut writer)?;
                    Ok(Finished { spooled: writer.finish()?, joined, left_out })
                });
                reply.send(finished).ok();
                return;
            }
        }
    }
}
