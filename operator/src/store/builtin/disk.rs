//! What lies on the built-in store's volume.
//!
//! ```text
//! objects/{key}            an object's bytes
//! objects/{key}~media      how it is described, and the upload that it came from
//! uploads/{id}/upload      an upload's key and media
//! uploads/{id}/{number}-{sha256}   a part
//! temporary/               what is being written; emptied at start
//! ```
//! Everything is written under `temporary`, synced, then renamed: after a crash there are whole files or none.
//! Keys hold no `~` and no segment that begins with a dot (`store::keys`), so nothing meets and nothing climbs out.

use crate::store::{
    Folder, Key, Media,
    keys::hex,
    parts::{self, Discrepancy, StoredPart},
};
use pitwall_protocol::Part;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// The volume.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    root: PathBuf,
    capacity: u64,
}

/// What can go wrong on the volume.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    #[error("there is no such object or upload")]
    NotFound,
    #[error(transparent)]
    Discrepancy(#[from] Discrepancy),
    #[error("the store is full: {free} bytes are free of its capacity")]
    Full { free: u64 },
    #[error("the store's volume: {0}")]
    Io(#[from] io::Error),
}

#[derive(Serialize, Deserialize)]
struct Upload {
    key: String,
    media: Media,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Described {
    pub(super) media: Media,
    upload: String,
}

impl Disk {
    /// Opens the volume, and empties what a crash left.
    pub(super) fn open(root: &Path, capacity: u64) -> io::Result<Self> {
        let temporary = root.join("temporary");
        if temporary.exists() {
            fs::remove_dir_all(&temporary)?;
        }
        for folder in ["temporary", "objects", "uploads"] {
            fs::create_dir_all(root.join(folder))?;
        }
        Ok(Self { root: root.to_owned(), capacity })
    }

    fn object(&self, key: &Key) -> PathBuf {
        self.root.join("objects").join(key.as_str())
    }

    fn media_of(&self, key: &Key) -> PathBuf {
        self.root.join("objects").join(format!("{key}~media"))
    }

    /// The folder of an upload; its id is one of ours, so 32 hex digits.
    fn upload(&self, id: &str) -> Result<PathBuf, DiskError> {
        let ours = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if ours { Ok(self.root.join("uploads").join(id)) } else { Err(DiskError::NotFound) }
    }

    /// Bytes that may still be written: of the volume, and of the capacity that was set.
    pub(super) fn free(&self) -> Result<u64, DiskError> {
        let volume = nix::sys::statvfs::statvfs(&self.root).map_err(io::Error::from)?;
        let free = volume.blocks_available().saturating_mul(volume.fragment_size());
        if self.capacity == 0 {
            return Ok(free);
        }
        Ok(free.min(self.capacity.saturating_sub(used(&self.root)?)))
    }

    /// Refuses what the volume has no room for.
    pub(super) fn make_room(&self, bytes: u64) -> Result<(), DiskError> {
        let free = self.free()?;
        if bytes > free { Err(DiskError::Full { free }) } else { Ok(()) }
    }

    pub(super) fn begin(&self, key: &Key, media: Media) -> Result<String, DiskError> {
        let id = random_id();
        let folder = self.upload(&id)?;
        fs::create_dir_all(&folder)?;
        let upload = Upload { key: key.as_str().to_owned(), media };
        self.write(&folder.join("upload"), &serde_json::to_vec(&upload).map_err(io::Error::other)?)?;
        Ok(id)
    }

    /// A file for a part's bytes, to be handed to [`Disk::keep_part`].
    pub(super) fn temporary(&self) -> io::Result<tempfile::NamedTempFile> {
        tempfile::NamedTempFile::new_in(self.root.join("temporary"))
    }

    /// Keeps a part: its `ETag` is its SHA-256.
    pub(super) fn keep_part(
        &self,
        key: &Key,
        id: &str,
        number: u32,
        etag: &str,
        file: tempfile::NamedTempFile,
    ) -> Result<(), DiskError> {
        let folder = self.upload(id)?;
        if self.read_upload(id)?.key != key.as_str() {
            return Err(DiskError::NotFound);
        }
        file.as_file().sync_all()?;
        file.persist(folder.join(format!("{number}-{etag}"))).map_err(|error| error.error)?;
        // A part that was sent again replaces the earlier one.
        for part in self.list(id)?.into_iter().filter(|part| part.number == number && part.etag != etag) {
            let _ = fs::remove_file(folder.join(format!("{number}-{}", part.etag)));
        }
        Ok(())
    }

    fn read_upload(&self, id: &str) -> Result<Upload, DiskError> {
        let text = fs::read(self.upload(id)?.join("upload")).map_err(absent)?;
        serde_json::from_slice(&text).map_err(|error| DiskError::Io(io::Error::other(error)))
    }

    fn list(&self, id: &str) -> Result<Vec<StoredPart>, DiskError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.upload(id)?).map_err(absent)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((number, etag)) = name.to_str().and_then(|name| name.split_once('-')) else { continue };
            let Ok(number) = number.parse() else { continue };
            found.push(StoredPart { number, etag: etag.to_owned(), bytes: entry.metadata()?.len() });
        }
        Ok(found)
    }

    /// Makes the object of an upload's parts.
    pub(super) fn complete(&self, key: &Key, id: &str, claimed: &[Part], max: u64) -> Result<u64, DiskError> {
        let upload = match self.read_upload(id) {
            Ok(upload) if upload.key == key.as_str() => upload,
            Ok(_) => return Err(DiskError::NotFound),
            // Completed already, by an operator that ended before it could say so.
            Err(DiskError::NotFound) => {
                let described = self.describe(key)?;
                let bytes = fs::metadata(self.object(key)).map_err(absent)?.len();
                return if described.upload == id { Ok(bytes) } else { Err(DiskError::NotFound) };
            }
            Err(error) => return Err(error),
        };
        let total = parts::check(claimed, &self.list(id)?, max)?;
        let folder = self.upload(id)?;
        let part = |part: &Part| folder.join(format!("{}-{}", part.number, parts::bare(&part.etag)));
        let object = self.object(key);
        fs::create_dir_all(object.parent().expect("a key lies in a folder"))?;
        let described = Described { media: upload.media, upload: id.to_owned() };
        if let [only] = claimed {
            File::open(part(only))?.sync_all()?;
            self.write(&self.media_of(key), &serde_json::to_vec(&described).map_err(io::Error::other)?)?;
            fs::rename(part(only), &object)?;
        } else {
            self.make_room(total)?;
            let mut whole = self.temporary()?;
            for claimed in claimed {
                io::copy(&mut File::open(part(claimed))?, whole.as_file_mut())?;
            }
            whole.as_file().sync_all()?;
            self.write(&self.media_of(key), &serde_json::to_vec(&described).map_err(io::Error::other)?)?;
            whole.persist(&object).map_err(|error| error.error)?;
        }
        fs::remove_dir_all(&folder)?;
        Ok(total)
    }

    pub(super) fn describe(&self, key: &Key) -> Result<Described, DiskError> {
        let text = fs::read(self.media_of(key)).map_err(absent)?;
        serde_json::from_slice(&text).map_err(|error| DiskError::Io(io::Error::other(error)))
    }

    pub(super) fn read(&self, key: &Key) -> Result<(File, u64), DiskError> {
        let file = File::open(self.object(key)).map_err(absent)?;
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok((file, metadata.len())) } else { Err(DiskError::NotFound) }
    }

    /// Deletes a folder's objects, and the uploads into it.
    pub(super) fn delete(&self, folder: &Folder) -> Result<(), DiskError> {
        for entry in fs::read_dir(self.root.join("uploads"))? {
            let name = entry?.file_name();
            let Some(id) = name.to_str() else { continue };
            let inside = self.read_upload(id).is_ok_and(|upload| upload.key.starts_with(&folder.as_start()));
            if inside {
                fs::remove_dir_all(self.upload(id)?)?;
            }
        }
        let path = self.root.join("objects").join(folder.as_str());
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        // The workload's and the namespace's folder go with their last request.
        let mut above = path.parent();
        while let Some(folder) =
            above.filter(|folder| folder.starts_with(self.root.join("objects").join("_")))
        {
            if fs::remove_dir(folder).is_err() {
                break;
            }
            above = folder.parent();
        }
        Ok(())
    }

    /// Forgets uploads that nobody has touched for `age`.
    pub(super) fn sweep(&self, age: Duration, now: SystemTime) -> io::Result<u32> {
        let mut swept = 0;
        for entry in fs::read_dir(self.root.join("uploads"))? {
            let entry = entry?;
            let touched = entry.metadata()?.modified()?;
            if now.duration_since(touched).is_ok_and(|old| old > age) {
                fs::remove_dir_all(entry.path())?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.temporary()?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|error| error.error)
    }
}

fn absent(error: io::Error) -> DiskError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => DiskError::NotFound,
        _ => DiskError::Io(error),
    }
}

fn used(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Renamed or deleted since the folder was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        sum += if metadata.is_dir() {
            used(&entry.path()).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(0),
                _ => Err(error),
            })?
        } else {
            metadata.len()
        };
    }
    Ok(sum)
}

fn random_id() -> String {
    let mut bytes = [0_u8; 16];
    // Unguessable isn't needed, the URLs are signed; unique is.
    fastrand::fill(&mut bytes);
    hex(&bytes)
}

/// The `ETag` of a part, as its bytes come.
#[derive(Default)]
pub(super) struct Etag(Sha256);

impl Etag {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}
