//! Receiving an artifact: bytes are counted, hashed, decompressed and written as they come, into a file
//! without its final name, which it gets when everything agrees.

use super::file_name::{file_name, numbered};
use crate::read::Artifact;
use flate2::write::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use std::{
    fmt::Write as _,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// What a file is held to, from the request's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub bytes: u64,
    pub uncompressed_bytes: u64,
    pub sha256: String,
}

/// How the bytes go to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Decompressed, as a tool opens it.
    Opened,
    /// As they are stored.
    Stored,
}

/// What to do when the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Number,
    Overwrite,
}

/// Why a file wasn't kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("can't write into {folder}: {error}")]
    Write { folder: PathBuf, error: io::Error },
    #[error("got {got} bytes of {expected}; {what}")]
    Length { got: u64, expected: u64, what: &'static str },
    #[error("sha256 is {got}, and status says {expected}; the file was discarded")]
    Checksum { got: String, expected: String },
    #[error("the bytes are no gzip, though status says so ({0}); --raw keeps them as they are")]
    Encoding(io::Error),
    #[error("{0} and a thousand numbered names beside it are taken")]
    NamesTaken(PathBuf),
    #[error("the status of artifact {0} is malformed: its size is negative")]
    Malformed(String),
}

/// A file on its way.
pub(crate) struct Receiver {
    expected: Expected,
    folder: PathBuf,
    name: String,
    taken: Taken,
    hash: Sha256,
    got: u64,
    sink: Sink,
}

enum Sink {
    Stored(Bounded),
    Gunzip(Box<MultiGzDecoder<Bounded>>),
}

/// Ends a decompression that yields more than status says: a gzip can hold a thousand times its size.
struct Bounded {
    file: BufWriter<NamedTempFile>,
    left: u64,
    written: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wanted = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if wanted > self.left {
            return Err(io::Error::other("it holds more than the uncompressedBytes of its status"));
        }
        let written = self.file.write(bytes)?;
        let counted = u64::try_from(written).unwrap_or(u64::MAX);
        self.left -= counted;
        self.written += counted;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Makes the folder, and sees that a file can be made in it.
pub(crate) fn prepare(folder: &Path) -> Result<(), ReceiveError> {
    let attempt = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    attempt.map(drop).map_err(|error| ReceiveError::Write { folder: folder.to_owned(), error })
}

impl Receiver {
    /// Begins a file for the artifact. Only the user can read it: a profile tells of the program.
    pub(crate) fn begin(
        folder: &Path,
        artifact: &Artifact,
        form: Form,
        taken: Taken,
    ) -> Result<Self, ReceiveError> {
        let size =
            |bytes: i64| u64::try_from(bytes).map_err(|_| ReceiveError::Malformed(artifact.name.clone()));
        let expected = Expected {
            bytes: size(artifact.bytes)?,
            uncompressed_bytes: size(artifact.uncompressed_bytes)?,
            sha256: artifact.sha256.to_ascii_lowercase(),
        };
        let file = tempfile::Builder::new()
            .prefix(".pitwall-")
            .tempfile_in(folder)
            .map_err(|error| ReceiveError::Write { folder: folder.to_owned(), error })?;
        let gunzip = form == Form::Opened && artifact.encoding == "gzip";
        let left = if gunzip { expected.uncompressed_bytes } else { expected.bytes };
        let bounded = Bounded { file: BufWriter::new(file), left, written: 0 };
        let sink =
            if gunzip { Sink::Gunzip(Box::new(MultiGzDecoder::new(bounded))) } else { Sink::Stored(bounded) };
        let suffix = match (&sink, artifact.encoding.as_str()) {
            (Sink::Gunzip(_), _) | (_, "" | "identity") => String::new(),
            (_, "gzip") => ".gz".to_owned(),
            (_, other) => file_name(&format!(".{other}"), "").trim_start_matches('_').to_owned(),
        };
        Ok(Self {
            name: file_name(&artifact.name, &suffix),
            folder: folder.to_owned(),
            expected,
            taken,
            hash: Sha256::new(),
            got: 0,
            sink,
        })
    }

    /// What was received, of what there is to receive.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.got, self.expected.bytes)
    }

    /// Takes the next bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        self.got += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.got > self.expected.bytes {
            return Err(ReceiveError::Length {
                got: self.got,
                expected: self.expected.bytes,
                what: "more than status says, so the file was discarded",
            });
        }
        self.hash.update(bytes);
        let folder = &self.folder;
        match &mut self.sink {
            Sink::Stored(file) => {
                file.write_all(bytes).map_err(|error| ReceiveError::Write { folder: folder.clone(), error })
            }
            Sink::Gunzip(decoder) => decoder.write_all(bytes).map_err(|error| sort(error, folder)),
        }
    }

    /// Checks everything and gives the file its name; returns where it lies.
    pub(crate) fn finish(self) -> Result<PathBuf, ReceiveError> {
        let Self { expected, folder, name, taken, hash, got, sink } = self;
        if got != expected.bytes {
            let what = "the connection ended early, so the file was discarded";
            return Err(ReceiveError::Length { got, expected: expected.bytes, what });
        }
        let sha256 = hex(&hash.finalize());
        if sha256 != expected.sha256 {
            return Err(ReceiveError::Checksum { got: sha256, expected: expected.sha256 });
        }
        let bounded = match sink {
            Sink::Stored(bounded) => bounded,
            Sink::Gunzip(decoder) => {
                let bounded = decoder.finish().map_err(|error| sort(error, &folder))?;
                if bounded.written != expected.uncompressed_bytes {
                    return Err(ReceiveError::Length {
                        got: bounded.written,
                        expected: expected.uncompressed_bytes,
                        what: "decompressed, so the file was discarded",
                    });
                }
                bounded
            }
        };
        let write = |error| ReceiveError::Write { folder: folder.clone(), error };
        let file = bounded.file.into_inner().map_err(|error| write(error.into_error()))?;
        file.as_file().sync_all().map_err(write)?;
        name_it(file, &folder, &name, taken)
    }
}

fn name_it(
    mut file: NamedTempFile,
    folder: &Path,
    name: &str,
    taken: Taken,
) -> Result<PathBuf, ReceiveError> {
    let write = |error| ReceiveError::Write { folder: folder.to_owned(), error };
    if taken == Taken::Overwrite {
        let path = folder.join(name);
        file.persist(&path).map_err(|error| write(error.error))?;
        return Ok(path);
    }
    for number in 0..=1000 {
        let path = folder.join(numbered(name, number));
        match file.persist_noclobber(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => file = error.file,
            Err(error) => return Err(write(error.error)),
        }
    }
    Err(ReceiveError::NamesTaken(folder.join(name)))
}

/// Tells a full disk from bytes that are no gzip.
fn sort(error: io::Error, folder: &Path) -> ReceiveError {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof, WriteZero};
    match error.kind() {
        InvalidData | InvalidInput | Other | UnexpectedEof | WriteZero => ReceiveError::Encoding(error),
        _ => ReceiveError::Write { folder: folder.to_owned(), error },
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn artifact(name: &str, stored: &[u8], uncompressed: usize, encoding: &str) -> Artifact {
        serde_json::from_value(serde_json::json!({
            "name": name, "type": "CPU", "bytes": stored.len(), "uncompressedBytes": uncompressed,
            "sha256": hex(&Sha256::digest(stored)), "encoding": encoding,
        }))
        .unwrap()
    }

    fn receive(
        folder: &Path,
        artifact: &Artifact,
        bytes: &[u8],
        form: Form,
        taken: Taken,
    ) -> Result<PathBuf, ReceiveError> {
        let mut receiver = Receiver::begin(folder, artifact, form, taken)?;
        for chunk in bytes.chunks(7) {
            receiver.take(chunk)?;
        }
        receiver.finish()
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    const PROFILE: &[u8] = br#"{"nodes":[],"startTime":0,"endTime":1}"#;

    #[test]
    fn a_file_is_decompressed_or_kept_as_stored_and_never_overwrites_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        // Two gzip members, as a sidecar may write them.
        let stored = [gzip(&PROFILE[..10]), gzip(&PROFILE[10..])].concat();
        let artifact = artifact("a.cpuprofile", &stored, PROFILE.len(), "gzip");
        for (form, taken, name, content) in [
            (Form::Opened, Taken::Number, "a.cpuprofile", PROFILE),
            (Form::Opened, Taken::Number, "a-1.cpuprofile", PROFILE),
            (Form::Opened, Taken::Overwrite, "a.cpuprofile", PROFILE),
            (Form::Stored, Taken::Number, "a.cpuprofile.gz", &stored),
        ] {
            let path = receive(folder, &artifact, &stored, form, taken).unwrap();
            assert_eq!(path, folder.join(name));
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
        assert_eq!(files(folder), ["a-1.cpuprofile", "a.cpuprofile", "a.cpuprofile.gz"]);
    }

    #[test]
    fn a_link_under_the_name_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let stored = gzip(PROFILE);
        let artifact = artifact("a.cpuprofile", &stored, PROFILE.len(), "gzip");
        std::fs::write(folder.join("precious"), "precious").unwrap();
        std::os::unix::fs::symlink(folder.join("precious"), folder.join("a.cpuprofile")).unwrap();
        receive(folder, &artifact, &stored, Form::Opened, Taken::Number).unwrap();
        receive(folder, &artifact, &stored, Form::Opened, Taken::Overwrite).unwrap();
        assert_eq!(files(folder), ["a-1.cpuprofile", "a.cpuprofile", "precious"]);
        assert_eq!(std::fs::read(folder.join("precious")).unwrap(), b"precious");
    }

    #[test]
    fn nothing_is_kept_that_does_not_agree() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let stored = gzip(PROFILE);
        let good = artifact("a.cpuprofile", &stored, PROFILE.len(), "gzip");
        let bomb = gzip(&vec![0; 1 << 20]);
        let mut flipped = stored.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let table: [(&str, Artifact, &[u8], &str); 7] = [
            ("too short", good.clone(), &stored[..stored.len() - 1], "got"),
            ("too long", good.clone(), &[stored.clone(), vec![0]].concat(), "more than status says"),
            ("another sum", Artifact { sha256: "00".to_owned(), ..good.clone() }, &stored, "sha256"),
            ("a flipped bit", good.clone(), &flipped, "sha256"),
            ("no gzip", artifact("a", PROFILE, PROFILE.len(), "gzip"), PROFILE, "no gzip"),
            ("a bomb", artifact("a", &bomb, 1000, "gzip"), &bomb, "more than the uncompressedBytes"),
            ("less inside", artifact("a", &stored, PROFILE.len() + 1, "gzip"), &stored, "decompressed"),
        ];
        for (what, artifact, bytes, said) in table {
            let error =
                receive(folder, &artifact, bytes, Form::Opened, Taken::Number).unwrap_err().to_string();
            assert!(error.contains(said), "{what}: {error}");
            assert!(files(folder).is_empty(), "{what} left {:?}", files(folder));
        }
    }

    #[test]
    fn a_hostile_name_stays_in_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("into");
        prepare(&folder).unwrap();
        let stored = gzip(PROFILE);
        for name in ["../../x.cpuprofile", "/x.cpuprofile", ".."] {
            let artifact = artifact(name, &stored, PROFILE.len(), "gzip");
            receive(&folder, &artifact, &stored, Form::Opened, Taken::Number).unwrap();
        }
        let odd = artifact("b", &stored, 1, "../x");
        receive(&folder, &odd, &stored, Form::Opened, Taken::Number).unwrap();
        assert_eq!(files(outer.path()), ["into"]);
        assert_eq!(files(&folder), ["_..", "_.._.._x.cpuprofile", "_x.cpuprofile", "b..._x"]);
    }
}
