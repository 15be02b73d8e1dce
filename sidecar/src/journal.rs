//! What a worker that dies leaves to the next one: one small file a session.
//!
//! A record is written before the signal, and again at each change that the next worker must know of: the
//! inspector's socket, the spooled artifact, the end. It goes when the operator has acknowledged the end and
//! the inspector is closed. A record replaces the former one by a rename, so it is always whole. It isn't
//! synced to the disk: what it guards against is the worker's death, which leaves the page cache alone, and a
//! machine that goes down takes the inspector with it.

use crate::discover::parse::Listener;
use crate::publish::collect::Another;
use crate::publish::spool::Spooled;
use pitwall_protocol::{
    Attach, ContainerRef, EarlyEnd, Load, NamedArtifact, Preflight, ProcessId, RequestUid, SessionPhase,
    Stall,
};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// How an inspector was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mark {
    /// Not signalled, or seen closed again: nothing to do.
    Clear,
    /// Signalled, or about to be; no socket seen yet.
    Signalled {
        /// The sockets that listened before, by inode.
        known: Vec<u64>,
    },
    /// Open on this socket.
    Open {
        /// The socket.
        listener: Listener,
    },
}

/// A session, as far as the next worker must know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The request.
    pub request: RequestUid,
    /// Its name, for people.
    pub request_name: String,
    /// The process.
    pub process: ProcessId,
    /// Its container.
    pub container: ContainerRef,
    /// When all must be over, in milliseconds after [`Self::written_unix_ms`].
    pub deadline_in_ms: u64,
    /// When this was written.
    pub written_unix_ms: u64,
    /// The inspector.
    pub inspector: Mark,
    /// The complete artifact, if there is one.
    pub spooled: Option<Spooled>,
    /// Its name; empty: the first of the session's artifacts.
    #[serde(default)]
    pub artifact: String,
    /// The other artifacts on the spool.
    #[serde(default)]
    pub waiting: Vec<Another>,
    /// The artifacts that are at the store.
    #[serde(default)]
    pub stored: Vec<NamedArtifact>,
    /// Why the recording is shorter than its window.
    pub ended_early: Option<EarlyEnd>,
    /// Its length in milliseconds.
    pub recorded_ms: u64,
    /// `process.version`.
    pub node_version: Option<String>,
    /// How the inspector was come by.
    pub attach: Option<Attach>,
    /// What it cost the app.
    pub stall: Stall,
    /// Under which load it was recorded.
    #[serde(default)]
    pub load: Option<Load>,
    /// Why it was ended early.
    #[serde(default)]
    pub remark: Option<String>,
    /// What was checked before it began.
    #[serde(default)]
    pub preflight: Option<Preflight>,
    /// How the session ended, once it did.
    pub end: Option<SessionPhase>,
}

impl Record {
    /// The artifacts on the spool.
    pub fn spooled_files(&self) -> impl Iterator<Item = &Spooled> {
        self.spooled.iter().chain(self.waiting.iter().map(|waiting| &waiting.spooled))
    }

    /// What is left until the deadline, in milliseconds.
    pub fn deadline_left_ms(&self, unix_ms: u64) -> u64 {
        // A clock that was set back makes the wait longer, never longer than it was.
        self.deadline_in_ms.saturating_sub(unix_ms.saturating_sub(self.written_unix_ms))
    }
}

/// The folder with the records.
#[derive(Clone, Debug)]
pub struct Journal {
    dir: PathBuf,
}

impl Journal {
    /// Opens the folder, making it if it isn't there.
    pub fn open(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Every record. One that can't be read is deleted and logged: it can't be acted upon.
    pub fn load(&self) -> io::Result<Vec<Record>> {
        let mut records = vec![];
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            // Other files are others'.
            if path.extension().is_none_or(|extension| extension != "json" && extension != "draft") {
                continue;
            }
            let read = std::fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
            match read {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a record of the journal can't be read");
                    std::fs::remove_file(&path)?;
                }
            }
        }
        Ok(records)
    }

    /// Writes a session's record over the former one.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        let path = self.path(&record.request, record.process);
        let draft = path.with_extension("draft");
        std::fs::write(&draft, serde_json::to_vec(record)?)?;
        std::fs::rename(&draft, &path)
    }

    /// Deletes a session's record if there is one.
    pub fn forget(&self, request: &RequestUid, process: ProcessId) {
        let path = self.path(request, process);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "couldn't delete a record of the journal");
        }
    }

    fn path(&self, request: &RequestUid, process: ProcessId) -> PathBuf {
        self.dir.join(format!("{}.json", session_name(request, process)))
    }
}

/// A file name for a session, whatever the request's uid holds.
pub fn session_name(request: &RequestUid, process: ProcessId) -> String {
    let safe: String =
        request.0.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
    format!("{safe}-{}-{}", process.pid, process.start_ticks)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record() -> Record {
        Record {
            request: RequestUid("7d1c-22".into()),
            request_name: "shop/slow".into(),
            process: ProcessId { pid: 17, start_ticks: 42 },
            container: ContainerRef { name: "app".into(), id: "c".into() },
            deadline_in_ms: 60_000,
            written_unix_ms: 1_000_000,
            inspector: Mark::Signalled { known: vec![1, 2] },
            spooled: None,
            artifact: String::new(),
            waiting: vec![],
            stored: vec![],
            ended_early: None,
            recorded_ms: 0,
            node_version: None,
            attach: None,
            stall: Stall::default(),
            remark: None,
            load: None,
            preflight: None,
            end: None,
        }
    }

    #[test]
    fn the_next_worker_reads_what_the_last_one_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let mut record = record();
        journal.write(&record).unwrap();
        record.inspector =
            Mark::Open { listener: Listener { address: "127.0.0.1".parse().unwrap(), port: 9229, inode: 7 } };
        journal.write(&record).unwrap();
        assert_eq!(Journal::open(dir.path()).unwrap().load().unwrap(), [record.clone()]);
        journal.forget(&record.request, record.process);
        journal.forget(&record.request, record.process);
        assert_eq!(journal.load().unwrap(), []);
    }

    #[test]
    fn what_cannot_be_read_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        journal.write(&record()).unwrap();
        std::fs::write(dir.path().join("x.json"), "{").unwrap();
        std::fs::write(dir.path().join("y.draft"), "").unwrap();
        assert_eq!(journal.load().unwrap().len(), 1);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_name_never_leaves_the_folder() {
        let process = ProcessId { pid: 1, start_ticks: 2 };
        for (uid, name) in [("7d1c-22", "7d1c-22-1-2"), ("../../etc/x", "etcx-1-2"), ("", "-1-2")] {
            assert_eq!(session_name(&RequestUid(uid.into()), process), name);
        }
    }

    #[test]
    fn the_deadline_goes_on_while_no_worker_runs() {
        let record = record();
        for (now, left) in
            [(1_000_000, 60_000), (1_020_000, 40_000), (1_060_000, 0), (9_000_000, 0), (0, 60_000)]
        {
            assert_eq!(record.deadline_left_ms(now), left);
        }
    }
}
