//! Where an object lies in the store. Only this module makes keys.
//!
//! ```text
//! {prefix}/{namespace}/{workload}/{request}-{uid}/{pod}-{pid}.cpuprofile (or .heapprofile, .heapsnapshot)
//! {prefix}/{namespace}/{workload}/{request}-{uid}/{pod}-{pid}-worker-3.cpuprofile (of a worker thread)
//! {prefix}/{namespace}/{workload}/{request}-{uid}/manifest.json
//! ```
//! Everything up to the last slash is the request's [`Folder`]. It holds the request's uid, so that a name that
//! is used again never meets the old one's artifacts.
//!
//! # Guarantees
//! - A segment has 1 to 240 of the characters `A-Z a-z 0-9 . _ -` and doesn't begin with a dot. So a
//!   key needs no escaping in a URL or a file name, `..` can't occur, and no name climbs out of its folder.
//! - Different names give different segments: a character outside of `a-z A-Z 0-9 . -` becomes `_` and the hex of
//!   its bytes (Kubernetes' names hold none), and a name that is too long ends in a hash of all of it.

use pitwall_protocol::is_artifact_name;
use sha2::{Digest, Sha256};

/// The longest segment in bytes. File systems take 255; the rest is room for the built-in store's own suffixes.
pub(super) const MAX_SEGMENT: usize = 240;
/// The longest key in bytes, as S3 has it.
pub(super) const MAX_KEY: usize = 1024;
/// The longest prefix in bytes; leaves room for four segments of the longest kind.
const MAX_PREFIX: usize = 48;

/// A key, folder or prefix that breaks the rules above.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what:?} can't be a key of the store: {problem}")]
pub struct KeyError {
    what: String,
    problem: &'static str,
}

/// What stands before every key, for a bucket that is shared. Empty, or segments with slashes between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Reads a prefix as a person wrote it; slashes at its ends don't matter.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let trimmed = text.trim_matches('/');
        if trimmed.is_empty() {
            return Ok(Self::default());
        }
        if trimmed.len() > MAX_PREFIX {
            return Err(KeyError { what: shorten(text), problem: "a prefix has at most 48 characters" });
        }
        check(trimmed)?;
        Ok(Self(trimmed.to_owned()))
    }

    /// The prefix with a slash at its end, or nothing.
    pub fn as_start(&self) -> String {
        if self.0.is_empty() { String::new() } else { format!("{}/", self.0) }
    }

    /// The folder of one request.
    pub fn folder(&self, namespace: &str, workload: &str, request: &str, uid: &str) -> Folder {
        Folder(format!(
            "{}{}/{}/{}",
            self.as_start(),
            segment(namespace, ""),
            segment(workload, ""),
            segment(request, &format!("-{}", bounded(uid))),
        ))
    }
}

/// Everything that one request stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Folder(String);

impl Folder {
    /// Reads a folder that was written down earlier.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }

    /// A recording of one process, by the extension of its type. `artifact` is empty, or a name that
    /// [`is_artifact_name`].
    pub fn recording(&self, pod: &str, pid: u32, artifact: &str, extension: &str) -> Key {
        debug_assert!(artifact.is_empty() || is_artifact_name(artifact));
        let dash = if artifact.is_empty() { "" } else { "-" };
        Key(format!("{}/{}", self.0, segment(pod, &format!("-{pid}{dash}{artifact}.{extension}"))))
    }

    /// The list of the request's artifacts.
    pub fn manifest(&self) -> Key {
        Key(format!("{}/manifest.json", self.0))
    }

    /// Whether the key lies directly in this folder.
    pub fn holds(&self, key: &Key) -> bool {
        key.0.rsplit_once('/').is_some_and(|(folder, _)| folder == self.0)
    }

    /// The folder without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What every key in the folder begins with.
    pub fn as_start(&self) -> String {
        format!("{}/", self.0)
    }
}

impl std::fmt::Display for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// Reads a key that was written down earlier, in a status or a URL. Whoever does so checks as well that it is
    /// the one meant, with [`Folder::holds`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        check(text)?;
        if !text.contains('/') {
            return Err(KeyError { what: shorten(text), problem: "an object lies in a folder" });
        }
        Ok(Self(text.to_owned()))
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment, which is also a good name for the downloaded file.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')
}

/// A name as a segment that ends in `suffix`, which is plain and short.
fn segment(name: &str, suffix: &str) -> String {
    let escaped = escape(name);
    if escaped.len() + suffix.len() <= MAX_SEGMENT {
        return escaped + suffix;
    }
    let hash = hex(&Sha256::digest(name.as_bytes())[..8]);
    // A cut within an escape leaves a shorter one; the hash tells such names apart, as it does all others.
    let kept = MAX_SEGMENT.saturating_sub(suffix.len() + hash.len() + 1);
    format!("{}_{hash}{suffix}", &escaped[..kept.min(escaped.len())])
}

/// A uid as part of a segment. Kubernetes' have 36 characters; anything much longer is hashed.
fn bounded(uid: &str) -> String {
    let escaped = escape(uid);
    if escaped.len() <= 64 { escaped } else { hex(&Sha256::digest(uid.as_bytes())) }
}

fn escape(name: &str) -> String {
    use std::fmt::Write as _;
    if name.is_empty() {
        return "_".to_owned();
    }
    let mut escaped = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        if is_plain(byte) && !(at == 0 && byte == b'.') {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "_{byte:02x}");
        }
    }
    escaped
}

fn check(text: &str) -> Result<(), KeyError> {
    let fail = |problem| Err(KeyError { what: shorten(text), problem });
    if text.len() > MAX_KEY {
        return fail("it is longer than 1024 bytes");
    }
    for segment in text.split('/') {
        if segment.is_empty() {
            return fail("it has an empty segment");
        }
        if segment.len() > MAX_SEGMENT {
            return fail("it has a segment of more than 240 bytes");
        }
        if segment.starts_with('.') {
            return fail("it has a segment that begins with a dot");
        }
        if !segment.bytes().all(|byte| is_plain(byte) || byte == b'_') {
            return fail("it has a character other than a-z, A-Z, 0-9, '.', '_', '-' and '/'");
        }
    }
    Ok(())
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> Folder {
        Prefix::default().folder("shop", "checkout", "slow", "2b9e")
    }

    #[test]
    fn a_key_names_namespace_workload_request_and_pod() {
        let prefix = Prefix::parse("/pitwall/prod/").unwrap();
        let folder = prefix.folder("shop", "checkout", "slow", "2b9e");
        assert_eq!(folder.as_str(), "pitwall/prod/shop/checkout/slow-2b9e");
        assert_eq!(
            folder.recording("checkout-5d9-x", 17, "", "cpuprofile").as_str(),
            "pitwall/prod/shop/checkout/slow-2b9e/checkout-5d9-x-17.cpuprofile"
        );
        let of_worker = folder.recording("checkout-5d9-x", 17, "worker-3", "cpuprofile");
        assert_eq!(of_worker.file_name(), "checkout-5d9-x-17-worker-3.cpuprofile");
        assert_eq!(folder.manifest().as_str(), "pitwall/prod/shop/checkout/slow-2b9e/manifest.json");
        assert_eq!(folder.manifest().file_name(), "manifest.json");
    }

    #[test]
    fn hostile_names_stay_in_their_segment() {
        for hostile in [
            "..",
            ".",
            "../../etc",
            "a/b",
            "/",
            "",
            "\\",
            "a\0b",
            "%2e%2e",
            "ä",
            ".hidden",
            "a b",
            "_",
            "?x=1",
            "#",
            &"/".repeat(300),
        ] {
            let folder = Prefix::default().folder(hostile, hostile, hostile, hostile);
            for key in [folder.recording(hostile, 1, "worker-1", "cpuprofile"), folder.manifest()] {
                assert_eq!(key.as_str().split('/').count(), 4, "{hostile:?} gave {key}");
                assert_eq!(Key::parse(key.as_str()).as_ref(), Ok(&key), "{hostile:?}");
                assert!(folder.holds(&key), "{hostile:?} gave {key}");
            }
        }
    }

    #[test]
    fn different_names_give_different_keys() {
        let long = "n".repeat(253);
        let longer = format!("{}m", "n".repeat(252));
        let names = ["a", "a_2f", "a/", "_", "", ".", "_2e", "a.", long.as_str(), longer.as_str()];
        let keys: std::collections::HashSet<_> =
            names.iter().map(|name| folder().recording(name, 1, "", "cpuprofile")).collect();
        assert_eq!(keys.len(), names.len());
    }

    #[test]
    fn the_longest_names_of_kubernetes_fit() {
        let name = "n".repeat(253);
        let prefix = Prefix::parse(&"p".repeat(MAX_PREFIX)).unwrap();
        let folder = prefix.folder(&"s".repeat(63), &name, &name, "2b9e0c52-7a0b-4b8e-9d4e-0d5d7c3b1a2f");
        let key = folder.recording(&name, u32::MAX, &"w".repeat(24), "cpuprofile");
        assert_eq!(Key::parse(key.as_str()).as_ref(), Ok(&key));
        assert!(key.as_str().ends_with(&format!("-4294967295-{}.cpuprofile", "w".repeat(24))));
        assert!(folder.as_str().ends_with("-2b9e0c52-7a0b-4b8e-9d4e-0d5d7c3b1a2f"));
    }

    #[test]
    fn what_no_key_can_be_is_refused() {
        let long = format!("a/{}", "b".repeat(MAX_SEGMENT + 1));
        let far = vec!["a".repeat(200); 6].join("/");
        for text in [
            "", "a", "/a/b", "a/b/", "a//b", "a/../b", "a/./b", "a/.b", "a/%2e", "a/b c", "a/b?c", "a/b\n",
            "a\\b/c", "a/ä", &long, &far,
        ] {
            assert!(Key::parse(text).is_err(), "{text:?}");
        }
        assert!(Prefix::parse("a/../b").is_err());
        assert!(Prefix::parse(&"p".repeat(MAX_PREFIX + 1)).is_err());
    }

    #[test]
    fn a_folder_holds_only_what_lies_in_it() {
        assert!(folder().holds(&folder().manifest()));
        for other in ["shop/checkout/slow-2b9e2/manifest.json", "shop/checkout/slow-2b9e/x/manifest.json"] {
            assert!(!folder().holds(&Key::parse(other).unwrap()), "{other}");
        }
    }
}
