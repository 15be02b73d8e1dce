//! Compressed artifacts on the sidecar's own volume, never more than its limit: kubelet evicts a pod whose
//! emptyDir is over its size.

pub use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// One complete artifact on the spool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spooled {
    /// The file's name within the spool.
    pub file: String,
    /// Its length, that is, compressed.
    pub bytes: u64,
    /// The bytes before compression.
    pub uncompressed_bytes: u64,
    /// Lower-case hex SHA-256 of the file.
    pub sha256: String,
}

/// Why an artifact couldn't be spooled.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// There is no room left.
    #[error(
        "the spool {dir} may hold {limit} bytes and is full ({used} used): wait until other uploads are done, or \
         raise the limit of the sidecar's spool"
    )]
    Full {
        /// Its folder.
        dir: PathBuf,
        /// What it may hold.
        limit: u64,
        /// What it holds.
        used: u64,
    },
    /// The file is larger than it may be.
    #[error(
        "it has more than the {largest} bytes, compressed, that output.maxSize allows: raise that, or record for less time"
    )]
    TooLarge {
        /// What it may have.
        largest: u64,
    },
    /// The volume refused.
    #[error("writing {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was seen.
        source: io::Error,
    },
}

/// The spool's folder and how much of it is used.
#[derive(Clone, Debug)]
pub struct Spool {
    dir: PathBuf,
    limit: u64,
    /// What one artifact may have.
    largest: u64,
    used: Arc<Mutex<HashMap<String, u64>>>,
}

impl Spool {
    /// Opens the folder, making it if it isn't there. Files that nobody knows of are deleted.
    pub fn open(dir: &Path, limit: u64, known: &[String]) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut used = HashMap::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if known.contains(&name) {
                used.insert(name, entry.metadata()?.len());
            } else if entry.file_type()?.is_file() {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { dir: dir.to_owned(), limit, largest: u64::MAX, used: Arc::new(Mutex::new(used)) })
    }

    /// The same spool, for artifacts of at most so many bytes.
    #[must_use]
    pub fn for_artifacts_of(&self, largest: u64) -> Self {
        Self { largest, ..self.clone() }
    }

    /// The bytes on the spool.
    pub fn used(&self) -> u64 {
        self.sizes().values().sum()
    }

    fn sizes(&self) -> std::sync::MutexGuard<'_, HashMap<String, u64>> {
        // Every change of the map is one call, so a panic elsewhere leaves it right.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a file lies.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// What may still be written.
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used())
    }

    /// A file without a name of its own in the journal: gone with its [`Room`].
    pub fn scratch(&self, name: &str) -> Result<(File, Room), SpoolError> {
        let path = self.path(name);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|source| SpoolError::Io { path: path.clone(), source })?;
        self.sizes().insert(name.to_owned(), 0);
        Ok((file, Room { spool: self.clone(), name: name.to_owned() }))
    }

    /// Begins a file, over an unfinished one of the same name.
    pub fn create(&self, file: &str, level: Compression) -> Result<Writer, SpoolError> {
        let path = self.path(file);
        let io = |source| SpoolError::Io { path: path.clone(), source };
        let target = File::create(&path).map_err(io)?;
        self.sizes().insert(file.to_owned(), 0);
        let counted = Counted {
            spool: self.clone(),
            name: file.to_owned(),
            target,
            hash: Sha256::new(),
            bytes: 0,
            refused: None,
            finished: false,
        };
        Ok(Writer { gzip: GzEncoder::new(counted, level), path, uncompressed_bytes: 0 })
    }

    /// Deletes a file if it is there.
    pub fn delete(&self, file: &str) {
        if let Err(error) = std::fs::remove_file(self.path(file))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file, %error, "couldn't delete from the spool");
            return;
        }
        self.sizes().remove(file);
    }

    /// Takes room for `more` bytes of a file, or says how much is used.
    fn reserve(&self, file: &str, more: u64) -> Result<(), u64> {
        let mut sizes = self.sizes();
        let used: u64 = sizes.values().sum();
        if used.saturating_add(more) > self.limit {
            return Err(used);
        }
        // A file that was deleted meanwhile takes no room any more.
        if let Some(size) = sizes.get_mut(file) {
            *size += more;
        }
        Ok(())
    }
}

/// A scratch file's share of the spool. The file is deleted with it.
#[derive(Debug)]
pub struct Room {
    spool: Spool,
    name: String,
}

impl Room {
    /// Takes room for so many bytes more.
    pub fn take(&mut self, more: u64) -> Result<(), SpoolError> {
        self.spool.reserve(&self.name, more).map_err(|used| SpoolError::Full {
            dir: self.spool.dir.clone(),
            limit: self.spool.limit,
            used,
        })
    }

    /// The file is empty again.
    pub fn give_back(&mut self) {
        if let Some(size) = self.spool.sizes().get_mut(&self.name) {
            *size = 0;
        }
    }

    /// What the volume refused, in words.
    pub fn io(&self, source: io::Error) -> SpoolError {
        SpoolError::Io { path: self.spool.path(&self.name), source }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.spool.delete(&self.name);
    }
}

/// One artifact on its way to the spool: gzip, SHA-256 and both lengths. Deleted unless it is finished.
#[derive(Debug)]
pub struct Writer {
    gzip: GzEncoder<Counted>,
    path: PathBuf,
    uncompressed_bytes: u64,
}

impl Writer {
    /// Compresses more of it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        self.uncompressed_bytes += bytes.len() as u64;
        self.gzip.write_all(bytes).map_err(|error| self.gzip.get_mut().explain(&self.path, error))
    }

    /// Ends it.
    pub fn finish(mut self) -> Result<Spooled, SpoolError> {
        if let Err(error) = self.gzip.try_finish() {
            return Err(self.gzip.get_mut().explain(&self.path, error));
        }
        let counted = self.gzip.get_mut();
        counted.finished = true;
        Ok(Spooled {
            file: counted.name.clone(),
            bytes: counted.bytes,
            uncompressed_bytes: self.uncompressed_bytes,
            sha256: hex(&counted.hash.finalize_reset()),
        })
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Writer::write(self, bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The file under the compressor.
#[derive(Debug)]
struct Counted {
    spool: Spool,
    name: String,
    target: File,
    hash: Sha256,
    bytes: u64,
    /// Why no more was written.
    refused: Option<SpoolError>,
    finished: bool,
}

impl Counted {
    fn explain(&mut self, path: &Path, source: io::Error) -> SpoolError {
        self.refused.take().unwrap_or_else(|| SpoolError::Io { path: path.to_owned(), source })
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (more, largest) = (bytes.len() as u64, self.spool.largest);
        if self.bytes.saturating_add(more) > largest {
            self.refused = Some(SpoolError::TooLarge { largest });
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if let Err(used) = self.spool.reserve(&self.name, more) {
            let (dir, limit) = (self.spool.dir.clone(), self.spool.limit);
            self.refused = Some(SpoolError::Full { dir, limit, used });
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.target.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.finished {
            self.spool.delete(&self.name);
        }
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String can't fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn noise(length: usize) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(7);
        std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
    }

    #[test]
    fn what_is_spooled_comes_back_with_the_sums_that_were_said() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 1 << 20, &[]).unwrap();
        let content = noise(200_000);
        let mut writer = spool.create("a", Compression::default()).unwrap();
        for chunk in content.chunks(7_001) {
            writer.write(chunk).unwrap();
        }
        let spooled = writer.finish().unwrap();
        let file = std::fs::read(spool.path("a")).unwrap();
        assert_eq!((spooled.bytes, spooled.uncompressed_bytes), (file.len() as u64, 200_000));
        assert_eq!(spooled.sha256, hex(&Sha256::digest(&file)));
        let mut back = vec![];
        flate2::read::GzDecoder::new(&file[..]).read_to_end(&mut back).unwrap();
        assert_eq!(back, content);
        assert_eq!(spool.used(), spooled.bytes);
        spool.delete("a");
        assert_eq!((spool.used(), spool.path("a").exists()), (0, false));
    }

    #[test]
    fn the_limit_is_never_passed_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 50_000, &[]).unwrap();
        let mut first = spool.create("first", Compression::default()).unwrap();
        first.write(&noise(20_000)).unwrap();
        let first = first.finish().unwrap();
        let mut second = spool.create("second", Compression::default()).unwrap();
        let refused = noise(200_000).chunks(1000).find_map(|chunk| second.write(chunk).err()).unwrap();
        assert!(matches!(refused, SpoolError::Full { limit: 50_000, .. }), "{refused}");
        assert!(spool.used() <= 50_000);
        drop(second);
        assert_eq!(spool.used(), first.bytes);
        assert!(!spool.path("second").exists() && spool.path("first").exists());
    }

    #[test]
    fn an_unfinished_file_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 1 << 20, &[]).unwrap();
        let mut writer = spool.create("a", Compression::default()).unwrap();
        writer.write(&noise(100_000)).unwrap();
        drop(writer);
        assert_eq!((spool.used(), spool.path("a").exists()), (0, false));
    }

    #[test]
    fn a_new_worker_keeps_only_what_its_journal_knows() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("known"), [0; 10]).unwrap();
        std::fs::write(dir.path().join("left"), [0; 10]).unwrap();
        let spool = Spool::open(dir.path(), 1 << 20, &["known".to_owned()]).unwrap();
        assert_eq!(spool.used(), 10);
        assert!(!dir.path().join("left").exists() && dir.path().join("known").exists());
    }
}
