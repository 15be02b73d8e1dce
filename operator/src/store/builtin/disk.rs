//! The built-in store's files. Blocking; [`super::routes`] calls it off the runtime's threads.
//!
//! ```text
//! objects/KEY              an object, whole or not there
//! objects/…/.NAME.meta     its media and the upload that made it
//! uploads/ID/upload.json   an unfinished upload: its key, its media, when it began
//! uploads/ID/NNNNN.SHA256  a part of it
//! temp/                    what is being written or removed; emptied at start
//! ```
//! A file is written under `temp/`, flushed to the disk, then renamed; a folder to be removed is renamed to `temp/`
//! first. So whenever the process or the machine dies, each object and each part is whole or absent, and what is
//! left over lies in `temp/`.
//!
//! Many requests work at once. The order of renames is guarded by one lock that is never held while bytes are
//! copied; an upload that is being completed or aborted is claimed, and a second one is told [`DiskError::Busy`].

use super::{
    super::{
        Folder, Key, Listing, Media, StoreErrorKind,
        keys::hex,
        parts::{self, StoredPart},
    },
    Reason,
    space::{NoSpace, Reservation, Space},
};
use jiff::Timestamp;
use pitwall_protocol::Part;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tempfile::{NamedTempFile, TempDir};

/// What can't be done, and why.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    #[error("{0} isn't there")]
    NotFound(String),
    #[error(transparent)]
    NoSpace(#[from] NoSpace),
    #[error("the part has more than the {0} bytes that its URL allows")]
    TooLarge(u64),
    #[error("{0}")]
    Mismatch(#[from] parts::Discrepancy),
    #[error("the upload is being completed or aborted by another request")]
    Busy,
    #[error("{what}: {source}")]
    Volume { what: &'static str, source: io::Error },
}

impl DiskError {
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::NotFound(_) => Reason::NotFound,
            Self::NoSpace(NoSpace::Unknown(_)) => Reason::Volume,
            Self::NoSpace(_) => Reason::Full,
            Self::TooLarge(_) => Reason::TooLarge,
            Self::Mismatch(problem) if problem.kind() == StoreErrorKind::TooLarge => Reason::TooLarge,
            Self::Mismatch(_) => Reason::Mismatch,
            Self::Busy => Reason::Busy,
            Self::Volume { source, .. } if is_full(source) => Reason::Full,
            Self::Volume { .. } => Reason::Volume,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Names what was tried on the volume.
trait Tried<T> {
    fn tried(self, what: &'static str) -> Result<T, DiskError>;
}

impl<T> Tried<T> for io::Result<T> {
    fn tried(self, what: &'static str) -> Result<T, DiskError> {
        self.map_err(|source| DiskError::Volume { what, source })
    }
}

/// The name of an upload's folder: random hex, made here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct UploadName(String);

impl UploadName {
    /// From 16 random bytes.
    pub(super) fn new(random: [u8; 16]) -> Self {
        Self(hex(&random))
    }

    /// Reads a name that came in a URL.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        plain.then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Serialize, Deserialize)]
struct Upload {
    key: String,
    media: Media,
    /// Seconds since 1970.
    begun: i64,
}

#[derive(Serialize, Deserialize)]
struct Meta {
    media: Media,
    /// The upload that made the object; none for one written in one piece.
    upload: Option<String>,
}

/// The data folder.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    space: Arc<Space>,
    /// Held for each change of what is where.
    renames: Mutex<()>,
    claimed: Mutex<HashSet<UploadName>>,
}

/// An upload that nobody else completes or aborts meanwhile.
struct Claim<'a> {
    disk: &'a Disk,
    name: UploadName,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.disk.claimed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// A part that is being received. Dropping it leaves nothing behind.
#[derive(Debug)]
pub(super) struct PartWriter {
    file: NamedTempFile,
    reserved: Reservation,
    hash: Sha256,
    bytes: u64,
    max: u64,
}

impl PartWriter {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.max {
            return Err(DiskError::TooLarge(self.max));
        }
        self.reserved.grow(bytes.len() as u64)?;
        self.hash.update(bytes);
        self.file.as_file_mut().write_all(bytes).tried("writing a part")
    }
}

/// An object to be read.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) file: File,
    pub(super) bytes: u64,
    pub(super) media: Media,
}

impl Disk {
    /// Opens the data folder, makes it on an empty volume, and clears what a crash left.
    pub(super) fn open(root: &Path, capacity: Option<u64>, floor: u64) -> io::Result<Self> {
        for folder in ["objects", "uploads", "temp"] {
            fs::create_dir_all(root.join(folder))?;
        }
        for leftover in fs::read_dir(root.join("temp"))? {
            let leftover = leftover?;
            if leftover.file_type()?.is_dir() {
                fs::remove_dir_all(leftover.path())?;
            } else {
                fs::remove_file(leftover.path())?;
            }
        }
        // A crash between making the folder and its description.
        for upload in fs::read_dir(root.join("uploads"))? {
            let upload = upload?;
            if !upload.path().join("upload.json").is_file() {
                fs::remove_dir_all(upload.path())?;
            }
        }
        let used = bytes_under(&root.join("objects"))? + bytes_under(&root.join("uploads"))?;
        Ok(Self {
            root: root.to_owned(),
            space: Space::new(root, capacity, floor, used),
            renames: Mutex::new(()),
            claimed: Mutex::new(HashSet::new()),
        })
    }

    /// Bytes of objects and parts.
    pub(super) fn used(&self) -> u64 {
        self.space.used()
    }

    pub(super) fn begin(
        &self,
        key: &Key,
        media: Media,
        name: &UploadName,
        now: Timestamp,
    ) -> Result<(), DiskError> {
        let upload = Upload { key: key.as_str().to_owned(), media, begun: now.as_second() };
        let folder = TempDir::new_in(self.temp()).tried("making an upload's folder")?;
        write_flushed(&folder.path().join("upload.json"), &json(&upload))?;
        let _order = self.lock();
        fs::rename(folder.path(), self.upload(name)).tried("placing an upload's folder")?;
        let _moved = folder.keep();
        flush_folder(&self.root.join("uploads"))
    }

    /// A place for one part's bytes.
    pub(super) fn start_part(&self, key: &Key, name: &UploadName, max: u64) -> Result<PartWriter, DiskError> {
        self.described(key, name)?;
        Ok(PartWriter {
            file: NamedTempFile::new_in(self.temp()).tried("making a part's file")?,
            reserved: self.space.reservation(),
            hash: Sha256::new(),
            bytes: 0,
            max,
        })
    }

    /// Takes the part into its upload instead of any earlier one of its number. Returns the `ETag`.
    pub(super) fn finish_part(
        &self,
        name: &UploadName,
        number: u32,
        part: PartWriter,
    ) -> Result<String, DiskError> {
        let etag = hex(&part.hash.finalize());
        part.file.as_file().sync_all().tried("flushing a part")?;
        let folder = self.upload(name);
        let file_name = format!("{number:05}.{etag}");
        let gone = || DiskError::NotFound(format!("the upload {}", name.as_str()));
        let _order = self.lock();
        let earlier = match self.part_files(name) {
            Ok(files) => files.into_iter().filter(|file| file.number == number),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(gone()),
            Err(source) => return Err(DiskError::Volume { what: "listing parts", source }),
        };
        for earlier in earlier {
            fs::remove_file(folder.join(earlier.file_name())).tried("replacing a part")?;
            self.space.release(earlier.bytes);
        }
        part.file.persist(folder.join(file_name)).map_err(|error| error.error).tried("placing a part")?;
        part.reserved.keep();
        flush_folder(&folder)?;
        Ok(etag)
    }

    /// Makes the object. Returns its length, also if this upload made it earlier.
    pub(super) fn complete(
        &self,
        key: &Key,
        name: &UploadName,
        claimed: &[Part],
        max: u64,
    ) -> Result<u64, DiskError> {
        let _claim = self.claim(name)?;
        let upload = match self.described(key, name) {
            Err(DiskError::NotFound(what)) => {
                return self.made_by(key, name, claimed).ok_or(DiskError::NotFound(what));
            }
            upload => upload?,
        };
        let stored = self.part_files(name).tried("listing parts")?;
        let total = match parts::check(claimed, &stored, max) {
            Ok(total) => total,
            Err(problem) => {
                // It never becomes an object; the sweep has it if this fails.
                let _ = self.discard(name);
                return Err(problem.into());
            }
        };
        let mut reserved = self.space.reservation();
        reserved.grow(total)?;
        let mut object = NamedTempFile::new_in(self.temp()).tried("making an object's file")?;
        let folder = self.upload(name);
        for part in claimed {
            let path = folder.join(format!("{:05}.{}", part.number, parts::bare(&part.etag)));
            let mut part = File::open(path).tried("opening a part")?;
            io::copy(&mut part, object.as_file_mut()).tried("joining parts")?;
        }
        self.place(
            key,
            object,
            total,
            reserved,
            &Meta { media: upload.media, upload: Some(name.0.clone()) },
        )?;
        self.discard(name)?;
        Ok(total)
    }

    pub(super) fn put(&self, key: &Key, bytes: &[u8], media: Media) -> Result<(), DiskError> {
        let mut reserved = self.space.reservation();
        reserved.grow(bytes.len() as u64)?;
        let mut object = NamedTempFile::new_in(self.temp()).tried("making an object's file")?;
        object.write_all(bytes).tried("writing an object")?;
        self.place(key, object, bytes.len() as u64, reserved, &Meta { media, upload: None })
    }

    /// Puts a written object where it belongs, instead of any earlier one.
    fn place(
        &self,
        key: &Key,
        object: NamedTempFile,
        bytes: u64,
        reserved: Reservation,
        meta: &Meta,
    ) -> Result<(), DiskError> {
        object.as_file().sync_all().tried("flushing an object")?;
        if object.as_file().metadata().tried("measuring an object")?.len() != bytes {
            return Err(DiskError::Volume {
                what: "measuring an object",
                source: io::Error::other("it isn't as long as its parts"),
            });
        }
        let mut described = NamedTempFile::new_in(self.temp()).tried("making an object's description")?;
        described.write_all(&json(meta)).tried("describing an object")?;
        described.as_file().sync_all().tried("flushing an object's description")?;
        let path = self.object(key);
        let folder = path.parent().expect("a key has a folder");
        let _order = self.lock();
        fs::create_dir_all(folder).tried("making an object's folder")?;
        let replaced = path.metadata().map_or(0, |earlier| earlier.len());
        // The description first: an object without one can't be told to a browser.
        described.persist(meta_path(&path)).map_err(|error| error.error).tried("placing a description")?;
        object.persist(&path).map_err(|error| error.error).tried("placing an object")?;
        reserved.keep();
        self.space.release(replaced);
        // Folders above may be as new as the object.
        let objects = self.root.join("objects");
        folder.ancestors().take_while(|above| above.starts_with(&objects)).try_for_each(flush_folder)
    }

    /// The object's length if this upload made it of these parts.
    fn made_by(&self, key: &Key, name: &UploadName, claimed: &[Part]) -> Option<u64> {
        let path = self.object(key);
        let meta: Meta = serde_json::from_slice(&fs::read(meta_path(&path)).ok()?).ok()?;
        let bytes = path.metadata().ok()?.len();
        let same = meta.upload.as_deref() == Some(name.as_str())
            && bytes == claimed.iter().map(|part| part.bytes).sum::<u64>();
        same.then_some(bytes)
    }

    /// Throws one unfinished upload away, if it is there.
    pub(super) fn abort(&self, name: &UploadName) -> Result<(), DiskError> {
        let _claim = self.claim(name)?;
        self.discard(name)
    }

    pub(super) fn abort_folder(&self, folder: &Folder) -> Result<u32, DiskError> {
        self.abort_where(|upload| Key::parse(&upload.key).is_ok_and(|key| folder.holds(&key)))
    }

    pub(super) fn sweep(&self, older: Duration, now: Timestamp) -> Result<u32, DiskError> {
        let limit = now.as_second().saturating_sub_unsigned(older.as_secs());
        self.abort_where(|upload| upload.begun < limit)
    }

    fn abort_where(&self, chosen: impl Fn(&Upload) -> bool) -> Result<u32, DiskError> {
        let mut aborted = 0;
        for (name, upload) in self.uploads()? {
            if chosen(&upload) {
                self.abort(&name)?;
                aborted += 1;
            }
        }
        Ok(aborted)
    }

    /// Deletes a folder's objects and aborts its uploads. Returns how many objects there were.
    pub(super) fn delete_folder(&self, folder: &Folder) -> Result<u32, DiskError> {
        self.abort_folder(folder)?;
        let path = self.root.join("objects").join(folder.as_str());
        let trash = TempDir::new_in(self.temp()).tried("making room to delete")?;
        {
            let _order = self.lock();
            match fs::rename(&path, trash.path().join("folder")) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
                renamed => renamed.tried("deleting a folder")?,
            }
            // Parents that became empty go too; one that isn't empty says so, and stays.
            let objects = self.root.join("objects");
            let mut parent = path.parent();
            while let Some(folder) = parent.filter(|folder| **folder != *objects) {
                if fs::remove_dir(folder).is_err() {
                    break;
                }
                parent = folder.parent();
            }
            flush_folder(parent.unwrap_or(&objects))?;
        }
        let (mut bytes, mut count) = (0, 0);
        for file in fs::read_dir(trash.path().join("folder")).tried("listing what to delete")? {
            let file = file.tried("listing what to delete")?;
            if !file.file_name().as_encoded_bytes().starts_with(b".") {
                bytes += file.metadata().tried("measuring what to delete")?.len();
                count += 1;
            }
        }
        trash.close().tried("deleting a folder")?;
        self.space.release(bytes);
        Ok(count)
    }

    pub(super) fn list(&self, folder: &Folder) -> Result<Listing, DiskError> {
        let mut listing = Listing::default();
        match fs::read_dir(self.root.join("objects").join(folder.as_str())) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            files => {
                for file in files.tried("listing a folder")? {
                    let name = file.tried("listing a folder")?.file_name();
                    let name = name.to_string_lossy();
                    if !name.starts_with('.') {
                        listing.objects.push(format!("{folder}/{name}"));
                    }
                }
            }
        }
        for (_, upload) in self.uploads()? {
            if Key::parse(&upload.key).is_ok_and(|key| folder.holds(&key)) {
                listing.uploads.push(upload.key);
            }
        }
        listing.objects.sort_unstable();
        listing.uploads.sort_unstable();
        Ok(listing)
    }

    pub(super) fn read(&self, key: &Key) -> Result<Object, DiskError> {
        let path = self.object(key);
        let missing = |error: io::Error, what| match error.kind() {
            ErrorKind::NotFound => DiskError::NotFound(key.to_string()),
            _ => DiskError::Volume { what, source: error },
        };
        let file = File::open(&path).map_err(|error| missing(error, "opening an object"))?;
        let metadata = file.metadata().tried("measuring an object")?;
        if !metadata.is_file() {
            return Err(DiskError::NotFound(key.to_string()));
        }
        let meta =
            fs::read(meta_path(&path)).map_err(|error| missing(error, "reading an object's description"))?;
        let meta: Meta = serde_json::from_slice(&meta).map_err(|error| DiskError::Volume {
            what: "reading an object's description",
            source: error.into(),
        })?;
        Ok(Object { file, bytes: metadata.len(), media: meta.media })
    }

    fn temp(&self) -> PathBuf {
        self.root.join("temp")
    }

    fn object(&self, key: &Key) -> PathBuf {
        self.root.join("objects").join(key.as_str())
    }

    fn upload(&self, name: &UploadName) -> PathBuf {
        self.root.join("uploads").join(name.as_str())
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.renames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self, name: &UploadName) -> Result<Claim<'_>, DiskError> {
        let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        if claimed { Ok(Claim { disk: self, name: name.clone() }) } else { Err(DiskError::Busy) }
    }

    /// Removes an upload with its parts, if it is there.
    fn discard(&self, name: &UploadName) -> Result<(), DiskError> {
        let trash = TempDir::new_in(self.temp()).tried("making room to remove")?;
        let moved = trash.path().join("upload");
        {
            let _order = self.lock();
            match fs::rename(self.upload(name), &moved) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                renamed => renamed.tried("removing an upload")?,
            }
        }
        let bytes = list_parts(&moved).tried("measuring an upload")?.iter().map(|part| part.bytes).sum();
        trash.close().tried("removing an upload")?;
        self.space.release(bytes);
        Ok(())
    }

    /// The upload, if there is one of this name for this key.
    fn described(&self, key: &Key, name: &UploadName) -> Result<Upload, DiskError> {
        let missing = || DiskError::NotFound(format!("the upload {} of {key}", name.as_str()));
        match fs::read(self.upload(name).join("upload.json")) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(missing()),
            text => {
                let upload: Upload = serde_json::from_slice(&text.tried("reading an upload's description")?)
                    .map_err(|error| DiskError::Volume {
                        what: "reading an upload's description",
                        source: error.into(),
                    })?;
                if upload.key == key.as_str() { Ok(upload) } else { Err(missing()) }
            }
        }
    }

    fn uploads(&self) -> Result<Vec<(UploadName, Upload)>, DiskError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.root.join("uploads")).tried("listing uploads")? {
            let entry = entry.tried("listing uploads")?;
            let Some(name) = entry.file_name().to_str().and_then(UploadName::parse) else { continue };
            // One that just went is none.
            let Ok(text) = fs::read(entry.path().join("upload.json")) else { continue };
            if let Ok(upload) = serde_json::from_slice(&text) {
                found.push((name, upload));
            }
        }
        Ok(found)
    }

    fn part_files(&self, name: &UploadName) -> io::Result<Vec<StoredPart>> {
        list_parts(&self.upload(name))
    }
}

impl StoredPart {
    fn file_name(&self) -> String {
        format!("{:05}.{}", self.number, self.etag)
    }
}

fn list_parts(folder: &Path) -> io::Result<Vec<StoredPart>> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        let name = file.file_name();
        let Some((number, etag)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
        if let Ok(number) = number.parse() {
            found.push(StoredPart { number, etag: etag.to_owned(), bytes: file.metadata()?.len() });
        }
    }
    Ok(found)
}

fn meta_path(object: &Path) -> PathBuf {
    let name = object.file_name().unwrap_or_default().to_string_lossy();
    object.with_file_name(format!(".{name}.meta"))
}

/// Bytes of the files that count, at any depth.
fn bytes_under(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            bytes += bytes_under(&entry.path())?;
        } else if !name.as_encoded_bytes().starts_with(b".") && name != "upload.json" {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn write_flushed(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let mut file = File::create(path).tried("making a file")?;
    file.write_all(bytes).tried("writing a file")?;
    file.sync_all().tried("flushing a file")
}

fn flush_folder(folder: &Path) -> Result<(), DiskError> {
    File::open(folder).and_then(|folder| folder.sync_all()).tried("flushing a folder")
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("these have string keys and no failing serializer")
}
